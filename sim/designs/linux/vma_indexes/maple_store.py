"""What a store makes of a maple tree's nodes (lib/maple_tree.c, mas_wr_store_type, read in 6.13.7).

A store of an entry over [start, end), or of nothing:

    exact fit, slot   a range gets another entry, a boundary moves: in place
    node              the leaf has more or fewer ranges, and there is room: a copy of it
    append            behind all others, in a tree that nobody reads: in place
    split, rebalance  too many ranges, or too few (see `maple_balance`)
    spanning          it reaches into another leaf, or would leave a gap at the end of this one

Nothing here takes time.
"""

from __future__ import annotations

from bisect import bisect_left
from enum import Enum, auto
from typing import TYPE_CHECKING

from sim.designs.linux.vma_indexes.maple_balance import Balance, rebalance, split
from sim.designs.linux.vma_indexes.maple_nodes import (
    END,
    LEAF_RANGES,
    LEAST_RANGES,
    Change,
    Entry,
    Node,
    Path,
    Place,
    path_to,
)

if TYPE_CHECKING:
    from sim.designs.linux.vma import Vma


class Kind(Enum):
    """enum store_type. An exact fit and a slot's store are one here: neither takes a node."""

    SLOT = auto()
    NODE = auto()
    APPEND = auto()
    SPLIT = auto()
    REBALANCE = auto()
    SPANNING = auto()
    NEW_ROOT = auto()


class Store:
    """A store of *entry* over [start, end), before it is done. *readers*: nodes are not changed in place."""

    __slots__ = ("_entry", "_last", "_root", "end", "kind", "path", "start")

    def __init__(self, root: Node, start: int, end: int, entry: Vma | None, *, readers: bool = True) -> None:
        self._root, self._entry = root, entry
        self.start, self.end = start, end
        self.path: Path = []
        self._last = 0
        self.kind = self._kind(readers)

    def _kind(self, readers: bool) -> Kind:
        """mas_wr_walk and mas_wr_store_type."""
        place = Place(self._root, self._root.find(self.start), 0)
        while True:
            self.path.append(place)
            node = place.node
            limit = place.high if node.leaf else place.end
            if self.end > limit or (self.end == limit != END and self._entry is None):  # mas_is_span_wr
                self.path = path_to(self._root, self.start)
                return Kind.SPANNING
            if node.leaf:
                break
            child: Node = node.slots[place.slot]
            place = Place(child, child.find(self.start), place.start)
        self._last = bisect_left(node.ends, self.end, place.slot)  # mas_wr_end_piv
        if self._entry is None:
            place = self._widen(place)
        if (self.start, self.end) == (place.start, place.end):
            return Kind.SLOT
        if (self.start, self.end) == (0, END):
            return Kind.NEW_ROOT
        return self._kind_in(place, self.ranges - 1, readers)

    def _kind_in(self, place: Place, new_end: int, readers: bool) -> Kind:
        """A slot's store comes first, as in mas_wr_modify (until 6.11). Since 6.12 a leaf that is too small
        is copied, or joined, all the same; but no leaf of a process is, the last one aside."""
        node = place.node
        if readers and new_end == len(node.slots) - 1 and self._last - place.slot == 1:
            return Kind.SLOT
        if new_end < LEAST_RANGES:
            return Kind.NODE if len(self.path) == 1 or not readers else Kind.REBALANCE
        if new_end >= LEAF_RANGES:
            return Kind.SPLIT
        if not readers:
            return Kind.APPEND if place.slot == len(node.slots) - 1 else Kind.NODE
        return Kind.NODE

    def _widen(self, place: Place) -> Place:
        """mas_wr_extend_null: a gap takes in those around it."""
        node, last = place.node, self._last
        if node.slots[last] is None:
            self.end = node.ends[last]
        elif self.end == node.ends[last] and last + 1 < len(node.slots) and node.slots[last + 1] is None:
            self._last += 1
            self.end = node.ends[self._last]
        if node.slots[place.slot] is None:
            self.start = place.start
        elif self.start == place.start and place.slot and node.slots[place.slot - 1] is None:
            place = place.beside(-1)
            self.path[-1] = place
            self.start = place.start
        return place

    @property
    def ranges(self) -> int:
        """How many ranges the leaf has after it (mas_wr_new_end, and one)."""
        place = self.path[-1]
        cut = (place.start < self.start) + (self.end < place.node.ends[self._last])
        return len(place.node.slots) + cut - (self._last - place.slot)

    def nodes(self) -> int:
        """How many nodes may be needed (mas_prealloc_calc)."""
        kind, height = self.kind, len(self.path)
        if kind is Kind.NODE or kind is Kind.NEW_ROOT:
            return 1
        if kind is Kind.SPLIT:
            return 2 * height + 1
        if kind is Kind.REBALANCE:
            return 2 * height - 1
        return 3 * height + 1 if kind is Kind.SPANNING else 0

    def nodes_estimated(self) -> int:
        """The same from 6.6 to 6.11: a leaf that is about half full is taken to be joined with another."""
        if self.kind is Kind.NODE and len(self.path) > 1 and self.ranges - 2 <= LEAST_RANGES:
            return 2 * len(self.path) - 1
        return self.nodes()

    def entries(self) -> list[Entry]:
        """What the leaf holds after it (mas_store_b_node)."""
        place, last = self.path[-1], self._last
        node = place.node
        held = node.entries
        found = held[: place.slot]
        if place.start < self.start:
            found.append((node.slots[place.slot], self.start))
        found.append((self._entry, self.end))
        if self.end < node.ends[last]:
            found.append((node.slots[last], node.ends[last]))
        return found + held[last + 1 :]

    def change(self) -> Change:
        """The nodes of a store that takes new ones."""
        if self.kind is Kind.SPANNING:
            return self._span()
        if self.kind is Kind.NEW_ROOT:
            return self._new_root()
        if self.kind is Kind.SPLIT:
            return split(self.path, self.entries())
        if self.kind is Kind.REBALANCE:
            return rebalance(self.path, self.entries())
        fresh = Node(leaf=True, entries=self.entries())
        return Change([fresh], [self.path[-1].node], fresh, len(self.path) - 1, 0)

    def _new_root(self) -> Change:
        """mas_new_root: one range is all that is left."""
        fresh = Node(leaf=True, entries=[(self._entry, END)])
        return Change([fresh], list(self._root.below()), fresh, 0, 1)

    def _span(self) -> Change:
        """mas_wr_spanning_store: what is left of two leaves, put together and divided again."""
        low, high = path_to(self._root, self.start), path_to(self._root, min(self.end, END - 1))
        left, right = low[-1], high[-1]
        rest = right.slot
        if self._entry is None:  # mas_extend_spanning_null
            if left.node.slots[left.slot] is None:
                self.start = left.start
            elif self.start == left.start and left.slot and left.node.slots[left.slot - 1] is None:
                left = left.beside(-1)
                self.start = left.start
            if right.node.slots[right.slot] is None:
                self.end = right.end
                rest += 1
        if (self.start, self.end) == (0, END):
            return self._new_root()
        entries = left.node.entries[: left.slot]
        if left.start < self.start:
            entries.append((left.node.slots[left.slot], self.start))
        entries.append((self._entry, self.end))
        if self.end < right.high:
            entries += right.node.entries[rest:]
        return Balance(low, high, entries).run()
