"""Linux's page allocator: per-cpu lists over a buddy under zone->lock (mm/page_alloc.c, 6.13).

One zone a NUMA node that the kernel sees. A guest without a virtual topology has one for the whole machine.

A page comes from the first zone of a zone list that has one:

    list of the policy's node   zone 1 (full) -> zone 0 -> zone 2 -> ...   bound memory: zone 1 and no other
                                ^ its free count is read, its lock is not taken
    all are full                the lists of all cpus are drained into the zones, then again from the start
    nothing came back           out of memory

Without swap zones are used up to the last page: there are no watermarks, and no reclaim but for the draining.
With swap an allocation leaves so many pages in its zone (`vmscan`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sim.designs.linux.pcp import PcpTuning
from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm import (
    HUGE_ORDER,
    Allocator,
    Buddy,
    FirstTouch,
    FrameMap,
    FreeList,
    NodePolicy,
    OutOfMemory,
    Pool,
    Room,
    distances,
    out_of_memory,
    zonelists,
)
from sim.quantities import PAGE_BYTES
from sim.sync import QueueNodes, spin_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.designs.linux.costs import Costs
    from sim.designs.linux.rcu import TreeRcu
    from sim.designs.linux.spec import Limits, LinuxSpec
    from sim.engine.costs import AtClock

COSTLY_ORDER: Final = 3
"""Blocks of more than 2**3 pages are not worth a reclaim (PAGE_ALLOC_COSTLY_ORDER)."""
ALLOCATE: Final = Activity("allocate")
LOCK_ZONE: Final = Activity("lock: zone")


class Recycled(Protocol):
    """What is told of pages that are given away, where some were unmapped without a flush
    (`recycling.RecycledFrames`)."""

    def given_away(self, cpu: Cpu, frame: int, order: int, to: object) -> Steps[None]:
        """A block is about to be used, by *to* for memory of its process or, if None, for anything."""

    def given_at_once(self, frames: Sequence[int]) -> None:
        """The same of *frames*, before anything is measured: it takes no time."""


class Reclaims(Protocol):
    """What the slow path asks of reclaim (`vmscan.Reclaimer`)."""

    @property
    def retries(self) -> int:
        """Reclaims without progress after which memory is out."""

    def can_reclaim(self, zones: Sequence[Zone]) -> int:
        """How many pages of *zones* could be taken away."""

    def try_to_free_pages(self, cpu: Cpu, zones: Sequence[Zone]) -> Steps[int]:
        """Value: how many are free now that were not."""


class Zone:
    """Frames of one node: the buddy, its lock, and each cpu's list."""

    __slots__ = (
        "_larger",
        "buddy",
        "frames",
        "free_lists",
        "index",
        "lock",
        "memory",
        "name",
        "pcp",
        "tuning",
        "wmark_low",
        "wmark_min",
    )

    def __init__(self, machine: Machine, index: int, nodes: QueueNodes, limits: Limits) -> None:
        spec = machine.spec
        sockets = spec.topology.sockets
        self.frames = spec.memory.size_per_socket * sockets // spec.topology.numa_nodes // PAGE_BYTES
        home = index * sockets // spec.topology.numa_nodes
        self.index = index
        self.wmark_min = self.wmark_low = 0
        self.name = f"node {index}"
        self.memory = range(index * self.frames, (index + 1) * self.frames)
        self.buddy = Buddy(self.memory.start, self.frames)
        self.lock = spin_lock(nodes, machine.line(f"zone {index} lock", home), LOCK_ZONE)
        self.free_lists = machine.line(f"zone {index} free lists", home, lines=2)
        self.pcp: list[list[int]] = [[] for _ in machine.cpus]
        least, fraction = limits.pcp_high, limits.pcp_high_fraction
        cpus = spec.cpus // spec.topology.numa_nodes
        most = least if fraction is None else self.frames // fraction // cpus
        in_cluster = spec.topology.cores_per_cluster * spec.topology.threads_per_core
        roomy = spec.memory.llc // in_cluster // PAGE_BYTES > 3 * limits.pcp_batch  # per_cpu_data_slice_size
        self.tuning = [
            PcpTuning(limits.pcp_batch, limits.pcp_batch_scale, least, most, limits.pcp_drain, roomy=roomy)
            for _ in machine.cpus
        ]
        self._larger: list[dict[int, list[int]]] = [{} for _ in machine.cpus]  # by order, from 1 on

    def blocks(self, cpu: Cpu, order: int) -> list[int]:
        """The cpu's list of free blocks of 2**order."""
        return self._larger[cpu.id].setdefault(order, []) if order else self.pcp[cpu.id]

    def lists(self, cpu: Cpu) -> list[tuple[int, list[int]]]:
        """All lists of the cpu that are not empty, with their orders."""
        larger = self._larger[cpu.id].items()
        return [(order, blocks) for order, blocks in ((0, self.pcp[cpu.id]), *larger) if blocks]

    def listed(self, cpu: Cpu) -> int:
        """Pages on all lists of the cpu (pcp->count)."""
        return sum(len(blocks) << order for order, blocks in self.lists(cpu))


