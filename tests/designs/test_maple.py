"""Does the maple tree hold the VMAs that it was given, in nodes that are neither too full nor empty?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import HIT, NS, run
from vma_bench import END, Bench, fill, follow, step, steps_of

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.vma_indexes.base import Preallocation
from sim.designs.linux.vma_indexes.maple import MapleTree
from sim.designs.linux.vma_indexes.maple_nodes import Node, path_to
from sim.engine import Steps
from sim.hardware import Cpu


class MapleBench(Bench):
    """A maple tree, whose nodes are held against its rules (`MapleTree.contradictions`)."""

    tree: MapleTree

    def __init__(self, preallocation: Preallocation = "store") -> None:
        super().__init__(MapleTree, preallocation=preallocation)


@given(st.lists(step, max_size=60))
def test_do_random_stores_leave_the_right_vmas_in_well_formed_nodes(
    steps: list[tuple[str, int, int]],
) -> None:
    follow(MapleBench(), steps)


@pytest.mark.parametrize("preallocation", ["worst", "estimate", "store"])
@pytest.mark.parametrize("seed", range(3))
def test_do_long_runs_of_stores_that_grow_and_shrink_the_tree(
    seed: int, preallocation: Preallocation
) -> None:
    bench = MapleBench(preallocation)
    follow(bench, steps_of(seed))
    assert not bench.tree._spare


@pytest.mark.parametrize(
    ("store", "nodes"),
    [
        (lambda bench: bench.insert(12, 15), 1),
        (lambda bench: bench.insert(10, 20), 0),  # in place
        (lambda bench: bench.move_boundary(1, 35), 0),
        (lambda bench: bench.split(1, 25), 1),
        (lambda bench: bench.remove(0), 1),
    ],
)
def test_how_many_nodes_are_allocated_before_a_store(
    store: Callable[[MapleBench], Steps[None]], nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree of one node: as many as it needs, or 3 x 1 + 1; but a store that takes a VMA out has not to be
    safe from failing, so it allocates what it needs (mas_store_gfp)."""
    asked: list[int] = []
    take = MapleTree._take_spare

    def counted(tree: MapleTree, cpu: Cpu, count: int) -> Steps[None]:
        asked.append(count)
        return take(tree, cpu, count)

    monkeypatch.setattr(MapleTree, "_take_spare", counted)
    preallocations: tuple[Preallocation, ...] = ("worst", "estimate", "store")
    for preallocation in preallocations:
        bench = MapleBench(preallocation)

        def body(cpu: Cpu, bench: MapleBench = bench) -> Steps[None]:
            for start, end in ((0, 10), (20, 30), (30, 40)):
                yield from bench.insert(start, end)
            asked.clear()
            yield from store(bench)

        run(bench.machine, {0: body})
        bench.check()
        removal = len(bench.expected) < 3
        assert asked == [4 if preallocation == "worst" and not removal else nodes]


@pytest.mark.parametrize(("vmas", "levels"), [(8, 1), (9, 2), (40, 2), (400, 3)])
def test_how_deep_is_a_tree_of_vmas_with_gaps(vmas: int, levels: int) -> None:
    """A leaf holds 8 VMAs and 8 gaps; filled upwards, a full one gives what it has to the one before it."""
    bench = MapleBench()
    run(bench.machine, {0: fill(bench, vmas)})
    bench.check()
    assert len(path_to(bench.tree._root, 0)) == levels


def test_does_a_search_read_every_node_on_the_way_down() -> None:
    bench = MapleBench()
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
    bench = MapleBench()
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


