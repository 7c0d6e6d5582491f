"""Does the maple tree hold the VMAs that it was given, in nodes that are neither too full nor empty?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernels import design
from machines import NS, run, small_machine

from sim.designs.linux import LinuxKernel
from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.maple import INNER_CHILDREN, LEAF_RANGES, MapleTree, _Node
from sim.designs.linux.spec import LinuxSpec
from sim.designs.linux.vma import Area, Vma
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import READ_WRITE
from sim.sync import QueueNodes, RwSem, Scheduler

END = 1 << 20
Range = tuple[int, int]


class Bench:
    """A tree beside a sorted list of ranges, which is what it should hold."""

    def __init__(self) -> None:
        self.machine = small_machine(online=1)
        self.cpu = self.machine.cpus[0]
        spec = design("linux")
        assert isinstance(spec, LinuxSpec)
        kernel = LinuxKernel(self.machine, spec)
        self._vmas = kernel.slabs.vm_area_struct
        self.tree = MapleTree(self.machine, self.cpu, kernel.cost, kernel.rcu, kernel.slabs)
        self._tuning = spec.rwsem
        self.expected: list[Range] = []
        self._nodes = QueueNodes(self.machine, "osq")
        self._scheduler = Scheduler(self.machine)

    def vma(self, start: int, end: int) -> Steps[Vma]:
        memory = yield from self._vmas.alloc(self.cpu)
        line = memory.line(0)
        lock = RwSem("vm_lock", line, line, self._nodes, self._scheduler, "lock", self._tuning)
        return Vma(start, end, Area(READ_WRITE), memory, lock)

    def insert(self, start: int, end: int) -> Steps[None]:
        self.expected = sorted([*self.expected, (start, end)])
        yield from self.tree.insert(self.cpu, (yield from self.vma(start, end)))

    def remove(self, index: int) -> Steps[None]:
        vma = list(self.tree)[index]
        del self.expected[index]
        yield from self.tree.remove(self.cpu, vma)

    def split(self, index: int, at: int) -> Steps[None]:
        vma = list(self.tree)[index]
        self.expected[index : index + 1] = [(vma.start, at), (at, vma.end)]
        yield from self.tree.split(self.cpu, vma, (yield from self.vma(at, vma.end)))

    def extend(self, index: int, start: int, end: int, absorb: bool) -> Steps[None]:
        vmas = list(self.tree)
        self.expected[index : index + 1 + absorb] = [(start, end)]
        yield from self.tree.extend(self.cpu, vmas[index], start, end, *vmas[index + 1 : index + 1 + absorb])

    def move_boundary(self, index: int, at: int) -> Steps[None]:
        """Between the ranges *index* and *index* + 1, which lie side by side."""
        lower, upper = list(self.tree)[index : index + 2]
        self.expected[index : index + 2] = [(lower.start, at), (at, upper.end)]
        yield from self.tree.move_boundary(self.cpu, lower, upper, at)

    def apply(self, choice: str, where: int, size: int) -> Steps[None]:
        """One store of the kind *choice* somewhere near *where*, if there is room for it."""
        ranges = self.expected
        index = where % len(ranges) if ranges else 0
        before = ranges[index - 1][1] if index else 0
        start, end = ranges[index] if ranges else (0, 0)
        after = ranges[index + 1][0] if index + 1 < len(ranges) else END
        if choice == "insert":
            gaps = [(a, b) for (_, a), (b, _) in pairwise([(0, 0), *ranges, (END, END)]) if a < b]
            if not gaps:
                return
            low, high = gaps[where % len(gaps)]
            low += where * 7919 % (high - low)
            yield from self.insert(low, min(high, low + size))
        elif not ranges:
            return
        elif choice == "remove":
            yield from self.remove(index)
        elif choice == "split" and end - start > 1:
            yield from self.split(index, start + 1 + where % (end - start - 1))
        elif choice == "extend down" and before < start:
            yield from self.extend(index, max(before, start - size), end, absorb=False)
        elif choice == "extend up" and end < after:
            yield from self.extend(index, start, min(after, end + size), absorb=False)
        elif choice == "move" and index + 1 < len(ranges) and ranges[index + 1][0] == end:
            room = ranges[index + 1][1] - start
            if room > 1:
                yield from self.move_boundary(index, start + 1 + where % (room - 1))
        elif choice == "absorb" and index + 1 < len(ranges):
            yield from self.extend(index, start, ranges[index + 1][1], absorb=True)

    def search(self, pages: int, floor: int, top: int) -> Steps[None]:
        """The tree finds the gap that looking from end to end does."""
        found = yield from self.tree.empty_area_rev(self.cpu, pages, floor, top)
        assert found == self.highest_gap(pages, floor, top)

    def highest_gap(self, pages: int, floor: int, top: int) -> int | None:
        """Where the last *pages* pages of the highest gap begin, looked for from end to end."""
        for (_, end), (start, _) in reversed(list(pairwise([(0, 0), *self.expected, (END, END)]))):
            if min(start, top) - max(end, floor) >= pages:
                return min(start, top) - pages
        return None

    def check(self) -> None:
        assert list(self.tree.contradictions()) == []
        assert [(vma.start, vma.end) for vma in self.tree] == self.expected
        leaves = check_nodes(self.tree._root)
        assert [(vma.start, vma.end) for leaf in leaves for vma in leaf.vmas] == self.expected
        for start, end in self.expected:
            for page in (start, end - 1):
                found = self.tree.peek(page)
                assert found is not None
                assert (found.start, found.end) == (start, end)
                assert found in self.tree._path(page)[-1].vmas


def check_nodes(root: _Node) -> list[_Node]:
    """Walk the tree, hold every node against the rules; returns the leaves in order."""
    leaves: list[tuple[int, _Node]] = []

    def visit(node: _Node, depth: int, low: int, high: int) -> None:
        assert node.low == low
        if node.children:
            assert not node.vmas
            assert (2 if node is root else 1) <= len(node.children) <= INNER_CHILDREN
            lows = [child.low for child in node.children] + [high]
            assert all(a < b for a, b in pairwise(lows))
            for child, (begin, stop) in zip(node.children, pairwise(lows), strict=True):
                visit(child, depth + 1, begin, stop)
        else:
            assert node.vmas or node is root
            assert node.ranges <= LEAF_RANGES
            assert all(low <= vma.start < vma.end <= high for vma in node.vmas)
            leaves.append((depth, node))

    visit(root, 0, 0, END)
    assert len({depth for depth, _ in leaves}) == 1
    return [leaf for _, leaf in leaves]


STORES = ["insert", "insert", "insert", "remove", "split", "move", "extend down", "extend up", "absorb"]
step = st.tuples(st.sampled_from(STORES), st.integers(0, END), st.sampled_from([1, 2, 64, 5000, END]))


def follow(steps: list[tuple[str, int, int]]) -> None:
    bench = Bench()

    def body(cpu: Cpu) -> Steps[None]:
        for choice, where, size in steps:
            yield from bench.apply(choice, where, size)
            bench.check()
            yield from bench.search(size, where // 3, END - where // 2)

    run(bench.machine, {0: body})


@given(st.lists(step, max_size=60))
def test_do_random_stores_leave_the_right_vmas_in_well_formed_nodes(
    steps: list[tuple[str, int, int]],
) -> None:
    follow(steps)


@pytest.mark.parametrize("seed", range(5))
def test_do_long_runs_of_stores_that_grow_and_shrink_the_tree(seed: int) -> None:
    draw = small_machine(seed=seed).engine.stream("stores")
    steps = []
    for phase in range(6):
        stores = STORES if phase % 2 == 0 else ["remove", "remove", "absorb", "extend up", "insert"]
        steps += [(draw.choice(stores), draw.randrange(END), draw.choice([1, 3, 900])) for _ in range(150)]
    follow(steps)


def fill(bench: Bench, count: int) -> Callable[[Cpu], Steps[None]]:
    def body(cpu: Cpu) -> Steps[None]:
        for number in range(count):
            yield from bench.insert(10 * number, 10 * number + 5)

    return body


@pytest.mark.parametrize(("vmas", "levels"), [(8, 1), (9, 2), (40, 2), (400, 4)])
def test_how_deep_is_a_tree_of_vmas_with_gaps(vmas: int, levels: int) -> None:
    """The first leaf holds 8 VMAs and 8 gaps; filled upwards, leaves stay half full, as a B-tree's do."""
    bench = Bench()
    run(bench.machine, {0: fill(bench, vmas)})
    bench.check()
    assert len(bench.tree._path(0)) == levels


