"""A cache of equal objects (struct kmem_cache) as its users see it, and what all kinds of caches share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Final

from sim.designs.linux.slab.geometry import cpu_partial_slabs, min_partial, slab_order
from sim.designs.linux.slab.objects import Shape
from sim.engine import Activity
from sim.mm import Reference
from sim.quantities import LINE_BYTES, PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.designs.linux.objcg import ObjectCharges
    from sim.designs.linux.rcu import TreeRcu
    from sim.designs.linux.slab.objects import Slab, SlabObject
    from sim.designs.linux.slab.spec import CacheSpec, SlabCosts, SlabRules
    from sim.engine import Steps
    from sim.engine.costs import AtClock
    from sim.hardware import Cpu, Machine
    from sim.mm import Allocator, Footprint
    from sim.sync import QueueNodes

SLAB: Final = Activity("slab")
LOCK_SLAB: Final = Activity("lock: slab")


class Site:
    """What caches are made of."""

    __slots__ = (
        "caches",
        "charges",
        "cost",
        "footprint",
        "machine",
        "nodes",
        "pages",
        "rcu",
        "rules",
    )

    def __init__(
        self,
        machine: Machine,
        pages: Allocator,
        nodes: QueueNodes,
        rcu: TreeRcu,
        rules: SlabRules,
        cost: AtClock[SlabCosts],
        caches: CoreCaches,
        charges: ObjectCharges | None,
        footprint: Footprint,
    ) -> None:
        self.machine = machine
        self.pages = pages
        self.nodes = nodes
        self.rcu = rcu
        self.rules = rules
        self.cost = cost
        self.caches = caches
        self.charges = charges
        self.footprint = footprint


class CoreCaches:
    """What the caches of each core, and of each cluster, have seen of objects: one that waits for its next
    use drops out of them when as much as they hold has come after it, and then lies in memory.

    Only objects count, not what else the cores do. Of a grace period that was hastened, what would have come
    in the rest of it is added in proportion. Without `memory.core_cache` in the machine's file nothing
    drops out.
    """

    __slots__ = ("_adjacent", "_cluster_lines", "_core_lines", "_memory", "_miss", "_rcu", "_seen", "_shared")

    def __init__(self, machine: Machine, rcu: TreeRcu) -> None:
        spec = machine.spec.memory
        own = spec.core_cache
        self._core_lines = own.size // LINE_BYTES if own else 0
        self._miss = own.miss.at(machine.spec.clock) if own else 0
        self._cluster_lines = spec.llc // LINE_BYTES
        self._memory = spec.local
        self._adjacent = machine.fabric.adjacent
        self._rcu = rcu
        self._seen: dict[int, int] = {}  # by core: lines of objects that were taken into use
        self._shared: dict[int, int] = {}  # the same by cluster

    def uses(self, cpu: Cpu, thing: SlabObject, lines: int) -> None:
        """*cpu* has just got *thing* and is about to write all of it."""
        if miss := self._latency(cpu, thing):
            cpu.stall(miss + (lines - 1) * self._adjacent, SLAB)
        self._seen[cpu.core] = self._seen.get(cpu.core, 0) + lines
        self._shared[cpu.cluster] = self._shared.get(cpu.cluster, 0) + lines

    def leaves(self, cpu: Cpu, thing: SlabObject) -> None:
        """*cpu*, which has just used *thing*, gives it up."""
        thing.core = cpu.core
        thing.seen, thing.shared = self._seen.get(cpu.core, 0), self._shared.get(cpu.cluster, 0)

    def waited(self, cpu: Cpu, thing: SlabObject) -> None:
        """The grace period is over for which *thing* waited."""
        more = self._rcu.stretch - 1
        if more > 0 and thing.core == cpu.core:
            thing.seen -= int((self._seen.get(cpu.core, 0) - thing.seen) * more)
            thing.shared -= int((self._shared.get(cpu.cluster, 0) - thing.shared) * more)

    def finds(self, cpu: Cpu, thing: SlabObject) -> None:
        """*cpu* writes a link into *thing*, which was given up some time ago, and has it again."""
        if miss := self._latency(cpu, thing):
            cpu.stall(miss, SLAB)

    def _latency(self, cpu: Cpu, thing: SlabObject) -> int:
        """What it takes to get the first line of *thing*, which a cpu of this core had; 0 if it is still in
        the core's caches."""
        if not self._core_lines or thing.core != cpu.core:
            return 0
        if self._seen.get(cpu.core, 0) - thing.seen < self._core_lines:
            return 0
        if self._shared.get(cpu.cluster, 0) - thing.shared < self._cluster_lines:
            return self._miss
        return self._memory