@pytest.mark.parametrize(
    ("ranges", "store", "copied"),
    [
        ([(0, 10), (20, 30)], lambda bench: bench.insert(10, 20), False),  # wr_exact_fit
        ([(0, 10), (20, 30)], lambda bench: bench.insert(10, 15), True),  # a range more
        ([(0, 10), (20, 30)], lambda bench: bench.insert(12, 15), True),
        ([(0, 10), (20, 30)], lambda bench: bench.extend(0, 0, 15, absorb=False), False),  # wr_slot_store
        ([(0, 10), (20, 30)], lambda bench: bench.extend(1, 15, 30, absorb=False), False),
        ([(0, 10), (20, 30)], lambda bench: bench.extend(0, 0, 20, absorb=False), True),  # the gap is gone
        ([(0, 10), (10, 30)], lambda bench: bench.extend(0, 0, 30, absorb=True), True),
        ([(0, 10), (10, 30)], lambda bench: bench.move_boundary(0, 5), False),
        ([(0, 10), (10, 30)], lambda bench: bench.split(0, 5), True),
        ([(0, 10), (10, 20), (20, 30)], lambda bench: bench.remove(1), False),
        ([(0, 10), (10, 20), (25, 30)], lambda bench: bench.remove(1), True),
    ],
)
def test_which_stores_copy_the_leaf(
    ranges: list[tuple[int, int]], store: Callable[[MapleBench], Steps[None]], copied: bool
) -> None:
    """mas_wr_store_type: those after which it has as many ranges as before do not."""
    bench = MapleBench()

    def body(cpu: Cpu) -> Steps[None]:
        for start, end in ranges:
            yield from bench.insert(start, end)
        line, in_use = bench.tree._root.line, bench.tree.nodes()
        yield from store(bench)
        assert (bench.tree._root.line is not line) == copied
        assert bench.tree.nodes() == in_use

    run(bench.machine, {0: body})
    bench.check()


def test_is_the_parent_told_of_another_widest_gap() -> None:
    """A store in place writes to the leaf, and to its parent if the widest gap in the leaf is another."""
    bench = MapleBench()

    def body(cpu: Cpu) -> Steps[None]:
        yield from bench.insert(0, 5)
        for number in range(1, 12):
            yield from bench.insert(10 * number + 5, 10 * number + 10)  # the widest gap is the first one
        assert len(path_to(bench.tree._root, 0)) == 2
        times = []
        for index, start in ((2, 24), (1, 14)):
            before = cpu.spent[VMA_WORK]
            yield from bench.extend(index, start, bench.expected[index][1], absorb=False)
            times.append(cpu.spent[VMA_WORK] - before)
        assert times[1] - times[0] == HIT

    run(bench.machine, {0: body})
    bench.check()


def test_does_a_store_leave_readers_of_the_old_leaf_a_dead_line() -> None:
    """A store writes a copy: the leaf's line is a new one, in the cache of the cpu that stored."""
    bench = MapleBench()
    run(bench.machine, {0: fill(bench, 3)})
    before = bench.tree._root.line
    run(bench.machine, {0: lambda cpu: bench.insert(500, 501)})
    assert bench.tree._root.line is not before
    assert bench.tree._root.line.held_by(bench.cpu)


@pytest.mark.parametrize(
    ("break_", "told"),
    [
        (lambda leaves: setattr(leaves[0], "gap", 1), "keeps a gap of 1 pages"),
        (lambda leaves: leaves[0].slots.__setitem__(-1, None), "ends with a gap"),
        (lambda leaves: leaves[0].ends.__setitem__(0, leaves[0].ends[1]), "where it begins or before"),
        (lambda leaves: leaves[0].ends.__setitem__(-1, leaves[0].ends[-1] - 1), "hangs where"),
        (lambda leaves: (leaves[0].slots.pop(0), leaves[0].ends.pop(0)), "not the 20 of the list"),
        (
            lambda leaves: (leaves[0].slots.__delitem__(slice(12)), leaves[0].ends.__delitem__(slice(12))),
            "slots",
        ),
    ],
)
def test_is_a_broken_tree_told(break_: Callable[[list[Node]], object], told: str) -> None:
    bench = MapleBench()
    run(bench.machine, {0: fill(bench, 20)})
    bench.check()
    break_([node for node in bench.tree._root.below() if node.leaf])
    assert any(told in flaw for flaw in bench.tree.contradictions())