def test_does_a_search_read_every_node_on_the_way_down() -> None:
    bench = Bench()
    run(bench.machine, {0: fill(bench, 40)})

    def search(cpu: Cpu) -> Steps[None]:
        found = yield from bench.tree.find(cpu, 72)
        assert (found.start, found.end) == (70, 75)
        missing = yield from bench.tree.find(cpu, 78)
        assert missing is None

    run(bench.machine, {0: search})
    # Twice: the root pointer and two nodes, all hits, and 10 ns of search in each node.
    assert bench.cpu.spent[VMA_WORK] == 2 * (3 * 1 + 2 * 10) * NS


def test_which_vmas_overlap_a_range_and_which_border_on_it() -> None:
    bench = Bench()
    run(bench.machine, {0: fill(bench, 10)})

    def starts(start: int, end: int) -> list[int]:
        return [vma.start for vma in bench.tree.overlapping(start, end)]

    assert starts(5, 10) == []
    assert starts(4, 11) == [0, 10]
    assert starts(12, 13) == [10]
    assert starts(0, END) == list(range(0, 100, 10))
    before, after = bench.tree.neighbours(15, 20)
    assert (before and before.start, after and after.start) == (10, 20)
    assert bench.tree.neighbours(16, 19) == (None, None)


def test_does_a_store_leave_readers_of_the_old_leaf_a_dead_line() -> None:
    """A store writes a copy: the leaf's line is a new one, in the cache of the cpu that stored."""
    bench = Bench()
    run(bench.machine, {0: fill(bench, 3)})
    before = bench.tree._root.line
    run(bench.machine, {0: lambda cpu: bench.insert(500, 501)})
    assert bench.tree._root.line is not before
    assert bench.tree._root.line.held_by(bench.cpu)
