"""Sheaves: arrays of objects in front of the slabs (mm/slub.c of 6.18 and 7.0).

    alloc   main sheaf -> spare sheaf -> a full one from the node's barn -> fill one from the slabs
    free    main sheaf -> spare sheaf -> barn: a full one in, an empty one out -> the spare back to the slabs
            an object of another node goes to its slab
    later   rcu_free sheaf; when it is full, one callback for all of it: to the barn, or to the slabs

Each cpu has a main, a spare and an rcu_free sheaf, which cost no line; each node has a barn of full and empty
sheaves, under a lock. An object that is freed at once is the next one that the cpu gets.

A sheaf is filled from the cpu's slab as SLUB's allocations are (6.18), or, where cpus have neither slabs nor
partial lists (7.0), with all that is free in slabs of the node's list, taken off in one section.

Left out: prefilled sheaves (the maple tree takes single nodes here), the memory of sheaves themselves.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from sim.designs.linux.slab.base import LOCK_SLAB, SLAB, Site
from sim.designs.linux.slab.slub import Slub
from sim.mm import OutOfMemory
from sim.sync import spin_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.designs.linux.slab.objects import Slab, SlabObject
    from sim.designs.linux.slab.spec import CacheSpec
    from sim.engine import Steps
    from sim.hardware import Cpu

Sheaf = list["SlabObject"]


class CpuSheaves:
    """struct slub_percpu_sheaves."""

    __slots__ = ("main", "rcu_free", "spare")

    def __init__(self) -> None:
        self.main: Sheaf = []
        self.spare: Sheaf | None = None
        self.rcu_free: Sheaf | None = None


class Barn:
    """struct node_barn: *full* sheaves, how many *empty* ones, and the lock. All on one *line*."""

    __slots__ = ("empty", "full", "line", "lock")

    def __init__(self, site: Site, name: str, node: int) -> None:
        home = site.machine.spec.topology.socket_of_node(node)
        self.line = site.machine.line(f"{name} barn {node}", home)
        self.lock = spin_lock(site.nodes, self.line, LOCK_SLAB, f"barn of {name}, node {node}")
        self.full: list[Sheaf] = []
        self.empty = 0


class SheafCache(Slub):
    """One cache with sheaves of *spec.sheaf* objects."""

    __slots__ = ("_capacity", "_most", "barns", "sheaves")

    def __init__(self, site: Site, name: str, spec: CacheSpec, units: tuple[int, ...] = ()) -> None:
        super().__init__(site, name, spec, units)
        self._capacity = spec.sheaf
        self._most = site.rules.barn
        self.sheaves = [CpuSheaves() for _ in site.machine.cpus]
        self.barns = [Barn(site, name, number) for number in range(len(self.nodes))]

    def _barn(self, cpu: Cpu) -> Barn:
        return self.barns[self.node_of(cpu)]

    # -- allocating -----------------------------------------------------------------------------------------

    def alloc(self, cpu: Cpu) -> Steps[SlabObject]:
        own = self.sheaves[cpu.id]
        if not own.main:
            yield from self._replace_empty_main(cpu, own)
        thing = own.main.pop()
        yield from self.charge(cpu)
        return self.hand_out(cpu, thing)

    def _replace_empty_main(self, cpu: Cpu, own: CpuSheaves) -> Steps[None]:
        """__pcs_replace_empty_main."""
        if own.spare:
            own.main, own.spare = own.spare, own.main
            return
        barn = self._barn(cpu)
        yield from barn.line.read(cpu, SLAB)
        if barn.full:
            yield from self.lock(cpu, barn.lock)
            full = barn.full.pop() if barn.full else None
            if full is not None:
                barn.empty += 1
                cpu.work(2 * self.cost.move, SLAB)
            yield from self.unlock(cpu, barn.lock)
            if full is not None:
                own.main = full
                return
        if own.spare is not None:
            own.spare = None  # becomes the one that is filled, and main the barn's
            yield from self._put_empty(cpu, barn)
        elif barn.empty:
            # One empty sheaf from the barn, and the old main sheaf to it.
            yield from self._section(cpu, barn)
        try:
            yield from (self._fill(cpu, own.main) if self.cpu_partial else self._fill_in_bulk(cpu, own.main))
        except OutOfMemory:
            if not own.main:
                raise

    def _fill(self, cpu: Cpu, sheaf: Sheaf) -> Steps[None]:
        """refill_sheaf of 6.18: one object after the other from the cpu's slab."""
        while len(sheaf) < self._capacity:
            sheaf.append((yield from self.from_slab(cpu)))

    def _fill_in_bulk(self, cpu: Cpu, sheaf: Sheaf) -> Steps[None]:
        """refill_objects of 7.0: what is free in slabs of the node's list, then in new slabs."""
        cpu.work(self.cost.refill, SLAB)
        node = self.nodes[self.node_of(cpu)]
        yield from node.line.read(cpu, SLAB)
        slabs: list[Slab] = []
        if node.partial:
            yield from self.lock(cpu, node.lock)
            found = 0
            while node.partial and found < self._capacity:  # get_partial_node_bulk
                slab, _ = node.partial.popitem(last=False)
                slab.listed = False
                slabs.append(slab)
                found += len(slab.free)
                yield from self.relink(cpu, slab)
            yield from self.unlock(cpu, node.lock)
        for slab in slabs:
            yield from self._empty_into(cpu, slab, sheaf)
        while len(sheaf) < self._capacity:
            yield from self._empty_into(cpu, (yield from self._new_slab(cpu)), sheaf)

    def _empty_into(self, cpu: Cpu, slab: Slab, sheaf: Sheaf) -> Steps[None]:
        """get_freelist_nofreeze: all that is free; what does not fit goes back at once."""
        yield from slab.meta.write(cpu, SLAB)
        taken, slab.free = slab.free, []
        slab.inuse = self.per_slab
        fitting = min(len(taken), self._capacity - len(sheaf))
        sheaf += [slab.at(index) for index in reversed(taken[len(taken) - fitting :])]
        if fitting < len(taken):
            yield from self.slab_free(cpu, slab, taken[: len(taken) - fitting])

    # -- freeing --------------------------------------------------------------------------------------------

    def free(self, cpu: Cpu, thing: SlabObject) -> Steps[None]:
        thing.slab.give_back(thing.index)
        if thing.slab.node != self.node_of(cpu):
            yield from thing.touch(cpu, SLAB)
            yield from self.to_slab(cpu, thing)
            return
        own = self.sheaves[cpu.id]
        if len(own.main) >= self._capacity:
            yield from self._replace_full_main(cpu, own)
        own.main.append(thing)

    def _replace_full_main(self, cpu: Cpu, own: CpuSheaves) -> Steps[None]:
        """__pcs_replace_full_main: there is room in the main sheaf afterwards."""
        barn = self._barn(cpu)
        if own.spare is None:
            yield from self._take_empty(cpu, barn)
            own.spare, own.main = own.main, []
        elif len(own.spare) < self._capacity:
            own.spare, own.main = own.main, own.spare
        else:
            yield from barn.line.read(cpu, SLAB)
            if len(barn.full) < self._most:
                full, own.main = own.main, []
                yield from self._put_full(cpu, barn, full)
            else:
                full, own.spare = own.spare, own.main
                own.main = []
                yield from self._flush(cpu, full)

    def _flush(self, cpu: Cpu, sheaf: Sheaf) -> Steps[None]:
        """sheaf_flush_unused: its objects to their slabs, those of one slab together."""
        by_slab: dict[Slab, list[int]] = {}
        for thing in sheaf:
            yield from thing.touch(cpu, SLAB)
            by_slab.setdefault(thing.slab, []).append(thing.index)
        own = self.own[cpu.id]
        for slab, objects in by_slab.items():
            if own.slab is slab:
                own.freelist += objects
            else:
                yield from self.slab_free(cpu, slab, objects)

    def release_later(self, cpu: Cpu, things: Sequence[SlabObject]) -> Steps[None]:
        """kfree_rcu: into the rcu_free sheaf, and call_rcu for the sheaf when it is full."""
        if not self.spec.rcu_sheaf:
            yield from super().release_later(cpu, things)
            return
        own = self.sheaves[cpu.id]
        for thing in things:
            if thing.slab.cache is not self:
                yield from thing.slab.cache.release_later(cpu, [thing])
                continue
            self.waiting += 1
            if own.rcu_free is None:
                if own.spare is not None and not own.spare:
                    own.spare = None
                else:
                    yield from self._take_empty(cpu, self._barn(cpu))
                own.rcu_free = []
            own.rcu_free.append(thing)
            if len(own.rcu_free) >= self._capacity:
                full, own.rcu_free = own.rcu_free, None
                self.rcu.call(cpu, partial(self._free_sheaf, full))

    def _free_sheaf(self, sheaf: Sheaf, cpu: Cpu) -> Steps[None]:
        """rcu_free_sheaf: the callback."""
        self.waiting -= len(sheaf)
        for thing in sheaf:
            self.caches.waited(cpu, thing)
            thing.slab.give_back(thing.index)
        barn = self._barn(cpu)
        yield from barn.line.read(cpu, SLAB)
        if len(barn.full) < self._most:
            yield from self._put_full(cpu, barn, sheaf, exchange=False)
        else:
            yield from self._flush(cpu, sheaf)
            yield from self._put_empty(cpu, barn)

    # -- the barn -------------------------------------------------------------------------------------------

    def _section(self, cpu: Cpu, barn: Barn) -> Steps[None]:
        """A section that moves one sheaf."""
        yield from self.lock(cpu, barn.lock)
        cpu.work(self.cost.move, SLAB)
        yield from self.unlock(cpu, barn.lock)

    def _put_full(self, cpu: Cpu, barn: Barn, sheaf: Sheaf, *, exchange: bool = True) -> Steps[None]:
        """barn_put_full_sheaf, or barn_replace_full_sheaf, which takes an empty one in *exchange*."""
        yield from self.lock(cpu, barn.lock)
        barn.full.append(sheaf)
        cpu.work(self.cost.move, SLAB)
        if exchange and barn.empty:
            barn.empty -= 1
            cpu.work(self.cost.move, SLAB)
        yield from self.unlock(cpu, barn.lock)

    def _put_empty(self, cpu: Cpu, barn: Barn) -> Steps[None]:
        """barn_put_empty_sheaf; what the barn has no room for is freed."""
        if barn.empty < self._most:
            barn.empty += 1
            yield from self._section(cpu, barn)

    def _take_empty(self, cpu: Cpu, barn: Barn) -> Steps[None]:
        """barn_get_empty_sheaf, or one from kmalloc."""
        yield from barn.line.read(cpu, SLAB)
        if barn.empty:
            barn.empty -= 1
            yield from self._section(cpu, barn)

    # -- before and after a run -----------------------------------------------------------------------------

    def boot(self, draw: Callable[[], float], ended: Cpu) -> None:
        """Beside what the slabs hold, each cpu's sheaves and each node's barn are at some level."""
        super().boot(draw, ended)
        for cpu in self.machine.cpus:
            own = self.sheaves[cpu.id]
            own.main = self._boot_sheaf(cpu, int(draw() * (self._capacity + 1)), ended)
            own.spare = self._boot_sheaf(cpu, int(draw() * 2) * self._capacity, ended)
        for number, barn in enumerate(self.barns):
            local = [cpu for cpu in self.machine.cpus if self.node_of(cpu) == number]
            for each in range(int(draw() * (self._most + 1))):
                if local:
                    barn.full.append(self._boot_sheaf(local[each % len(local)], self._capacity, ended))
            barn.empty = int(draw() * (self._most + 1))

    def _boot_sheaf(self, cpu: Cpu, count: int, ended: Cpu) -> Sheaf:
        sheaf: Sheaf = []
        while len(sheaf) < count:
            slab = self._add(cpu, self.pages.reserve(cpu, self.order), ended, used=True)
            fitting = min(self.per_slab, count - len(sheaf))
            slab.inuse, slab.free = self.per_slab, []
            sheaf += [slab.at(index) for index in range(fitting)]
            slab.live = (1 << self.per_slab) - (1 << fitting)
            self.booted += self.per_slab - fitting
        return sheaf

    def on_cpus(self) -> int:
        held = sum(len(own.main) + len(own.spare or ()) for own in self.sheaves)
        return super().on_cpus() + held + sum(len(sheaf) for barn in self.barns for sheaf in barn.full)

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        for number, barn in enumerate(self.barns):
            if any(len(sheaf) > self._capacity for sheaf in barn.full):
                yield f"a sheaf of {self.name} in barn {number} has more than {self._capacity} objects"