class PageAllocator(Allocator):
    """Single pages for anonymous memory and page tables, and larger blocks."""

    __slots__ = (
        "_cost",
        "_free_check",
        "_free_check_cached",
        "_last_block",
        "_machine",
        "_per_freed",
        "_rcu",
        "_spec",
        "_zone_check",
        "_zonelists",
        "frames",
        "reclaimer",
        "recycled",
        "zones",
    )

    def __init__(
        self,
        machine: Machine,
        spec: LinuxSpec,
        cost: AtClock[Costs],
        nodes: QueueNodes,
        rcu: TreeRcu,
    ) -> None:
        """*rcu* says how much shorter than they would be the bursts are in which blocks come back."""
        super().__init__()
        self._rcu = rcu
        self._machine = machine
        self._spec = spec
        topology = machine.spec.topology
        self._cost = cost
        blocks = at_clock(spec.blocks, machine.spec.kernel_clock) if spec.blocks else None
        self._per_freed = blocks.zone_free if blocks else cost.zone_page
        self._zone_check = blocks.zone_check if blocks else 0
        self._free_check = blocks.free_check if blocks else 0
        cached = blocks.free_check_cached if blocks else None
        self._free_check_cached = self._free_check if cached is None else cached
        self._last_block = [-1] * len(machine.cpus)
        """The block that each cpu was given or gave back last: its descriptors are in the cpu's caches."""
        self.zones = [Zone(machine, index, nodes, spec.limits) for index in range(topology.numa_nodes)]
        orders = zonelists(distances(machine.spec, topology.numa_nodes))
        self._zonelists = [[self.zones[node] for node in order] for order in orders]
        self.policy: NodePolicy = FirstTouch(topology)
        self.frames = FrameMap(machine.spec)
        self.reclaimer: Reclaims | None = None
        self.recycled: Recycled | None = None

    def boot(self, cpu: Cpu, frames: int, draw: Callable[[], float]) -> list[int]:
        zone = self.zones[self.policy.node(cpu)]
        taken = zone.buddy.take(frames)
        for frame in taken:
            self.in_use.add(frame)
        zone.pcp[cpu.id] = zone.buddy.take(int(draw() * self._spec.limits.pcp_batch))
        return taken

    def take(self, cpu: Cpu, frames: int) -> list[int]:
        allowed = self._allowed(cpu)
        taken: list[int] = []
        for zone in allowed:
            part = zone.buddy.take(frames - len(taken))
            zone.tuning[cpu.id].came_in_bulk(len(part))
            taken += part
        if len(taken) < frames:
            for frame in taken:
                self._zone_of(frame).buddy.free(frame)
            raise self._exhausted(cpu, 0, allowed)
        for frame in taken:
            self.in_use.add(frame)
        if self.recycled is not None:
            self.recycled.given_at_once(taken)
        return taken

    def reserve(self, cpu: Cpu, order: int) -> int:
        frame = self.zones[self.policy.node(cpu)].buddy.allocate(order)
        self.in_use.add(frame, order)
        return frame

    def take_run(self, cpu: Cpu, order: int) -> range | None:
        if not self.policy.steady:
            return None
        zone = next((zone for zone in self._allowed(cpu) if zone.buddy.free_frames), None)
        if zone is None or not zone.buddy.has(order):
            return None
        first = zone.buddy.allocate(order)
        frames = range(first, first + (1 << order))
        self.in_use.add_run(frames)
        zone.tuning[cpu.id].came_in_bulk(len(frames))
        self.frames.touch(frames, cpu.node)
        if self.recycled is not None:
            self.recycled.given_at_once(frames)
        return frames

    def allocate(self, cpu: Cpu, order: int = 0) -> Steps[int]:
        """__alloc_pages: value is the first frame. Raises `OutOfMemory`."""
        steps = self._allocate(cpu, order, self._allowed(cpu))
        return steps if self.recycled is None else self._checked(cpu, order, steps, None)

    def allocate_for(self, cpu: Cpu, owner: object) -> Steps[int]:
        """The same of one page, for memory of the process whose pages are *owner*'s when they go round."""
        return self._checked(cpu, 0, self._allocate(cpu, 0, self._allowed(cpu)), owner)

    def _checked(self, cpu: Cpu, order: int, steps: Steps[int], to: object) -> Steps[int]:
        frame = yield from steps
        assert self.recycled is not None
        yield from self.recycled.given_away(cpu, frame, order, to)
        return frame

    def allocate_on(self, cpu: Cpu, node: int) -> Steps[int]:
        """alloc_pages_node: a frame of *node* or, where that has none, of the next. Raises `OutOfMemory`."""
        return self._allocate(cpu, 0, self._zonelists[node])

    def _allocate(self, cpu: Cpu, order: int, allowed: list[Zone]) -> Steps[int]:
        cpu.work(self._cost.page_alloc, ALLOCATE)
        frame = yield from self._from_zones(cpu, allowed, order)
        if frame is None and self.reclaimer is not None:
            frame = yield from self._slowpath(cpu, allowed, order, self.reclaimer)
        while frame is None:
            drained = yield from self._drain(cpu, allowed)
            if not drained:
                raise self._exhausted(cpu, order, allowed)
            frame = yield from self._from_zones(cpu, allowed, order)
        self.in_use.add(frame, order)
        if order:
            self._last_block[cpu.id] = frame
        if cpu.heard:
            cpu.probe.frame_allocated(cpu, frame, order)
        return frame

    def _allowed(self, cpu: Cpu) -> list[Zone]:
        """The zones that the next block may come from, in order."""
        node = self.policy.node(cpu)
        return [self.zones[node]] if self.policy.strict else self._zonelists[node]

    def _exhausted(self, cpu: Cpu, order: int, zones: Sequence[Zone]) -> OutOfMemory:
        rooms = [Room(zone.name, zone.frames, zone.buddy.free_frames) for zone in zones]
        bound = f"memory is bound to {zones[0].name}" if self.policy.strict else ""
        return out_of_memory(cpu, order, rooms, bound)

    def _slowpath(self, cpu: Cpu, zones: Sequence[Zone], order: int, reclaimer: Reclaims) -> Steps[int]:
        """__alloc_pages_slowpath: pages between the watermarks; then those that reclaim frees.

        For a large block nothing is reclaimed, and for a small one of several pages it is not tried for long.
        """
        frame = yield from self._from_zones(cpu, zones, order, low=False)
        fruitless = 0
        while frame is None:
            if order > COSTLY_ORDER:
                raise self._exhausted(cpu, order, zones)
            freed = yield from reclaimer.try_to_free_pages(cpu, zones)
            frame = yield from self._from_zones(cpu, zones, order, low=False)
            if frame is None and freed:  # __alloc_pages_direct_reclaim
                yield from self._drain(cpu, zones)
                frame = yield from self._from_zones(cpu, zones, order, low=False)
            if frame is None:  # should_reclaim_retry
                fruitless = 0 if freed and not order else fruitless + 1
                if fruitless > reclaimer.retries or not reclaimer.can_reclaim(zones):
                    raise self._exhausted(cpu, order, zones)
        return frame

    def _from_zones(
        self, cpu: Cpu, zones: Sequence[Zone], order: int, *, low: bool = True
    ) -> Steps[int | None]:
        """get_page_from_freelist: from the first of *zones* that has a block and is above its watermark.

        That is the *low* one, or min (ALLOC_WMARK_LOW, ALLOC_WMARK_MIN). Value: None if none has.
        """
        for zone in zones:
            if zone.wmark_min and zone.buddy.free_frames <= (zone.wmark_low if low else zone.wmark_min):
                yield from zone.free_lists.read(cpu, ALLOCATE)
                continue
            pcp = zone.blocks(cpu, order)
            if not pcp:
                if not zone.buddy.has(order):  # zone_watermark_fast
                    yield from zone.free_lists.read(cpu, ALLOCATE)
                    continue
                if not _is_listed(order):
                    frame = yield from self._from_buddy(cpu, zone, order)
                    if frame is not None:
                        return frame
                    continue
                batch = self._larger_batch(order) if order else zone.tuning[cpu.id].refill()
                yield from self._move(cpu, zone, pcp, batch, order)
            if pcp:  # else others were faster
                zone.tuning[cpu.id].took()
                return pcp.pop()
        return None

    def _from_buddy(self, cpu: Cpu, zone: Zone, order: int) -> Steps[int | None]:
        """rmqueue_buddy: a block of a size that is on no list. Its pages are checked without the lock."""
        yield from self._lock(cpu, zone)
        taken = zone.buddy.take(1, order)
        cpu.work(self._cost.zone_refill + len(taken) * self._cost.zone_page, ALLOCATE)
        yield from self._unlock(cpu, zone)
        cpu.work(((1 << order) - 1) * self._zone_check, ALLOCATE)
        return taken[0] if taken else None

    def _drain(self, cpu: Cpu, zones: Sequence[Zone]) -> Steps[int]:
        """drain_all_pages: every cpu's lists back into *zones*, by *cpu*; value is how many blocks.

        Linux drains the zones that the request may not use as well, which cannot help it.
        """
        drained = 0
        for zone in zones:
            for owner in self._machine.cpus:
                for order, blocks in zone.lists(owner):
                    drained += len(blocks)
                    yield from self._move(cpu, zone, blocks, -len(blocks), order)
        return drained

    def free_unref(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        """free_unref_page: on this cpu's list of the frame's zone, in bulk to the buddy when that is full."""
        if cpu.heard:
            cpu.probe.frame_freed(cpu, frame, order)
        check = self._free_check
        if order:
            if self._last_block[cpu.id] == frame:
                check = self._free_check_cached
            self._last_block[cpu.id] = frame
        cpu.work(self._cost.page_free + ((1 << order) - 1) * check, ALLOCATE)
        zone = self._zone_of(frame)
        pcp = zone.blocks(cpu, order)
        pcp.append(frame)
        tuning = zone.tuning[cpu.id]
        if order:
            yield from self._free_block(cpu, zone, pcp, order)
            return
        tuning.gave(1)
        if surplus := tuning.surplus(len(pcp)):
            yield from self._move(cpu, zone, pcp, -surplus, order)

    def _free_block(self, cpu: Cpu, zone: Zone, pcp: list[int], order: int) -> Steps[None]:
        """What goes back to the buddy when a block of several pages has been put on its list, *pcp*."""
        if not _is_listed(order):
            yield from self._move(cpu, zone, pcp, -1, order)
        elif order > COSTLY_ORDER:
            if len(pcp) << order > self._spec.limits.pcp_high:
                yield from self._move(cpu, zone, pcp, -self._larger_batch(order), order)
        elif not self._spec.limits.pcp_blocks:
            yield from self._move(cpu, zone, pcp, -1, order)
        elif surplus := zone.tuning[cpu.id].gave_block(order, zone.listed(cpu), self._rcu.stretch):
            yield from self._give_back(cpu, zone, surplus, order)

    def free_run(self, cpu: Cpu, frames: range) -> Steps[None]:
        """The same of single *frames* of one zone: work on the cpu's own data, until the list is full."""
        if cpu.probe.hears("frame_freed"):
            for frame in frames:
                if cpu.heard:
                    cpu.probe.frame_freed(cpu, frame, 0)
        zone = self._zone_of(frames.start)
        pcp, tuning = zone.blocks(cpu, 0), zone.tuning[cpu.id]
        while frames:
            room = max(1, tuning.high - len(pcp))
            now, frames = frames[:room], frames[room:]
            cpu.stall(len(now) * cpu.work_time(self._cost.page_free), ALLOCATE)
            pcp.extend(now)
            tuning.gave(len(now))
            if surplus := tuning.surplus(len(pcp)):
                yield from self._move(cpu, zone, pcp, -surplus, 0)

    def _larger_batch(self, order: int) -> int:
        """How many blocks are moved at once: rmqueue_bulk is asked for max(batch >> order, 2)."""
        if order <= COSTLY_ORDER and not self._spec.limits.pcp_blocks:
            return 1
        return max(self._spec.limits.pcp_batch >> order, 2)

    def node(self, cpu: Cpu, frame: int) -> int:
        """The node of *frame*; *cpu* touches it."""
        return self.frames.node(frame, cpu.node)

    def _zone_of(self, frame: int) -> Zone:
        return self.zones[frame // self.zones[0].frames]

    def _move(self, cpu: Cpu, zone: Zone, pcp: list[int], blocks: int, order: int) -> Steps[None]:
        """rmqueue_bulk (*blocks* > 0: up to so many, into *pcp*) or free_pcppages_bulk (< 0: out of it).

        Under zone->lock with interrupts off.
        """
        blocks = max(blocks, -len(pcp))
        yield from self._lock(cpu, zone)
        if blocks > 0:
            taken = zone.buddy.take(blocks, order)
            cost = len(taken) * (self._cost.zone_page + ((1 << order) - 1) * self._zone_check)
        else:
            cost = -blocks * self._per_freed
        cpu.work(self._cost.zone_refill + cost, ALLOCATE)
        if cpu.pending:
            yield cpu.take_pending()
        if blocks > 0:
            pcp.extend(reversed(taken))
        else:
            _to_buddy(zone, pcp, -blocks, order)
        yield from self._unlock(cpu, zone)

    def _give_back(self, cpu: Cpu, zone: Zone, pages: int, order: int) -> Steps[None]:
        """free_pcppages_bulk of so many *pages*: first blocks of 2**order, then of the other lists."""
        yield from self._lock(cpu, zone)
        gone: list[tuple[list[int], int, int]] = []
        for each, blocks in sorted(zone.lists(cpu), key=lambda listed: listed[0] != order):
            if pages > 0:
                number = min(len(blocks), -(-pages >> each))
                gone.append((blocks, number, each))
                pages -= number << each
        cpu.work(self._cost.zone_refill + sum(number for _, number, _ in gone) * self._per_freed, ALLOCATE)
        if cpu.pending:
            yield cpu.take_pending()
        for blocks, number, each in gone:
            _to_buddy(zone, blocks, number, each)
        yield from self._unlock(cpu, zone)

    def _lock(self, cpu: Cpu, zone: Zone) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        cpu.disable_interrupts()
        yield from zone.lock.acquire(cpu)
        yield from zone.free_lists.write(cpu, LOCK_ZONE)

    def _unlock(self, cpu: Cpu, zone: Zone) -> Steps[None]:
        yield from zone.lock.release(cpu)
        cpu.enable_interrupts()

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        """Each zone's."""
        for zone in self.zones:
            yield Pool(f"the buddy of {zone.name}", zone.memory, zone.buddy)

    def free_lists(self) -> Iterator[FreeList]:
        """Each cpu's, of each zone and order."""
        for zone in self.zones:
            for cpu in self._machine.cpus:
                for order, blocks in zone.lists(cpu):
                    yield FreeList(f"the list of {cpu} for {zone.name}", zone.memory, order, blocks)


def _is_listed(order: int) -> bool:
    """Whether each cpu has a list of such blocks (pcp_allowed_order)."""
    return order <= COSTLY_ORDER or order == HUGE_ORDER


def _to_buddy(zone: Zone, pcp: list[int], blocks: int, order: int) -> None:
    """The first *blocks* blocks of *pcp* are the buddy's again."""
    if order:
        for frame in pcp[:blocks]:
            zone.buddy.free(frame, order)
    else:
        zone.buddy.free_all(pcp[:blocks])
    del pcp[:blocks]
