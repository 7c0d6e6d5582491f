"""A lock-free skip list of regions, alone.

Nodes lie in the order of their regions; a node of height h is in the lists of levels 0 to h - 1. Level 0 is
the truth, the others are ways into it. A link carries a mark that says: the node that it leads out of is
deleted.

    look up   from the highest level down, as far right as nodes begin before the page; it writes nothing
    insert    find the node before, on each level | compare and swap its link of level 0 | then those above
    delete    find | mark the node's links, the highest first | find once more, which takes it out

A search that changes something (`_find`) takes marked nodes out on its way. So each insertion and each
deletion writes lines of nodes that others go through, although these look for other regions: what they have
of such a line is gone, and they wait for it to come from the writer's cache.

Where nodes lie. A node is aligned to lines, as sv6 aligns its own (`include/crange.hh`): the region and the
lowest links are on its first line, the links above them on the next ones. Who goes right at a level reads the
line with that link of the node that it comes from, and the first line of the one that it comes to.

What is left out: epochs. Memory of a deleted node is not used again in a run, so a reader may stand on it for
as long as it likes; a new one is memory that the writer has in its cache. Allocating and freeing have costs.

Sources: the algorithm is that of M. Herlihy and N. Shavit, The Art of Multiprocessor Programming, 14.4, which
A. Clements' thesis cites for it. The program that was measured is not public (its data are `skiplist.raw` in
aclements/thesis).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.base import Kernel
from sim.designs.base_spec import DesignSpec
from sim.designs.bench.spec import BenchDesignSpec
from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.errors import ModelError
from sim.hardware import CacheLine, Cpu, Machine, Reach
from sim.mm import AddressSpace, Handlers, LookUp, PlaceRegions, Reference, WriteRegion
from sim.mm.invariants import structures_agree
from sim.quantities import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SEARCH: Final = Activity("skip list: search")
CHANGE: Final = Activity("skip list: change")

_LINK: Final = 8
"""Bytes of a link."""


class SkipNode:
    """The region [*first*, *end*) and what follows it on each level; *marked* is the mark in each link.

    *lines* are those that it lies on, *address* is the first one's number.
    """

    __slots__ = ("address", "end", "first", "lines", "marked", "next", "node_header")

    def __init__(
        self, first: int, end: int, height: int, lines: list[CacheLine], address: int, header: int
    ) -> None:
        self.first = first
        self.end = end
        self.next: list[SkipNode | None] = [None] * height
        self.marked = [False] * height
        self.lines = lines
        self.address = address
        self.node_header = header

    def __repr__(self) -> str:
        return f"node of {self.first:#x}"

    @property
    def height(self) -> int:
        return len(self.next)

    def part(self, level: int) -> int:
        """Which of its lines the link of *level* is on."""
        return (self.node_header + level * _LINK) // LINE_BYTES


class SkipList:
    """The list and its head, which has all levels. Steps run on the calling cpu."""

    __slots__ = (
        "_cost",
        "_draw",
        "_header",
        "_hit",
        "_inverse",
        "_levels",
        "_machine",
        "_nodes",
        "_reach",
        "head",
    )

    def __init__(self, machine: Machine, spec: BenchDesignSpec) -> None:
        assert spec.skiplist is not None
        self._machine = machine
        self._cost = at_clock(spec.skiplist.costs, machine.spec.plain_clock)
        self._levels = spec.skiplist.levels
        self._inverse = 1 / spec.skiplist.branching
        self._header = spec.skiplist.header
        self._draw = machine.engine.stream("heights of skip list nodes").random
        self._hit = machine.fabric.hit
        self._reach = Reach(machine)
        self._nodes = 0
        self.head = self._make(machine.cpus[0], -1, -1, self._levels)

    def _make(self, cpu: Cpu, first: int, end: int, height: int) -> SkipNode:
        """Memory that *cpu* has in its cache."""
        count = -(-(self._header + self._levels * _LINK) // LINE_BYTES)
        name = f"skip list node of {first:#x}" if first >= 0 else "head of the skip list"
        lines = [self._machine.line(name, cpu.socket, owner=cpu.id) for _ in range(count)]
        address = self._nodes * count
        self._nodes += 1
        return SkipNode(first, end, height, lines, address, self._header)

    def _height(self) -> int:
        height = 1
        while height < self._levels and self._draw() < self._inverse:
            height += 1
        return height

    # -- how a bench begins ---------------------------------------------------------------------------------

    def place(self, cpu: Cpu, regions: Sequence[tuple[int, int]]) -> None:
        """Put *regions*, in order, behind each other; then all cpus have all lines."""
        last = [self.head] * self._levels
        for first, end in regions:
            node = self._make(cpu, first, end, self._height())
            for level in range(node.height):
                last[level].next[level] = node
                last[level] = node
        everybody = sum(other.bit for other in self._machine.cpus)
        there: SkipNode | None = self.head
        while there is not None:
            for part in range(there.part(there.height - 1) + 1):
                there.lines[part].sharers = everybody
                for other in self._machine.cpus:
                    self._reach.use(other, there.address + part, had=True)
            there = there.next[0]

    # -- searching ------------------------------------------------------------------------------------------

    def look_up(self, cpu: Cpu, page: int) -> Steps[bool]:
        """Whether a region has *page*. Marked nodes count as gone; nobody is disturbed."""
        cpu.work(self._cost.look_up, SEARCH)
        before = self.head
        after: SkipNode | None = None
        for level in range(self._levels - 1, -1, -1):
            if before.part(level):
                yield from self._see(cpu, before, before.part(level))
            after = before.next[level]
            while after is not None:
                cpu.work(self._cost.step, SEARCH)
                yield from self._visit(cpu, after, level)
                if not after.marked[level]:
                    if after.end > page:
                        break
                    before = after
                after = after.next[level]
        return after is not None and after.first <= page

    def _visit(self, cpu: Cpu, node: SkipNode, level: int) -> Steps[None]:
        """Load the region of *node* and its link of *level*."""
        yield from self._see(cpu, node, 0)
        if part := node.part(level):
            yield from self._see(cpu, node, part)

    def _see(self, cpu: Cpu, node: SkipNode, part: int) -> Steps[None]:
        line = node.lines[part]
        had = line.held_by(cpu)
        more = self._reach.use(cpu, node.address + part, had=had)
        if had:
            cpu.stall(self._hit + more, SEARCH)
        else:
            if more:
                cpu.stall(more, SEARCH)
            yield from line.read(cpu, SEARCH)

    def _find(self, cpu: Cpu, page: int) -> Steps[tuple[list[SkipNode], list[SkipNode | None]]]:
        """On each level the last node that begins before *page* and the one behind it. Marked nodes on the
        way are taken out."""
        while True:
            befores = [self.head] * self._levels
            afters: list[SkipNode | None] = [None] * self._levels
            before, again = self.head, False
            for level in range(self._levels - 1, -1, -1):
                if before.part(level):
                    yield from self._see(cpu, before, before.part(level))
                after = before.next[level]
                while after is not None:
                    cpu.work(self._cost.step, SEARCH)
                    yield from self._visit(cpu, after, level)
                    if after.marked[level]:
                        taken_out = yield from self._swing(cpu, before, level, after, after.next[level])
                        if not taken_out:
                            again = True
                            break
                        after = before.next[level]
                    elif after.first < page:
                        before, after = after, after.next[level]
                    else:
                        break
                if again:
                    break
                befores[level], afters[level] = before, after
            if not again:
                return befores, afters

    # -- changing -------------------------------------------------------------------------------------------

    def _swing(
        self, cpu: Cpu, node: SkipNode, level: int, old: SkipNode | None, new: SkipNode | None
    ) -> Steps[bool]:
        """Compare and swap: the link of *node* leads to *new* if it leads to *old* and has no mark. Value:
        whether it did."""
        yield from node.lines[node.part(level)].write(cpu, CHANGE)
        if node.marked[level] or node.next[level] is not old:
            return False
        node.next[level] = new
        return True

    def insert(self, cpu: Cpu, first: int, end: int) -> Steps[bool]:
        """Value: False if there is a node that begins at *first*."""
        cpu.work(self._cost.allocate, CHANGE)
        height = self._height()
        while True:
            befores, afters = yield from self._find(cpu, first)
            found = afters[0]
            if found is not None and found.first == first:
                cpu.work(self._cost.free, CHANGE)
                return False
            node = self._make(cpu, first, end, height)
            node.next[:] = afters[:height]
            cpu.stall((1 + node.part(height - 1)) * self._hit, CHANGE)
            linked = yield from self._swing(cpu, befores[0], 0, found, node)
            if linked:
                break
        for level in range(1, height):
            while not (yield from self._swing(cpu, befores[level], level, afters[level], node)):
                befores, afters = yield from self._find(cpu, first)
                yield from node.lines[node.part(level)].store(cpu, CHANGE)
                node.next[level] = afters[level]
        if node.marked[0]:  # deleted in between: what was linked meanwhile is taken out
            yield from self._find(cpu, first)
        return True

    def delete(self, cpu: Cpu, first: int) -> Steps[bool]:
        """Value: whether this call has deleted the node that begins at *first*."""
        _, afters = yield from self._find(cpu, first)
        node = afters[0]
        if node is None or node.first != first:
            return False
        for level in range(node.height - 1, -1, -1):
            yield from node.lines[node.part(level)].write(cpu, CHANGE)
            if node.marked[0]:
                return False
            node.marked[level] = True
        yield from self._find(cpu, first)
        cpu.work(self._cost.free, CHANGE)
        return True

    def write(self, cpu: Cpu, first: int, end: int) -> Steps[None]:
        """Insert the region [*first*, *end*), where none is, and delete it again."""
        cpu.work(self._cost.write, CHANGE)
        inserted = yield from self.insert(cpu, first, end)
        deleted = yield from self.delete(cpu, first)
        if not (inserted and deleted):
            raise ModelError(f"{cpu} could not insert and delete the region of {first:#x}")

    # -- the end state --------------------------------------------------------------------------------------

    def regions(self) -> Iterator[tuple[int, int]]:
        """All that are in it, in order."""
        node = self.head.next[0]
        while node is not None:
            if not node.marked[0]:
                yield node.first, node.end
            node = node.next[0]

    def contradictions(self) -> Iterator[str]:
        """What is wrong with it, if anything, a sentence each."""
        below: set[int] | None = None
        for level in range(self._levels):
            here: set[int] = set()
            last = -1
            node = self.head.next[level]
            while node is not None:
                if node.first <= last:
                    yield f"{node!r} follows one of {last:#x} on level {level} of the skip list"
                if node.marked[level]:
                    yield f"{node!r} is deleted and still on level {level} of the skip list"
                if below is not None and node.first not in below:
                    yield f"{node!r} is on level {level} of the skip list and not below"
                here.add(node.first)
                last = node.first
                node = node.next[level]
            below = here


def _place(kernel: SkipListKernel, cpu: Cpu, asked: PlaceRegions) -> Steps[None]:
    kernel.index.place(cpu, asked.regions)
    return
    yield


def _look_up(kernel: SkipListKernel, cpu: Cpu, asked: LookUp) -> Steps[bool]:
    return kernel.index.look_up(cpu, asked.page)


def _write(kernel: SkipListKernel, cpu: Cpu, asked: WriteRegion) -> Steps[None]:
    return kernel.index.write(cpu, asked.at, asked.at + asked.pages)


class SkipListKernel(Kernel):
    """A skip list, and nothing else."""

    __slots__ = ("index",)

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, BenchDesignSpec)
        self.index = SkipList(machine, spec)

    def verify(self, loaded: Mapping[AddressSpace, Sequence[Cpu]], held: Iterable[Reference] = ()) -> None:
        super().verify(loaded, held)
        structures_agree(self.index.contradictions())

    operations: ClassVar[Handlers] = {PlaceRegions: _place, LookUp: _look_up, WriteRegion: _write}
