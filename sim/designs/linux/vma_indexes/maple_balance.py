"""Leaves of a maple tree that have too many ranges or too few (lib/maple_tree.c, read in 6.13.7).

    split       the neighbour below the same parent takes some (mas_push_data), or the leaf is halved
    rebalance   evened out with the neighbour, or joined with it

A split makes new nodes up to where a node has room for one more. Where leaves are evened out the nodes are
new up to the root. Nothing here takes time.
"""

from __future__ import annotations

from itertools import pairwise

from sim.designs.linux.vma_indexes.maple_nodes import (
    END,
    INNER_CHILDREN,
    LEAF_RANGES,
    LEAST_CHILDREN,
    LEAST_RANGES,
    Change,
    Entry,
    Node,
    Path,
    Place,
)


def cut(entries: list[Entry], leaf: bool, *, in_order: bool = False) -> list[int]:
    """Where what is too much for a node is cut in two, or in three (mab_calc_split): indexes of *entries*.

    *in_order*: more will come behind, so the left part gets as much as it can (MA_STATE_BULK).
    """
    room, least = (LEAF_RANGES, LEAST_RANGES) if leaf else (INNER_CHILDREN, LEAST_CHILDREN)
    last = len(entries) - 1
    if in_order:
        at = last - least
        return [at if leaf and entries[at][0] is None else at + 1]
    at, middle = last // 2, 0
    if last >= 2 * room or (entries[at][0] is None and last >= 2 * room - 1):
        at = last // 3
        middle = 2 * at
    cuts = [_not_behind_a_gap(entries, at, room, least, last) + 1]
    if middle:
        cuts.append(_not_behind_a_gap(entries, middle, room, least, last) + 1)
    return cuts


def _not_behind_a_gap(entries: list[Entry], at: int, room: int, least: int, end: int) -> int:
    """mab_no_null_split: the left part may not end with a gap."""
    if entries[at][0] is not None:
        return at
    return at + 1 if at < room - 1 and end - at > least else at - 1


def split(path: Path, entries: list[Entry], *, in_order: bool = False) -> Change:
    """mas_split: *entries* are too many for the leaf at the end of *path*."""
    new: list[Node] = []
    old: list[Node] = []
    levels = 0
    for depth in range(len(path) - 1, -1, -1):
        place = path[depth]
        leaf, room = place.node.leaf, place.node.room
        old.append(place.node)
        if len(entries) <= room:
            top = Node(leaf, entries)
            return Change([*new, top], old, top, depth, levels)
        levels += 1
        parent = path[depth - 1] if depth else None
        if parent is not None and (pushed := _push(parent, place.node, entries)) is not None:
            first, second, sibling, at = pushed
            held = parent.node.entries
            top = Node(
                leaf=False,
                entries=[*held[:at], (first, first.ends[-1]), (second, second.ends[-1]), *held[at + 2 :]],
            )
            return Change([*new, first, second, top], [*old, sibling, parent.node], top, depth - 1, levels)
        (at,) = cut(entries, leaf, in_order=in_order)
        halves = [Node(leaf, entries[:at]), Node(leaf, entries[at:])]
        new += halves
        entries = [(half, half.ends[-1]) for half in halves]
        if parent is not None:
            held = parent.node.entries
            entries = [*held[: parent.slot], *entries, *held[parent.slot + 1 :]]
    top = Node(leaf=False, entries=entries)
    return Change([*new, top], old, top, 0, levels)


def _push(parent: Place, node: Node, entries: list[Entry]) -> tuple[Node, Node, Node, int] | None:
    """mas_push_data: a neighbour of *node* below the same parent takes some of its *entries*, the left one
    first. Value: the two new nodes, the neighbour, and the slot of the first one; None: neither has room."""
    room = node.room
    least = LEAST_RANGES if node.leaf else LEAST_CHILDREN
    space = 2 * room - 2 - node.leaf - (node.ends[-1] == END)
    siblings = parent.node.slots
    for at in (parent.slot - 1, parent.slot + 1):
        if not 0 <= at < len(siblings):
            continue
        sibling = siblings[at]
        total = len(entries) + len(sibling.slots) - 2
        if total >= space:
            continue
        left = at < parent.slot
        both = sibling.entries + entries if left else entries + sibling.entries
        where = room - 2 if left else total - (room - 2)
        where = _not_behind_a_gap(both, where, room, least, total + 1 if left else total + 2) + 1
        return Node(node.leaf, both[:where]), Node(node.leaf, both[where:]), sibling, min(at, parent.slot)
    return None


