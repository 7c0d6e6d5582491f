"""SLUB: slabs of which each cpu has one, with lists of partly free ones behind it (mm/slub.c of 6.13).

    alloc   cpu's freelist -> what others freed to the cpu's slab -> cpu's partial list
            -> partial list of the node, under list_lock: one slab, and half a partial list for the cpu
            -> a new slab from the page allocator
    free    to the cpu's slab: its freelist
            to another: cmpxchg16 on struct slab; was it full, it goes to this cpu's partial list
                        is it empty now and on the node's list: under list_lock off it, and its pages back

A cpu's partial list that is full goes to the node's list as a whole, under list_lock. So the lock is touched
only by those who free or allocate more than their cpu keeps. The freelist and the partial list are a cpu's
own (this_cpu_cmpxchg16 without a lock prefix, the local lock) and cost no line.

Left out: debugging, deactivation of a slab that is not empty (it needs a request for a node), smaller slabs
where no block of the usual order is left, the random order of a new freelist.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from sim.designs.linux.slab.base import LOCK_SLAB, SLAB, KmemCache, Site
from sim.designs.linux.slab.objects import Slab, SlabObject
from sim.mm import distances, zonelists
from sim.sync import QueuedSpinLock, spin_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.designs.linux.slab.spec import CacheSpec
    from sim.engine import Steps
    from sim.hardware import Cpu


class CpuSlab:
    """struct kmem_cache_cpu: *freelist* of *slab*, and *partial* slabs, the first to be used last."""

    __slots__ = ("freelist", "partial", "slab")

    def __init__(self) -> None:
        self.slab: Slab | None = None
        self.freelist: list[int] = []
        self.partial: list[Slab] = []


class NodeSlabs:
    """struct kmem_cache_node: the lock, and partial slabs in their order. All on one *line*."""

    __slots__ = ("line", "lock", "partial")

    def __init__(self, site: Site, name: str, node: int) -> None:
        home = site.machine.spec.topology.socket_of_node(node)
        self.line = site.machine.line(f"{name} node {node}", home)
        self.lock = spin_lock(site.nodes, self.line, LOCK_SLAB, f"list_lock of {name}, node {node}")
        self.partial: OrderedDict[Slab, None] = OrderedDict()


class Slub(KmemCache):
    """One cache."""

    __slots__ = ("_near", "nodes", "own")

    def __init__(self, site: Site, name: str, spec: CacheSpec, units: tuple[int, ...] = ()) -> None:
        super().__init__(site, name, spec, units)
        topology = site.machine.spec.topology
        self.own = [CpuSlab() for _ in site.machine.cpus]
        self.nodes = [NodeSlabs(site, name, node) for node in range(topology.numa_nodes)]
        orders = zonelists(distances(site.machine.spec, topology.numa_nodes))
        self._near = [[self.nodes[node] for node in order] for order in orders]

    def node_of(self, cpu: Cpu) -> int:
        """numa_mem_id: the node of *cpu* as the kernel sees it."""
        return self.machine.spec.topology.visible_node(cpu.node)

    def alloc(self, cpu: Cpu) -> Steps[SlabObject]:
        thing = yield from self.from_slab(cpu)
        yield from self.charge(cpu)
        return self.hand_out(cpu, thing)

    def free(self, cpu: Cpu, thing: SlabObject) -> Steps[None]:
        yield from thing.touch(cpu, SLAB)
        thing.slab.give_back(thing.index)
        yield from self.to_slab(cpu, thing)

    def hand_out(self, cpu: Cpu, thing: SlabObject) -> SlabObject:
        """*thing* is the caller's from now on."""
        thing.slab.take(thing.index)
        self.caches.uses(cpu, thing, self.lines)
        return thing

    # -- allocating -----------------------------------------------------------------------------------------

    def from_slab(self, cpu: Cpu) -> Steps[SlabObject]:
        """__slab_alloc_node."""
        own = self.own[cpu.id]
        if not own.freelist:
            yield from self._refill(cpu, own)
        assert own.slab is not None
        return own.slab.at(own.freelist.pop())

    def _refill(self, cpu: Cpu, own: CpuSlab) -> Steps[None]:
        """___slab_alloc."""
        cpu.work(self.cost.refill, SLAB)
        slab = own.slab
        if slab is not None:
            yield from slab.meta.write(cpu, SLAB)  # get_freelist
            if slab.free:
                self._load(own, slab)
                return
            slab.frozen = False
            own.slab = None
        slab = own.partial.pop() if own.partial else (yield from self._get_partial(cpu, own))
        if slab is None:
            slab = yield from self._new_slab(cpu)
        else:
            yield from slab.meta.write(cpu, SLAB)  # freeze_slab, get_freelist
        self._load(own, slab)

    def _load(self, own: CpuSlab, slab: Slab) -> None:
        """*slab* is the cpu's, and all that is free in it."""
        own.slab, slab.frozen = slab, True
        own.freelist, slab.free = slab.free, []
        slab.inuse = self.per_slab

    def _get_partial(self, cpu: Cpu, own: CpuSlab) -> Steps[Slab | None]:
        """get_partial: from the own node's list, or from another one's that has more than it must keep."""
        least = 0
        for node in self._near[self.node_of(cpu)]:
            yield from node.line.read(cpu, SLAB)
            if len(node.partial) > least:
                taken = yield from self._get_partial_node(cpu, node)
                if taken:
                    own.partial += taken[1:]
                    return taken[0]
            least = self.min_partial
        return None

    def _get_partial_node(self, cpu: Cpu, node: NodeSlabs) -> Steps[list[Slab]]:
        """get_partial_node: a slab to use now, and others for the cpu's partial list."""
        taken: list[Slab] = []
        yield from self.lock(cpu, node.lock)
        while node.partial and (not taken or (self.cpu_partial and len(taken) <= self.cpu_partial // 2 + 1)):
            slab, _ = node.partial.popitem(last=False)
            slab.listed = False
            taken.append(slab)
            yield from self.relink(cpu, slab)
        yield from self.unlock(cpu, node.lock)
        return taken

    def _new_slab(self, cpu: Cpu) -> Steps[Slab]:
        """new_slab."""
        frame = yield from self.pages.allocate(cpu, self.order)
        cpu.work(self.cost.new_slab + self.per_slab * self.cost.new_object, SLAB)
        return self._add(cpu, frame, cpu)

    def _add(self, cpu: Cpu, frame: int, maker: Cpu, *, used: bool = False) -> Slab:
        topology = self.machine.spec.topology
        node = self.pages.node(cpu, frame)
        home = topology.socket_of_node(node)
        slab = Slab(self, frame, topology.visible_node(node), home, maker.id, used=used)
        self.slabs[frame] = slab
        return slab

    # -- freeing --------------------------------------------------------------------------------------------

    def to_slab(self, cpu: Cpu, thing: SlabObject) -> Steps[None]:
        """do_slab_free."""
        own = self.own[cpu.id]
        if own.slab is thing.slab:
            own.freelist.append(thing.index)
        else:
            yield from self.slab_free(cpu, thing.slab, [thing.index])

    def slab_free(self, cpu: Cpu, slab: Slab, objects: Sequence[int]) -> Steps[None]:
        """__slab_free: *objects* to their slab, which is not the cpu's."""
        cpu.work(self.cost.remote, SLAB)
        node, locked = self.nodes[slab.node], False
        while True:
            under_lock = self._leaves_a_list(slab, len(objects))
            if under_lock and not locked:
                yield from self.lock(cpu, node.lock)
                locked = True
            elif locked and not under_lock:
                yield from self.unlock(cpu, node.lock)
                locked = False
            else:
                yield from slab.meta.write(cpu, SLAB)  # cmpxchg16
                if self._leaves_a_list(slab, len(objects)) == under_lock:
                    break
        was_full = not slab.free
        slab.free += objects
        slab.inuse -= len(objects)
        if not locked:
            if was_full and not slab.frozen:
                yield from self._put_cpu_partial(cpu, slab)
            return
        empty = False
        if slab.listed or was_full:
            empty = not slab.inuse and len(node.partial) >= self.min_partial
            if empty and slab.listed:
                del node.partial[slab]
                slab.listed = False
                yield from self.relink(cpu, slab)
            elif was_full and not empty:
                yield from self.link(cpu, node, slab)
        yield from self.unlock(cpu, node.lock)
        if empty:
            yield from self.discard(cpu, slab)

    def _leaves_a_list(self, slab: Slab, objects: int) -> bool:
        """Whether to free so many may concern the node's list: a slab is empty then, or no longer full."""
        if slab.frozen:
            return False
        if slab.free:
            return slab.inuse == objects
        return not self.cpu_partial

    def _put_cpu_partial(self, cpu: Cpu, slab: Slab) -> Steps[None]:
        """put_cpu_partial: *slab* to this cpu's list; if that is full, all that is on it to its node's."""
        own = self.own[cpu.id]
        full: list[Slab] = []
        if len(own.partial) >= self.cpu_partial:
            full, own.partial = own.partial, []
        own.partial.append(slab)
        yield from self._put_partials(cpu, full)

    def trim(self, cpu: Cpu, stretch: float) -> Steps[None]:
        """Put the slabs that are empty off the cpu's list as if it were full, but for one in *stretch*.

        A list holds as many slabs after a long burst as after a short one, which are a smaller part of it.
        """
        own = self.own[cpu.id]
        empty = [slab for slab in own.partial if not slab.inuse]
        del empty[: int(len(empty) / stretch)]
        if empty:
            own.partial = [slab for slab in own.partial if slab not in empty]
            yield from self._put_partials(cpu, empty)

    def _put_partials(self, cpu: Cpu, slabs: list[Slab]) -> Steps[None]:
        """__put_partials: the slab that was put last first."""
        held: NodeSlabs | None = None
        empty: list[Slab] = []
        for slab in reversed(slabs):
            node = self.nodes[slab.node]
            if node is not held:
                if held is not None:
                    yield from self.unlock(cpu, held.lock)
                yield from self.lock(cpu, node.lock)
                held = node
            if not slab.inuse and len(node.partial) >= self.min_partial:
                empty.append(slab)
            else:
                yield from self.link(cpu, node, slab)
        if held is not None:
            yield from self.unlock(cpu, held.lock)
        for slab in empty:
            yield from self.discard(cpu, slab)

    def discard(self, cpu: Cpu, slab: Slab) -> Steps[None]:
        """discard_slab: nothing of *slab* is in use, and it is on no list."""
        cpu.work(self.cost.discard, SLAB)
        del self.slabs[slab.frame]
        yield from self.pages.free(cpu, slab.frame, self.order)

    # -- lists under a lock ---------------------------------------------------------------------------------

    def lock(self, cpu: Cpu, lock: QueuedSpinLock) -> Steps[None]:
        """spin_lock_irqsave."""
        if cpu.pending:
            yield cpu.take_pending()
        cpu.disable_interrupts()
        yield from lock.acquire(cpu)
        cpu.work(self.cost.section, SLAB)

    def unlock(self, cpu: Cpu, lock: QueuedSpinLock) -> Steps[None]:
        """spin_unlock_irqrestore."""
        yield from lock.release(cpu)
        cpu.enable_interrupts()

    def link(self, cpu: Cpu, node: NodeSlabs, slab: Slab) -> Steps[None]:
        """add_partial, at the tail; the lock is held."""
        slab.listed = True
        node.partial[slab] = None
        return self.relink(cpu, slab)

    def relink(self, cpu: Cpu, slab: Slab) -> Steps[None]:
        """What it costs that *slab* has come to a list or left it: its links lie in struct slab."""
        cpu.work(self.cost.move, SLAB)
        return slab.meta.store(cpu, SLAB)

    # -- before and after a run -----------------------------------------------------------------------------

    def boot(self, draw: Callable[[], float], ended: Cpu) -> None:
        """Each cpu has a slab and some partial ones, and each node as many more as it has cpus, at most.

        A part of each is free, and the rest belongs to what still runs.
        """
        for cpu in self.machine.cpus:
            own = self.own[cpu.id]
            self._load(own, self._boot_slab(cpu, draw, ended))
            own.partial = [
                self._boot_slab(cpu, draw, ended) for _ in range(int(draw() * (self.cpu_partial + 1)))
            ]
        for number, node in enumerate(self.nodes):
            local = [cpu for cpu in self.machine.cpus if self.node_of(cpu) == number]
            for cpu in local[: int(draw() * (len(local) + 1))]:
                slab = self._boot_slab(cpu, draw, ended)
                slab.listed = slab.node == number
                if slab.listed:
                    node.partial[slab] = None
                else:
                    self.own[cpu.id].partial.append(slab)

    def _boot_slab(self, cpu: Cpu, draw: Callable[[], float], ended: Cpu) -> Slab:
        slab = self._add(cpu, self.pages.reserve(cpu, self.order), ended, used=True)
        slab.inuse = int(draw() * self.per_slab)
        slab.free = slab.free[: self.per_slab - slab.inuse]
        slab.live = (1 << slab.inuse) - 1
        self.booted += slab.inuse
        return slab

    def on_cpus(self) -> int:
        """Objects that nobody has, but that their slabs count as in use."""
        return sum(len(own.freelist) for own in self.own)

    def contradictions(self) -> Iterator[str]:
        partial = {slab for own in self.own for slab in own.partial}
        current = {own.slab for own in self.own}
        for node in self.nodes:
            for slab in node.partial:
                if not slab.listed or slab in partial or slab.frozen or not slab.free:
                    yield f"{slab!r} is on its node's list and on another, or full"
        inuse = live = 0
        for slab in self.slabs.values():
            inuse += slab.inuse
            live += slab.live.bit_count()
            if slab.inuse + len(set(slab.free)) != self.per_slab:
                yield f"{slab!r} has {slab.inuse} objects in use and {len(slab.free)} free"
            if any(slab.live >> index & 1 for index in slab.free):
                yield f"{slab!r} has a free object that somebody has"
            if slab.free and not (slab.listed or slab.frozen or slab in partial):
                yield f"{slab!r} has free objects and is on no list"
            if slab.frozen != (slab in current):
                yield f"{slab!r} is {'' if slab.frozen else 'not '}frozen"
        if inuse != live + self.on_cpus():
            yield f"of {self.name} {inuse} objects are in use, {live} somebody has and {self.on_cpus()} wait"
