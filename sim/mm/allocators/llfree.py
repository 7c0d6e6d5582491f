"""LLFree's page allocator, as accesses to cache lines (Wrenger et al., USENIX ATC 2023).

Each cpu reserves a tree of frames and works there with atomics on lines that nobody else writes: the child's
bit field and counters. Only reserving another tree touches the array of trees, which all share.

    take    own tree has room | atomics on own lines              it has none | search, array |= write =|
    free    the cpu's own     | atomics on own lines     another cpu's | its tree's line |= write =|, whose
                                                                         cpu fetches it with its next take

Every node that the kernel sees has trees of its own. Free frames of a node are one pool here; a tree is a
number of frames that its cpu may still take, and the line that its metadata lie on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm.allocators.base import Allocator
from sim.mm.allocators.spec import LlfreeSpec
from sim.mm.frame_table import Pool
from sim.mm.frames import Buddy, FrameMap, OutOfMemory, Room, out_of_memory
from sim.mm.policy import FirstTouch, NodePolicy
from sim.mm.runs import Runs, differing
from sim.mm.zonelists import distances, zonelists
from sim.quantities import PAGE_BYTES

ALLOCATE: Final = Activity("allocate")
HUGE_ORDER: Final = 9


class _Tree:
    """What a cpu has reserved on a node: the pages *left* in it, and the *line* of its metadata."""

    __slots__ = ("left", "line")

    def __init__(self, line: CacheLine) -> None:
        self.line = line
        self.left = 0


class Llfree(Allocator):
    """LLFree over the memory of a machine."""

    __slots__ = (
        "_arrays",
        "_cost",
        "_frames",
        "_map",
        "_orders",
        "_pools",
        "_runs",
        "_taken_from",
        "_trees",
    )

    def __init__(self, machine: Machine, spec: LlfreeSpec) -> None:
        super().__init__()
        topology = machine.spec.topology
        nodes = range(topology.numa_nodes)
        self._cost = at_clock(spec, machine.spec.kernel_clock)
        self._frames = machine.spec.memory.size_per_socket * topology.sockets // len(nodes) // PAGE_BYTES
        self._pools = [Buddy(node * self._frames, self._frames) for node in nodes]
        homes = [node * topology.sockets // len(nodes) for node in nodes]
        self._arrays = [
            machine.line("tree array" if not node else f"tree array of node {node}", homes[node])
            for node in nodes
        ]
        self._trees = [
            [
                _Tree(machine.line(f"tree of {cpu} on node {node}", homes[node], owner=cpu.id))
                for node in nodes
            ]
            for cpu in machine.cpus
        ]
        self._taken_from: dict[int, _Tree] = {}
        self._runs = Runs()
        """The same of frames that were taken side by side: the number of the cpu, and of the node."""
        self._orders = zonelists(distances(machine.spec, len(nodes)))
        self._map = FrameMap(machine.spec)
        self.policy: NodePolicy = FirstTouch(topology)

    def boot(self, cpu: Cpu, frames: int, draw: Callable[[], float]) -> list[int]:
        node = self.policy.node(cpu)
        tree = self._trees[cpu.id][node]
        tree.left = int(draw() * self._cost.tree_pages)
        taken = self._pools[node].take(frames)
        for frame in taken:
            self.in_use.add(frame)
        self._taken_from.update(dict.fromkeys(taken, tree))
        return taken

    def take(self, cpu: Cpu, frames: int) -> list[int]:
        taken: dict[int, int] = {}  # frame -> the node that it is of
        try:
            while len(taken) < frames:
                node = self._node_with(cpu, 0)
                taken.update(dict.fromkeys(self._pools[node].take(frames - len(taken)), node))
        except OutOfMemory:
            for frame, node in taken.items():
                self._pools[node].free(frame)
            raise
        for frame, node in taken.items():
            self._taken_from[frame] = self._trees[cpu.id][node]
            self.in_use.add(frame)
        return [*taken]

    def reserve(self, cpu: Cpu, order: int) -> int:
        node = self.policy.node(cpu)
        frame = self._pools[node].allocate(order)
        self.in_use.add(frame, order)
        self._taken_from[frame] = self._trees[cpu.id][node]
        return frame

    def take_run(self, cpu: Cpu, order: int) -> range | None:
        if not self.policy.steady:
            return None
        node = self._node_with(cpu, 0)
        if not self._pools[node].has(order):
            return None
        first = self._pools[node].allocate(order)
        frames = range(first, first + (1 << order))
        self._runs.add(frames.start, frames.stop, cpu.id * len(self._pools) + node)
        self.in_use.add_run(frames)
        self._map.touch(frames, cpu.node)
        return frames

    def allocate(self, cpu: Cpu, order: int = 0) -> Steps[int]:
        """Value: the block's first frame. Raises `OutOfMemory`."""
        node = self._node_with(cpu, order)
        tree = self._trees[cpu.id][node]
        pages = 1 << order
        if tree.left < pages:
            cpu.work(self._cost.reserve, ALLOCATE)
            yield from self._arrays[node].write(cpu, ALLOCATE)
            tree.left = self._cost.tree_pages
        elif not tree.line.exclusive_to(cpu):
            yield from tree.line.write(cpu, ALLOCATE)  # somebody has freed into it
        if not self._pools[node].has(order):  # others were faster
            return (yield from self.allocate(cpu, order))
        tree.left -= pages
        cpu.work(self._cost.huge_get if order >= HUGE_ORDER else self._cost.get, ALLOCATE)
        frame = self._pools[node].allocate(order)
        self.in_use.add(frame, order)
        self._taken_from[frame] = tree
        cpu.probe.frame_allocated(cpu, frame, order)
        return frame

    def free_unref(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        cpu.probe.frame_freed(cpu, frame, order)
        tree = self._taken_from.pop(frame, None) or self._tree_of_run(frame)
        cpu.work(self._cost.huge_put if order >= HUGE_ORDER else self._cost.put, ALLOCATE)
        if not tree.line.exclusive_to(cpu):
            yield from tree.line.write(cpu, ALLOCATE)
        tree.left += 1 << order
        self._pools[frame // self._frames].free(frame, order)

    def _tree_of_run(self, frame: int) -> _Tree:
        """The tree of a frame that was taken with others; it is no more one of them."""
        (run,) = self._runs.cut(frame, frame + 1)
        cpu, node = divmod(run.value, len(self._pools))
        return self._trees[cpu][node]

    def node(self, cpu: Cpu, frame: int) -> int:
        return self._map.node(frame, cpu.node)

    def _node_with(self, cpu: Cpu, order: int) -> int:
        """The first node that the policy allows and that has a block. Raises `OutOfMemory`."""
        first = self.policy.node(cpu)
        allowed: Sequence[int] = (first,) if self.policy.strict else self._orders[first]
        for node in allowed:
            if self._pools[node].has(order):
                return node
        rooms = [Room(f"node {node}", self._frames, self._pools[node].free_frames) for node in allowed]
        bound = f"memory is bound to node {first}" if self.policy.strict else ""
        raise out_of_memory(cpu, order, rooms, bound)

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        """Each node's, which stands for all its trees."""
        for node, pool in enumerate(self._pools):
            yield Pool(
                f"the trees of node {node}", range(node * self._frames, (node + 1) * self._frames), pool
            )

    def contradictions(self) -> Iterator[str]:
        """Each block in use came from some tree."""
        taken, used = Runs(), Runs()
        for found, frames, runs in (
            (taken, self._taken_from, self._runs),
            (used, self.in_use.refcount, self.in_use.runs),
        ):
            for frame in sorted(frames):
                found.add(frame, frame + 1, 1)
            for run in runs:
                found.add(run.start, run.end, 1)
        for frame in sorted(differing(taken, used)):
            where = "no tree and is in use" if frame in self.in_use else "a tree and is free"
            yield f"frame {frame} is of {where}"
