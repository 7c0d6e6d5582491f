"""Does the red-black tree of VMAs hold what it was given, in balance, and find it at such a tree's cost?"""

from __future__ import annotations

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import NS, run
from vma_bench import END, Bench, fill, follow, step, steps_of

from sim.designs.linux import VmaIndex
from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.vma import Vma
from sim.designs.linux.vma_indexes.rbtree import MmapCacheRbTree, RbTree
from sim.engine import Steps
from sim.hardware import Cpu

KINDS = [RbTree, MmapCacheRbTree]


@given(st.lists(step, max_size=60), st.sampled_from(KINDS))
def test_do_random_stores_leave_the_right_vmas_in_balance(
    steps: list[tuple[str, int, int]], kind: type[VmaIndex]
) -> None:
    follow(Bench(kind), steps)


@pytest.mark.parametrize("seed", range(4))
def test_do_long_runs_of_stores_that_grow_and_shrink_the_tree(seed: int) -> None:
    follow(Bench(RbTree), steps_of(seed))


def filled(count: int, kind: type[VmaIndex] = RbTree) -> Bench:
    """VMAs of 5 pages, 10 apart."""
    bench = Bench(kind)
    run(bench.machine, {0: fill(bench, count)})
    bench.check()
    return bench


def searched(bench: Bench, page: int) -> tuple[Vma | None, int]:
    """What a search for *page* finds and what it costs, in ns; all lines are in this cpu's cache."""
    found: list[Vma | None] = []

    def body(cpu: Cpu) -> Steps[None]:
        found.append((yield from bench.tree.find(cpu, page)))

    run(bench.machine, {0: body})
    return found[0], bench.cpu.spent[VMA_WORK] // NS


VMA_STEP = 10 + 1
"""The work on one VMA, and a hit."""


def test_does_a_search_read_the_root_and_then_one_vma_a_level() -> None:
    """Inserted upwards, seven VMAs hang to the right of the second."""
    bench = filled(7)
    assert isinstance(bench.tree, RbTree)
    path = [node.vma.start for node in bench.tree._tree.path(62)]
    assert path == [10, 30, 50, 60]
    found, cost = searched(bench, 62)
    assert found is not None
    assert found.start == 60
    # The cache: its sequence number, and nothing in it yet. Then the root's line and four VMAs.
    assert cost == 1 + 1 + 4 * VMA_STEP


def test_is_a_vma_found_again_without_a_search_until_one_is_removed() -> None:
    bench = filled(7)
    _, searching = searched(bench, 62)
    again, cached = searched(bench, 63)
    assert again is not None
    assert again.start == 60
    assert cached == 1 + VMA_STEP < searching
    run(bench.machine, {0: lambda cpu: bench.remove(0)})
    _, cost = searched(bench, 63)
    assert cost > cached


def test_does_a_thread_keep_four_vmas() -> None:
    """Pages of four level-1 tables go to four entries; a fifth takes the place of the first."""
    bench = Bench(RbTree)
    starts = [512 * number for number in range(5)]

    def map_all(cpu: Cpu) -> Steps[None]:
        for start in starts:
            yield from bench.insert(start, start + 1)

    run(bench.machine, {0: map_all})
    for start in starts[:4]:
        searched(bench, start)
    for order, start in enumerate(starts[:4]):  # each is found at its own place first
        assert searched(bench, start)[1] == 1 + VMA_STEP, order
    searched(bench, starts[4])
    assert searched(bench, starts[0])[1] > 1 + 4 * VMA_STEP  # all four looked at in vain, and a search


def test_do_all_threads_share_the_one_vma_that_older_kernels_keep() -> None:
    """A miss of one thread costs the others their hit, and the line of mm_struct."""
    bench = filled(7, MmapCacheRbTree)
    searched(bench, 62)
    assert searched(bench, 60)[1] == 1 + VMA_STEP
    other = bench.machine.cpus[0]
    assert isinstance(bench.tree, RbTree)
    assert bench.tree.root_line.owner == other.id
    searched(bench, 2)
    assert searched(bench, 60)[1] > 1 + VMA_STEP


@pytest.mark.parametrize("count", [1, 10, 100, 1000])
def test_is_no_way_down_longer_than_a_red_black_trees(count: int) -> None:
    """At most 2 log2(n + 1), whatever the order of insertion."""
    tree = filled(count).tree
    assert isinstance(tree, RbTree)
    deepest = max(len(list(tree._tree.path(vma.start))) for vma in tree)
    assert log2(count + 1) <= deepest <= 2 * log2(count + 1)


def test_how_many_vmas_does_a_search_for_a_gap_look_at() -> None:
    """Only one gap is wide enough: the way to it is the way down, with the VMAs before those on it."""
    bench = filled(255)
    run(bench.machine, {0: lambda cpu: bench.remove(100)})
    assert isinstance(bench.tree, RbTree)
    depth = len(list(bench.tree._tree.path(1010)))

    def search(cpu: Cpu) -> Steps[None]:
        assert (yield from bench.tree.empty_area_rev(cpu, 12, 0, 254 * 10)) == 1010 - 12

    run(bench.machine, {0: search})
    # A level: the VMA, the one before it, and at most its other child, whose gap is too small.
    cost = bench.cpu.spent[VMA_WORK] // NS
    assert depth * VMA_STEP < cost <= 1 + depth * (2 * VMA_STEP + 1)


def test_does_a_store_write_the_vmas_whose_gap_it_changes_and_no_others() -> None:
    """A VMA goes whose gap was no wider than others: its neighbours are written, the root is not."""
    bench = filled(63)
    tree = bench.tree
    assert isinstance(tree, RbTree)
    run(bench.machine, {0: lambda cpu: tree.remove(cpu, list(tree)[40])})
    assert tree._tree.root is not None
    touched = {node.vma.start for node in tree._tree.written}
    assert {390, 410} <= touched  # vm_next and vm_prev, and the wider gap
    assert len(touched) <= 2 * 2 * log2(64)
    tree._tree.begin()
    run(bench.machine, {0: lambda cpu: bench.insert(END, END + 1)})
    assert {node.vma.start for node in tree._tree.written} >= {620, END}


@pytest.mark.parametrize("fault", ["red", "gap", "list", "order"])
def test_is_a_broken_tree_told(fault: str) -> None:
    bench = filled(15)
    tree = bench.tree
    assert isinstance(tree, RbTree)
    root = tree._tree.root
    assert root is not None
    if fault == "red":
        root.red = True
    elif fault == "gap":
        root.gap += 1
    elif fault == "list":
        assert tree._tree.last is not None
        tree._tree.last = tree._tree.last.before
    else:
        root.links.reverse()
    assert list(tree.contradictions())