def rebalance(path: Path, entries: list[Entry]) -> Change:
    """mas_rebalance: the leaf at the end of *path* has become too small; its next sibling gives it some, or
    joins it, the one before where there is no next."""
    parent, place = path[-2], path[-1]
    if parent.slot + 1 < len(parent.node.slots):
        sibling = parent.node.slots[parent.slot + 1]
        beside = [*path[:-2], parent.beside(1), Place(sibling, 0, parent.end)]
        return Balance(path, beside, entries + sibling.entries).run()
    sibling = parent.node.slots[parent.slot - 1]
    up = parent.beside(-1)
    beside = [*path[:-2], up, Place(sibling, 0, up.start)]
    return Balance(beside, [*path[:-1], place], sibling.entries + entries).run()


class Balance:
    """mas_spanning_rebalance: *entries* stand for the leaves at the ends of two paths and all between."""

    def __init__(self, left: Path, right: Path, entries: list[Entry]) -> None:
        self._left, self._right = left, right
        self._depth = len(left) - 1
        self._entries = entries
        self._new: list[Node] = []
        self._old: dict[int, Node] = {}
        self._levels = 0

    def run(self) -> Change:
        low, high = self._left[-1], self._right[-1]
        self._replaced()
        if (low.low, high.high) != (0, END) and len(self._entries) <= LEAST_RANGES:
            self._take_a_neighbour()
        while True:
            leaf = self._left[self._depth].node.leaf
            parts = self._parts(leaf)
            self._new += parts
            if len(parts) == 1 and self._left[self._depth].low == 0 and parts[0].ends[-1] == END:
                while self._depth:
                    self._ascend(parts)  # the tree becomes lower: none of these stays
                return Change(self._new, list(self._old.values()), parts[0], 0, self._levels)
            self._ascend(parts)
            if self._depth < 0:
                break
            place = self._left[self._depth]
            if len(self._entries) > LEAST_CHILDREN:
                continue
            if place.low == 0 and place.high == END:
                break
            self._take_a_neighbour()
        top = Node(leaf=False, entries=self._entries)
        return Change([*self._new, top], list(self._old.values()), top, 0, self._levels)

    def _parts(self, leaf: bool) -> list[Node]:
        """mas_mab_to_node, mast_cp_to_nodes."""
        entries = self._entries
        places = self._left[self._depth], self._right[self._depth]
        cuts = cut(entries, leaf) if len(entries) > (LEAF_RANGES if leaf else INNER_CHILDREN) else []
        self._levels += bool(cuts) or places[0].node is not places[1].node
        bounds = [0, *cuts, len(entries)]
        return [Node(leaf, entries[a:b]) for a, b in pairwise(bounds)]

    def _ascend(self, parts: list[Node]) -> None:
        """mast_ascend: *parts* among the children of the nodes above."""
        self._depth -= 1
        made = [(part, part.ends[-1]) for part in parts]
        if self._depth < 0:
            self._entries = made
            return
        left, right = self._left[self._depth], self._right[self._depth]
        self._replaced()
        if left.node is right.node:
            between = left.node.slots[left.slot + 1 : right.slot]
        else:
            between = left.node.slots[left.slot + 1 :] + right.node.slots[: right.slot]
        for node in between:
            for each in node.below():
                self._old.setdefault(id(each), each)
        self._entries = left.node.entries[: left.slot] + made + right.node.entries[right.slot + 1 :]

    def _replaced(self) -> None:
        for path in (self._left, self._right):
            node = path[self._depth].node
            self._old.setdefault(id(node), node)

    def _take_a_neighbour(self) -> None:
        """mast_spanning_rebalance: all of the next node at this depth, or of the one before."""
        for depth in range(self._depth - 1, -1, -1):
            above = self._right[depth]
            if above.slot + 1 < len(above.node.slots):
                self._right = self._down(self._right[:depth], above.beside(1), last=False)
                self._entries = self._entries + self._right[self._depth].node.entries
                break
            above = self._left[depth]
            if above.slot:
                self._left = self._down(self._left[:depth], above.beside(-1), last=True)
                self._entries = self._left[self._depth].node.entries + self._entries
                break
        self._replaced()

    def _down(self, path: Path, place: Place, *, last: bool) -> Path:
        """*path* and *place*, and on along the last or the first slots, to where the balance is."""
        path = [*path, place]
        while len(path) <= self._depth:
            node = place.node.slots[place.slot]
            place = Place(node, len(node.slots) - 1 if last else 0, place.start)
            path.append(place)
        return path
