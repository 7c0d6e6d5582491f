"""Frames from a cache of the core's, filled from one of its node (memory/mcache.rs, memory/mod.rs).

    take      off the core's stack
    refill    under the lock of the node's cache, which is taken even where the core's is full: frame by frame
              onto the core's stack
    give back onto the core's stack; onto the node's if that is full, or the frame belongs to another node

Each cache has a stack of 4 KiB frames and one of 2 MiB frames. A node's memory is shared out to the two at
boot. Where the small ones run out a large one is broken up; NrOS gives up there.

Source: vmware-labs/node-replicated-kernel at 38557a6, kernel/src/memory/mcache.rs, mod.rs
(try_refill_tcache), arch/x86_64/syscall.rs (map_generic, release_physical).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.designs.nros.mutex import Mutex
from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.hardware.memory import ZERO
from sim.mm import (
    HUGE_ORDER,
    MAX_ORDER,
    Buddy,
    FirstTouch,
    FrameMap,
    FreeList,
    PhysicalMemory,
    Pool,
    Room,
    out_of_memory,
)
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.nros.runner import Runner
    from sim.designs.nros.spec import CacheSpec, NrosCosts
    from sim.engine.costs import AtClock

ALLOCATE: Final = Activity("allocate")
LOCK_NODE_CACHE: Final = Activity("lock: node cache")

LARGE: Final = 1 << HUGE_ORDER
"""Frames of 4 KiB in a large one."""
_BLOCK: Final = 1 << MAX_ORDER


class NodeCache:
    """The frames of one node that no core has: what came back lies on two stacks, over what never left."""

    __slots__ = ("base", "large", "lock", "memory", "number", "small", "whole")

    def __init__(self, machine: Machine, number: int, memory: range, share: float) -> None:
        topology = machine.spec.topology
        self.number = number
        self.memory = memory
        blocks = len(memory) // _BLOCK
        cut = memory.start + min(max(1, int(blocks * share)), max(1, blocks - 1)) * _BLOCK
        self.whole = Buddy(memory.start, cut - memory.start)
        self.small = Buddy(cut, memory.stop - cut)
        self.base: list[int] = []
        self.large: list[int] = []
        home = number * topology.sockets // topology.numa_nodes
        self.lock = Mutex(machine.line(f"the cache of node {number}", home), LOCK_NODE_CACHE)

    @property
    def free_frames(self) -> int:
        """Frames of 4 KiB, in whatever size."""
        stacks = len(self.base) + LARGE * len(self.large)
        return stacks + self.small.free_frames + self.whole.free_frames

    def take_base(self) -> int | None:
        """A 4 KiB frame, None if there is none."""
        if self.base:
            return self.base.pop()
        if self.small.has(0):
            return self.small.allocate()
        first = self.take_large()
        if first is None:
            return None
        self.base += range(first + LARGE - 1, first, -1)
        return first

    def take_large(self) -> int | None:
        """A 2 MiB frame, None if there is none."""
        if self.large:
            return self.large.pop()
        return self.whole.allocate(HUGE_ORDER) if self.whole.has(HUGE_ORDER) else None

    def put(self, frame: int, order: int) -> None:
        """It comes back."""
        (self.large if order else self.base).append(frame)


class _CoreCache:
    """The two stacks of a core."""

    __slots__ = ("base", "large")

    def __init__(self) -> None:
        self.base: list[int] = []
        self.large: list[int] = []


class FrameCaches(PhysicalMemory):
    """Frames for data and page tables. A frame that is on no stack has an owner (`in_use`)."""

    __slots__ = ("_cores", "_cost", "_machine", "_seen", "_spec", "frames", "nodes", "total")

    def __init__(self, machine: Machine, spec: CacheSpec, cost: AtClock[NrosCosts]) -> None:
        super().__init__()
        self._machine = machine
        self._spec = spec
        self._cost = cost
        topology = machine.spec.topology
        self._seen = FirstTouch(topology)
        self.frames = FrameMap(machine.spec)
        self.total = machine.spec.memory.size_per_socket * topology.sockets // PAGE_BYTES
        each = self.total // topology.numa_nodes
        self.nodes = [
            NodeCache(machine, node, range(node * each, (node + 1) * each), spec.large_share)
            for node in range(topology.numa_nodes)
        ]
        self._cores = [_CoreCache() for _ in machine.cpus]

    def seen_node(self, cpu: Cpu) -> int:
        """The node of *cpu*, as the kernel sees nodes."""
        return self._seen.node(cpu)

    def node(self, cpu: Cpu, frame: int) -> int:
        """The hardware's node of *frame*; *cpu* touches it."""
        return self.frames.node(frame, cpu.node)

    # -- refilling ------------------------------------------------------------------------------------------

    def refill(self, runner: Runner, base: int, large: int = 0) -> Steps[None]:
        """try_refill_tcache: so many frames more for the core's cache, as far as they have room there.
        Raises `OutOfMemory`."""
        cpu, spec = runner.cpu, self._spec
        core, node = self._cores[cpu.id], self.nodes[self.seen_node(cpu)]
        base = min(base, spec.base_pages - len(core.base))
        large = min(large, spec.large_pages - len(core.large))
        yield from runner.acquire(node.lock)
        dry = False
        for wanted, stack, order in ((base, core.base, 0), (large, core.large, HUGE_ORDER)):
            for _ in range(wanted):
                frame = node.take_large() if order else node.take_base()
                if frame is None:
                    dry = True
                    break
                runner.work(self._cost.cached_frame, ALLOCATE)
                stack.append(frame)
        yield from runner.release(node.lock)
        if dry:
            rooms = [Room(f"node {node.number}", len(node.memory), node.free_frames)]
            raise out_of_memory(cpu, HUGE_ORDER if large and not node.free_frames >> HUGE_ORDER else 0, rooms)

    def take_for_node(self, runner: Runner, node: int) -> Steps[int | None]:
        """A 4 KiB frame of *node* for somebody there; its cache is locked for that. None if it is dry."""
        cache = self.nodes[node]
        yield from runner.acquire(cache.lock)
        runner.work(self._cost.cached_frame, ALLOCATE)
        frame = cache.take_base()
        yield from runner.release(cache.lock)
        if frame is not None:
            self._give(runner.cpu, frame, 0)
        return frame

    # -- the core's own -------------------------------------------------------------------------------------

    def take(self, runner: Runner, order: int = 0) -> int | None:
        """A frame off the core's stack; None: it has none."""
        core = self._cores[runner.cpu.id]
        stack = core.large if order else core.base
        if not stack:
            return None
        runner.work(self._cost.take_frame, ALLOCATE)
        frame = stack.pop()
        self._give(runner.cpu, frame, order)
        return frame

    def put(self, runner: Runner, frame: int, order: int = 0) -> Steps[None]:
        """*frame*, of 2**order pages, has no owner any more."""
        cpu, home = runner.cpu, self._home(frame)
        runner.work(self._cost.take_frame, ALLOCATE)
        if self._has_room(cpu, home, order):
            self.give_back(cpu, frame, order)
            return
        yield from runner.acquire(home.lock)
        runner.work(self._cost.cached_frame, ALLOCATE)
        self.give_back(cpu, frame, order)
        yield from runner.release(home.lock)

    def give_back(self, cpu: Cpu, frame: int, order: int) -> None:
        """`put` without the time that it takes."""
        self.in_use.put(frame, order)
        if cpu.heard:
            cpu.probe.frame_freed(cpu, frame, order)
        core, home = self._cores[cpu.id], self._home(frame)
        if self._has_room(cpu, home, order):
            (core.large if order else core.base).append(frame)
        else:
            home.put(frame, order)

    def _has_room(self, cpu: Cpu, home: NodeCache, order: int) -> bool:
        """Whether a frame of *home* goes onto the stack of *cpu*: it is of that node, and there is room."""
        core, spec = self._cores[cpu.id], self._spec
        stack, room = (core.large, spec.large_pages) if order else (core.base, spec.base_pages)
        return home.number == self.seen_node(cpu) and len(stack) < room

    def _give(self, cpu: Cpu, frame: int, order: int) -> None:
        self.in_use.add(frame, order)
        if cpu.heard:
            cpu.probe.frame_allocated(cpu, frame, order)

    def _home(self, frame: int) -> NodeCache:
        return self.nodes[min(frame // len(self.nodes[0].memory), len(self.nodes) - 1)]

    # -- contents -------------------------------------------------------------------------------------------

    def zero(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        """Zero it."""
        node = self.node(cpu, frame)
        if order:
            self.frames.touch(range(frame, frame + LARGE), cpu.node)
            yield from self._machine.memory.clear_huge_page(cpu, node, at_once=LARGE // 8)
        else:
            yield from self._machine.memory.clear_page(cpu, node, frame)
        if cpu.heard:
            for each in range(frame, frame + (1 << order)):
                cpu.probe.frame_filled(cpu, each, None)

    def zero_in_handler(self, cpu: Cpu, frame: int) -> int:
        """The same of a 4 KiB frame by an interrupt's handler on *cpu*. Value: what that takes (ps)."""
        pending, cpu.pending = cpu.pending, 0
        for _ in self.zero(cpu, frame):
            raise AssertionError("nothing was pending")
        length, cpu.pending = cpu.pending, pending
        cpu.charge(-length, ZERO)  # it is charged as a part of the handler
        return length

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        """What never left a node's cache, in large frames and in small ones."""
        for node in self.nodes:
            for size, buddy in (("large", node.whole), ("small", node.small)):
                yield Pool(f"the {size} frames of node {node.number}", node.memory, buddy)

    def free_lists(self) -> Iterator[FreeList]:
        """The stacks of nodes and cores."""
        everywhere = range(self.total)
        for node in self.nodes:
            name = f"the cache of node {node.number}"
            yield FreeList(name, node.memory, 0, node.base)
            yield FreeList(name, node.memory, HUGE_ORDER, node.large)
        for cpu, core in zip(self._machine.cpus, self._cores, strict=True):
            yield FreeList(f"the cache of {cpu}", everywhere, 0, core.base)
            yield FreeList(f"the cache of {cpu}", everywhere, HUGE_ORDER, core.large)
