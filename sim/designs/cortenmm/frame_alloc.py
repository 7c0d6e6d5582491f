"""CortenMM's frame allocator: a cache and a buddy for each cpu over one global buddy.

Source: artifact, osdk/deps/frame-allocator. A cpu's cache is refilled with two thirds of its size from the
cpu's own buddy; that takes a chunk from the global buddy, under a spin lock, when it runs dry. Frames go
back to the cpu that frees them. There is no NUMA awareness: frames come in the order of their addresses, so
from the next node when one is used up. A workload that places its memory (`place`) splits all of it by node,
chunks included, and goes on with the next node as Linux does.

When the global buddy has less than a chunk left, a cpu takes a share of that: half a fair one, as the
artifact's balancing has it (`global_free / (2 * cpus)`), and at least one block, so that the first cpu to
come leaves some to the others. What the artifact moves back from a cpu with plenty is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.cortenmm.frame_meta import FRAME_META, FrameMeta
from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm import (
    MAX_ORDER,
    Buddy,
    FrameMap,
    FreeList,
    NodePolicy,
    OutOfMemory,
    PhysicalMemory,
    Pool,
    Room,
    distances,
    out_of_memory,
    size_of,
    zonelists,
)
from sim.quantities import PAGE_BYTES
from sim.sync import QueuedSpinLock, QueueNodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sim.designs.cortenmm.spec import CortenSpec, Costs
    from sim.engine.costs import AtClock

ALLOCATE: Final = Activity("allocate")
LOCK_FRAMES: Final = Activity("lock: frames")


class FrameAllocator(PhysicalMemory):
    """Frames for data and page tables."""

    __slots__ = (
        "_buddies",
        "_caches",
        "_chunk",
        "_cost",
        "_global",
        "_limits",
        "_lock",
        "_machine",
        "_meta",
        "_orders",
        "_part",
        "_policy",
        "_total",
        "frames",
        "on_free",
    )

    def __init__(self, machine: Machine, spec: CortenSpec, cost: AtClock[Costs], nodes: QueueNodes) -> None:
        super().__init__()
        self._machine = machine
        self._limits = spec.limits
        self._cost = cost
        self._total = machine.spec.memory.size_per_socket * machine.spec.topology.sockets // PAGE_BYTES
        self._lock = QueuedSpinLock(nodes, machine.line("global frame allocator"), LOCK_FRAMES)
        self.frames = FrameMap(machine.spec)
        self._meta = FrameMeta(machine)
        self.on_free: Callable[[int], None] | None = None
        """Told of each frame that nobody has any more."""
        self._policy: NodePolicy | None = None
        self._orders = zonelists(distances(machine.spec, machine.spec.topology.numa_nodes))
        self._split(1)

    @property
    def total(self) -> int:
        """Frames of the machine."""
        return self._total

    def place(self, policy: NodePolicy) -> None:
        """Take frames from the nodes that *policy* chooses. To be called before the first frame is taken."""
        self._policy = policy
        self._split(self._machine.spec.topology.numa_nodes)

    def _split(self, parts: int) -> None:
        """Divide the memory, and what each cpu keeps of it, into *parts*."""
        self._part, self._chunk = self._total // parts, self._limits.frame_chunk // parts
        self._global = [Buddy(part * self._part, self._part) for part in range(parts)]
        self._buddies = [[Buddy(0, 0) for _ in range(parts)] for _ in self._machine.cpus]
        self._caches: list[list[list[int]]] = [[[] for _ in range(parts)] for _ in self._machine.cpus]

    def allocate(self, cpu: Cpu) -> Steps[int]:
        """Value is a frame. Raises `OutOfMemory`."""
        cpu.work(self._cost.frame_alloc, ALLOCATE)
        parts = self._parts(cpu)
        for part in parts:
            cache = self._caches[cpu.id][part]
            if not cache:
                yield from self._fill(cpu, part)
            if cache:
                frame = cache.pop()
                self.in_use.add(frame)
                if cpu.heard:
                    cpu.probe.frame_allocated(cpu, frame, 0)
                return frame
        raise self._exhausted(cpu, parts)

    def take_run(self, cpu: Cpu, order: int) -> range | None:
        """2**order single frames side by side for *cpu*, in no time.

        None where the next would not be so many in a row.
        """
        if self._policy is not None and not self._policy.steady:
            return None
        for part in self._parts(cpu):
            for buddy in (self._buddies[cpu.id][part], self._global[part]):
                if buddy.has(order):
                    first = buddy.allocate(order)
                    frames = range(first, first + (1 << order))
                    self.in_use.add_run(frames)
                    self.frames.touch(frames, cpu.node)
                    return frames
            if self._global[part].free_frames or self._of_cpu(cpu.id, part):
                return None
        return None

    def take(self, cpu: Cpu, count: int) -> list[int]:
        """So many frames for *cpu*, in no time. Raises `OutOfMemory`, and has taken none then."""
        taken: list[int] = []
        for part in self._parts(cpu):
            for buddy in (self._buddies[cpu.id][part], self._global[part]):
                taken += buddy.take(count - len(taken))
        if len(taken) < count:
            for frame in taken:
                self._global[frame // self._part].free(frame)
            raise self._exhausted(cpu, self._parts(cpu))
        for frame in taken:
            self.in_use.add(frame)
            self.node(cpu, frame)
        return taken

    def _parts(self, cpu: Cpu) -> Sequence[int]:
        """The parts of the memory that the next frame may come from, in order."""
        if self._policy is None:
            return (0,)
        node = self._policy.node(cpu)
        return (node,) if self._policy.strict else self._orders[node]

    def _fill(self, cpu: Cpu, part: int) -> Steps[None]:
        """Frames into the cpu's empty cache of *part*, from its buddy: fewer where there are no more."""
        cpu.work(self._cost.frame_refill, ALLOCATE)
        buddy = self._buddies[cpu.id][part]
        if buddy.free_frames < self._limits.frame_refill:
            yield from self._fetch_chunk(cpu, buddy, self._global[part])
        self._caches[cpu.id][part].extend(buddy.take(self._limits.frame_refill))

    def share(self, cpu: Cpu, frame: int) -> Steps[None]:
        """One owner more (`clone` of a frame)."""
        socket = self._machine.spec.topology.socket_of_node(self.node(cpu, frame))
        yield from self._meta.write(cpu, frame, socket)
        self.in_use.get(frame)

    def share_run(self, cpu: Cpu, frames: range | None) -> None:
        """`share` of each of *frames*, which one cpu has used."""
        assert frames is not None
        cpu.stall(len(frames) * self._machine.fabric.rmw, FRAME_META)
        self.in_use.get_run(frames)

    def look_at(self, cpu: Cpu, frame: int) -> Steps[int]:
        """Value: how many owners *frame* has. Whoever asks is one more meanwhile (`query` clones it)."""
        socket = self._machine.spec.topology.socket_of_node(self.node(cpu, frame))
        yield from self._meta.write(cpu, frame, socket)
        return self.in_use.owners(frame)

    def free(self, cpu: Cpu, frame: int) -> None:
        """Give up one reference; the last puts the frame into this cpu's cache, an overflow in its buddy."""
        self._meta.write_at_once(cpu, frame)
        if not self.in_use.put(frame):
            if cpu.heard:
                cpu.probe.frame_let_go(cpu, frame)
            return
        self._meta.forget(frame)
        if self.on_free is not None:
            self.on_free(frame)
        if cpu.heard:
            cpu.probe.frame_freed(cpu, frame, 0)
        self._keep(cpu, frame)

    def settle(self, cpu: Cpu) -> Steps[None]:
        """Do what `free` has put off, which is nothing here."""
        return
        yield

    def _keep(self, cpu: Cpu, frame: int) -> None:
        """*frame* is nobody's and *cpu* has freed it."""
        cpu.work(self._cost.frame_free, ALLOCATE)
        part = frame // self._part
        cache = self._caches[cpu.id][part]
        cache.append(frame)
        if len(cache) > self._limits.frame_cache:
            cpu.work(self._cost.frame_refill, ALLOCATE)
            for _ in range(self._limits.frame_refill + 1):
                self._buddies[cpu.id][part].free(cache.pop(0))

    def free_run(self, cpu: Cpu, frames: range) -> None:
        """`free` of each of *frames*, which lie in one part of the memory."""
        for last in self.in_use.put_run(frames):
            self._meta.forget_run(last)
            if self.on_free is not None:
                for frame in last:
                    self.on_free(frame)
            if cpu.probe.hears("frame_freed"):
                for frame in last:
                    if cpu.heard:
                        cpu.probe.frame_freed(cpu, frame, 0)
            self._keep_run(cpu, last)

    def _keep_run(self, cpu: Cpu, frames: range) -> None:
        """`_keep` of each of *frames*, which lie in one part of the memory."""
        limits, part = self._limits, frames.start // self._part
        cache, buddy = self._caches[cpu.id][part], self._buddies[cpu.id][part]
        while frames:
            room = max(1, limits.frame_cache + 1 - len(cache))
            now, frames = frames[:room], frames[room:]
            cpu.stall(len(now) * cpu.work_time(self._cost.frame_free), ALLOCATE)
            cache.extend(now)
            if len(cache) > limits.frame_cache:
                cpu.work(self._cost.frame_refill, ALLOCATE)
                buddy.free_all(cache[: limits.frame_refill + 1])
                del cache[: limits.frame_refill + 1]

    def node(self, cpu: Cpu, frame: int) -> int:
        """The node of *frame*; *cpu* touches it."""
        return self.frames.node(frame, cpu.node)

    def _fetch_chunk(self, cpu: Cpu, buddy: Buddy, source: Buddy) -> Steps[None]:
        """Move a chunk from the global buddy *source* to the cpu's, or a share of what is left of it."""
        yield from self._lock.acquire(cpu)
        frames = self._chunk
        if source.free_frames < frames:
            frames = source.free_frames // (2 * len(self._machine.cpus))
        buddy.free_whole(source.take(max(1, frames >> MAX_ORDER), MAX_ORDER))
        cpu.work(self._cost.frame_refill, ALLOCATE)
        yield from self._lock.release(cpu)

    def _exhausted(self, cpu: Cpu, parts: Sequence[int]) -> OutOfMemory:
        rooms, elsewhere = [], 0
        for part in parts:
            here = self._global[part].free_frames + self._of_cpu(cpu.id, part)
            rooms.append(Room(f"node {part}" if self._policy else "the machine", self._part, here))
            elsewhere += sum(self._of_cpu(other.id, part) for other in self._machine.cpus if other is not cpu)
        reasons = [f"other cpus keep {size_of(elsewhere)} for themselves"] if elsewhere else []
        if self._policy is not None and self._policy.strict:
            reasons.append(f"memory is bound to node {parts[0]}")
        return out_of_memory(cpu, 0, rooms, "; ".join(reasons))

    def _of_cpu(self, number: int, part: int) -> int:
        """Free frames that a cpu keeps of *part*."""
        return self._buddies[number][part].free_frames + len(self._caches[number][part])

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        """The global one and each cpu's, of each part of the memory."""
        for part, buddy in enumerate(self._global):
            memory = self._memory(part)
            yield Pool(f"the global buddy {part}", memory, buddy)
            for cpu in self._machine.cpus:
                yield Pool(f"the buddy {part} of {cpu}", memory, self._buddies[cpu.id][part])

    def free_lists(self) -> Iterator[FreeList]:
        """Each cpu's caches."""
        for cpu in self._machine.cpus:
            for part, cache in enumerate(self._caches[cpu.id]):
                yield FreeList(f"the cache {part} of {cpu}", self._memory(part), 0, cache)

    def _memory(self, part: int) -> range:
        return range(part * self._part, (part + 1) * self._part)