class KmemCache(ABC):
    """The cache *name* of the objects that *spec* describes.

    *shape* is how they lie in slabs. *slabs* are all its slabs by their first frames, *booted* how many
    objects in them belong to what ran before, *waiting* how many wait for a grace period.
    """

    __slots__ = (
        "booted",
        "caches",
        "charges",
        "cost",
        "cpu_partial",
        "footprint",
        "lines",
        "machine",
        "min_partial",
        "name",
        "order",
        "pages",
        "per_slab",
        "rcu",
        "shape",
        "slabs",
        "spec",
        "waiting",
    )

    def __init__(self, site: Site, name: str, spec: CacheSpec, units: tuple[int, ...] = ()) -> None:
        """*units* are the bytes at which another part of the object begins, if not at each line."""
        self.machine = site.machine
        self.pages = site.pages
        self.rcu = site.rcu
        self.caches = site.caches
        self.charges = site.charges if spec.accounted else None
        self.footprint = site.footprint
        self.cost = site.cost
        self.name = name
        self.spec = spec
        self.shape = Shape(spec, units)
        self.lines = -(-spec.size // LINE_BYTES)
        self.order = slab_order(spec.stride, site.machine.spec.cpus, site.rules)
        self.per_slab = (PAGE_BYTES << self.order) // spec.stride
        self.min_partial = min_partial(spec.stride, site.rules)
        self.cpu_partial = cpu_partial_slabs(spec.stride, self.per_slab, site.rules)
        self.slabs: dict[int, Slab] = {}
        self.booted = 0
        self.waiting = 0

    def __repr__(self) -> str:
        return f"cache {self.name}"

    @abstractmethod
    def alloc(self, cpu: Cpu) -> Steps[SlabObject]:
        """kmem_cache_alloc: value is an object that nobody else has; to fill it is the caller's business.

        The costs are those beside the fast path. Raises `OutOfMemory` where a slab has to be made and there
        is no page for it.
        """

    @abstractmethod
    def free(self, cpu: Cpu, thing: SlabObject) -> Steps[None]:
        """kmem_cache_free: *thing* may be handed out again."""

    def charge(self, cpu: Cpu) -> Steps[None]:
        """memcg_slab_post_alloc_hook, of one object."""
        self.footprint.add("vma", self.spec.size)
        if self.charges is not None:
            yield from self.charges.charge(cpu, self.spec.size)

    def release(self, cpu: Cpu, *things: SlabObject, now: bool = False) -> Steps[None]:
        """Free *things*, the first of which is of this cache, as it says: now, or after a grace period.

        They are of one structure and go with one callback. *now*: nobody has ever seen them.
        """
        for thing in things:
            self.caches.leaves(cpu, thing)
        if now or self.spec.free == "at once":
            for thing in things:
                yield from _uncharge(cpu, thing)
                yield from thing.slab.cache.free(cpu, thing)
        else:
            yield from self.release_later(cpu, things)

    def release_later(self, cpu: Cpu, things: Sequence[SlabObject]) -> Steps[None]:
        """call_rcu, with a callback that frees *things*."""
        for thing in things:
            thing.slab.cache.waiting += 1
        self.rcu.call(cpu, partial(_free_all, things))
        return
        yield

    def free_deferred(self, cpu: Cpu, thing: SlabObject) -> Steps[None]:
        """What the callback does with *thing*."""
        self.caches.waited(cpu, thing)
        self.caches.finds(cpu, thing)
        self.waiting -= 1
        cpu.work(self.cost.free, SLAB)
        yield from _uncharge(cpu, thing)
        yield from self.free(cpu, thing)

    def trim(self, cpu: Cpu, stretch: float) -> Steps[None]:
        """*cpu* has freed the last object of a burst that would have been *stretch* times as long: keep for
        the next ones in proportion."""
        return
        yield

    @abstractmethod
    def boot(self, draw: Callable[[], float], ended: Cpu) -> None:
        """Before anything runs: come to a state of every day, at levels that *draw* chooses.

        What is free belonged to a process that has *ended*, on that cpu, which freed all that it had. It
        takes no time.
        """

    # -- the end state --------------------------------------------------------------------------------------

    @property
    def live(self) -> int:
        """Objects that somebody has, beside what ran before and those that wait for a grace period."""
        return sum(slab.live.bit_count() for slab in self.slabs.values()) - self.booted - self.waiting

    def references(self) -> Iterator[Reference]:
        """The frames of its slabs."""
        for frame in self.slabs:
            yield Reference(frame, f"a slab of {self.name} from page", frame)

    @abstractmethod
    def contradictions(self) -> Iterator[str]:
        """No thread runs: what in its lists and counts does not fit together."""


def _uncharge(cpu: Cpu, thing: SlabObject) -> Steps[None]:
    """memcg_slab_free_hook."""
    cache = thing.slab.cache
    cache.footprint.add("vma", -cache.spec.size)
    if cache.charges is not None:
        yield from cache.charges.uncharge(cpu, cache.spec.size)


def _free_all(things: Sequence[SlabObject], cpu: Cpu) -> Steps[None]:
    for thing in things:
        yield from thing.slab.cache.free_deferred(cpu, thing)
