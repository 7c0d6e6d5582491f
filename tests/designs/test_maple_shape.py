"""What does a store make of a maple tree's nodes? Worked out by hand from lib/maple_tree.c (6.13.7)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from sim.designs.linux.vma_indexes.maple_balance import split
from sim.designs.linux.vma_indexes.maple_nodes import END, Node
from sim.designs.linux.vma_indexes.maple_store import Kind, Store


class Shape:
    """A tree whose ranges are named by letters: `.` is a gap."""

    def __init__(self) -> None:
        self.root = Node(leaf=True, entries=[(None, END)])

    def store(self, start: int, end: int, name: str | None, *, in_order: bool = False) -> Store:
        store = Store(self.root, start, end, name, readers=not in_order)  # type: ignore[arg-type]
        entries = store.entries() if store.kind is not Kind.SPANNING else []
        if store.kind in (Kind.SLOT, Kind.APPEND) or (in_order and store.kind is Kind.NODE):
            leaf = store.path[-1].node
            leaf.slots, leaf.ends = [slot for slot, _ in entries], [at for _, at in entries]
            return store
        change = split(store.path, entries, in_order=True) if in_order else store.change()
        before = {id(node) for node in self.root.below()}
        if change.depth:
            above = store.path[change.depth - 1]
            above.node.slots[above.slot] = change.top
        else:
            self.root = change.top
        after = {id(node) for node in self.root.below()}
        assert after - before == set(map(id, change.new))
        assert before - after == set(map(id, change.old))
        self.made = len(change.new)
        return store

    @property
    def leaves(self) -> list[str]:
        return ["".join(slot or "." for slot in node.slots) for node in self.root.below() if node.leaf]


def in_order(ranges: Iterable[tuple[int, int, str]]) -> Shape:
    """As fork stored them until 6.7."""
    shape = Shape()
    for start, end, name in ranges:
        shape.store(start, end, name, in_order=True)
    return shape


def apart(count: int) -> list[tuple[int, int, str]]:
    """VMAs with gaps between."""
    return [(10 * number, 10 * number + 5, "v") for number in range(1, count + 1)]


def side_by_side(count: int, start: int = 10) -> list[tuple[int, int, str]]:
    return [(start + number, start + number + 1, "v") for number in range(count)]


@pytest.mark.parametrize(
    ("vmas", "leaves"),
    [
        # The first leaf is full with 16 ranges. What is too much is cut 6 ranges before its end
        # (mt_min_slots); but no leaf may end with a gap.
        (apart(7), [15]),
        (apart(8), [10, 7]),
        # The second one is full with the 13th VMA. The first is to have 15 of the 27 ranges, and takes one
        # more, which is a VMA behind a gap (mas_push_data).
        (apart(12), [10, 15]),
        (apart(13), [16, 11]),
        (apart(16), [16, 10, 7]),
        # Side by side: one range each.
        (side_by_side(14), [16]),
        (side_by_side(15), [11, 6]),
        (side_by_side(25), [11, 16]),
        (side_by_side(26), [15, 13]),
    ],
)
def test_how_full_are_leaves_that_are_filled_in_order(
    vmas: list[tuple[int, int, str]], leaves: list[int]
) -> None:
    assert list(map(len, in_order(vmas).leaves)) == leaves


def test_how_does_a_full_leaf_split_that_is_no_longer_filled_in_order() -> None:
    """17 ranges are halved after the ninth. If that is a gap the tenth stays with it (mab_no_null_split)."""
    shape = in_order(side_by_side(14))
    assert shape.store(100, 101, "n").kind is Kind.SPLIT
    assert shape.leaves == ["." + 8 * "v", 6 * "v" + ".n."]
    assert shape.made == 3
    shape = in_order(apart(7))
    assert shape.store(1, 2, "n").kind is Kind.SPLIT
    assert shape.leaves == [".n.v.v.v.v", ".v.v.v."]


def test_does_a_neighbour_with_room_take_what_is_too_much() -> None:
    """Three new nodes instead of three old ones, and no more leaves than before."""
    shape = in_order(side_by_side(25))
    assert shape.leaves == ["." + 10 * "v", 15 * "v" + "."]
    assert shape.store(100, 101, "n").kind is Kind.SPLIT  # 18 ranges
    assert shape.leaves == ["." + 13 * "v" + "v", 11 * "v" + ".n."]
    assert shape.made == 3


def test_which_stores_reach_into_another_leaf() -> None:
    shape = in_order(side_by_side(15))
    assert shape.leaves == ["." + 10 * "v", 5 * "v" + "."]
    # A VMA over the end of one leaf and the beginning of the next.
    assert Store(shape.root, 19, 21, "n").kind is Kind.SPANNING  # type: ignore[arg-type]
    # A gap at the end of a leaf: no leaf may end with one.
    assert Store(shape.root, 19, 20, None).kind is Kind.SPANNING
    # A gap at its beginning, a VMA at its end.
    assert Store(shape.root, 20, 21, None).kind is Kind.SLOT
    assert Store(shape.root, 19, 20, "n").kind is Kind.SLOT  # type: ignore[arg-type]
    shape.store(19, 20, None)
    assert shape.leaves == ["." + 8 * "v", "v." + 5 * "v" + "."]  # 17 ranges, halved after the ninth
    assert shape.made == 3


def test_does_a_leaf_with_too_little_get_some_of_the_next_one() -> None:
    shape = in_order(side_by_side(26))
    assert shape.leaves == ["." + 14 * "v", 12 * "v" + "."]
    for page in range(10, 18):  # what goes joins the gap before it
        assert shape.store(page, page + 1, None).kind is Kind.NODE
    assert shape.leaves == ["." + 6 * "v", 12 * "v" + "."]
    store = shape.store(18, 19, None)  # 6 ranges would be left
    assert store.kind is Kind.REBALANCE
    assert store.nodes() == 3
    assert shape.leaves == ["." + 9 * "v", 8 * "v" + "."]  # 19 ranges, halved after the tenth
    assert shape.made == 3


def test_how_many_nodes_does_a_store_after_fork_ask_for() -> None:
    """A heap with one VMA behind it, which grows and shrinks by a page: brk2 of will-it-scale.

    Filled in order, the first leaf has 15 ranges. The VMA behind the heap is the 16th, and cutting it in two
    makes 17, so the leaf is halved, and is half full from then on. A store into such a leaf asked for three
    nodes from 6.6 to 6.11, and gave two back (mas_preallocate: it might have been joined with its neighbour).
    """
    program = [*side_by_side(6), (30, 40, "h"), *side_by_side(35, start=1000)]
    asked: dict[str, list[int]] = {}
    halved = in_order(program)
    assert halved.leaves[0] == ".vvvvvv.h.vvvvv"
    roomy = in_order(program)
    roomy.store(1000, 1002, None)
    assert roomy.leaves[0] == ".vvvvvv.h.vvv"
    for name, shape in (("full", halved), ("roomy", roomy)):
        shape.store(40, 41, "b")
        for _ in range(3):
            stores = [shape.store(40, 42, "b"), shape.store(41, 42, "c"), shape.store(41, 42, None)]
        asked[name] = [store.nodes_estimated() for store in stores[:2]] + [stores[2].nodes()]
        assert [store.kind for store in stores] == [Kind.SLOT, Kind.NODE, Kind.NODE]
    assert asked == {"full": [0, 3, 1], "roomy": [0, 1, 1]}
