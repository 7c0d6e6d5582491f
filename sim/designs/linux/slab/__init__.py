"""Slab caches: where the kernel's own objects come from, hot or cold, and where they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.slab.base import SLAB, CoreCaches, KmemCache, Site
from sim.designs.linux.slab.objects import Lines, SlabObject, fill
from sim.designs.linux.slab.sheaves import SheafCache
from sim.designs.linux.slab.slub import Slub
from sim.designs.linux.slab.spec import SlabSpec
from sim.engine.costs import at_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sim.designs.linux.objcg import ObjectCharges
    from sim.designs.linux.rcu import TreeRcu
    from sim.designs.linux.slab.spec import CacheSpec
    from sim.engine import Steps
    from sim.hardware import Cpu, Machine
    from sim.mm import Allocator, Footprint, Reference
    from sim.sync import QueueNodes

__all__ = ["SLAB", "KmemCache", "Lines", "SlabCaches", "SlabObject", "SlabSpec", "fill"]


class SlabCaches:
    """All caches of one kernel, by the names that Linux gives them; *vma_lock* is None where
    locks are parts of VMAs, *maple_node* where VMAs themselves are the nodes of their tree."""

    __slots__ = (
        "_all",
        "_rcu",
        "anon_vma",
        "anon_vma_chain",
        "cost",
        "maple_node",
        "vm_area_struct",
        "vma_lock",
    )

    def __init__(
        self,
        footprint: Footprint,
        machine: Machine,
        pages: Allocator,
        nodes: QueueNodes,
        rcu: TreeRcu,
        spec: SlabSpec,
        charges: ObjectCharges | None,
        *,
        separate_locks: bool,
        tree_nodes: bool,
    ) -> None:
        """*footprint* counts the objects, *charges* says who pays for accounted ones.

        *separate_locks*: locks of VMAs are objects of their own; *tree_nodes*: nodes are, too.
        """
        self.cost = at_clock(spec.costs, machine.spec.plain_clock)
        site = Site(
            machine, pages, nodes, rcu, spec.rules, self.cost, CoreCaches(machine, rcu), charges, footprint
        )
        self._all: list[KmemCache] = []

        def cache(name: str, its: CacheSpec, units: tuple[int, ...] = ()) -> KmemCache:
            kind = SheafCache if spec.kind == "sheaves" and its.sheaf else Slub
            made = kind(site, name, its, units)
            self._all.append(made)
            return made

        caches = spec.caches
        self.vm_area_struct = cache("vm_area_struct", caches.vm_area_struct)
        self.vma_lock: KmemCache | None = None
        if separate_locks:
            assert caches.vma_lock is not None
            self.vma_lock = cache("vma_lock", caches.vma_lock)
        # A walk reads all of a node, and who marks it dead or links it to be freed writes its head.
        self.maple_node: KmemCache | None = None
        if tree_nodes:
            self.maple_node = cache("maple_node", caches.maple_node, (caches.maple_node.head,))
        self.anon_vma = cache("anon_vma", caches.anon_vma)
        self.anon_vma_chain = cache("anon_vma_chain", caches.anon_vma_chain)
        self._rcu = rcu
        rcu.after_burst = self._trim

    def __iter__(self) -> Iterator[KmemCache]:
        return iter(self._all)

    def _trim(self, cpu: Cpu) -> Steps[None]:
        """*cpu* has freed all objects that a hastened grace period held back."""
        for cache in self._all:
            yield from cache.trim(cpu, self._rcu.stretch)

    def boot(self, draw: Callable[[], float], ended: Cpu) -> None:
        """Before anything runs: every cache comes to a state of every day."""
        for cache in self._all:
            cache.boot(draw, ended)

    def references(self) -> Iterator[Reference]:
        """The frames of all slabs."""
        for cache in self._all:
            yield from cache.references()

    def contradictions(self) -> Iterator[str]:
        for cache in self._all:
            yield from cache.contradictions()
