"""The nodes of a maple tree (lib/maple_tree.c, read in 6.13.7), and ways through them.

A leaf holds up to 16 ranges, gaps included; an inner node up to 10 children. A gap is one range of one leaf,
and only the last leaf of all ends with one. Pages stand for addresses, ends are exclusive.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

if TYPE_CHECKING:
    from sim.designs.linux.slab import Lines, SlabObject

LEAF_RANGES: Final = 16
INNER_CHILDREN: Final = 10
LEAST_RANGES: Final = 6
LEAST_CHILDREN: Final = 4
"""What a node has to have (mt_min_slots), root and last leaf apart."""
END: Final = 1 << 52
"""The page behind the last one that an address can name (ULONG_MAX)."""

Entry = tuple[Any, int]
"""What is in a slot, and where its range ends."""


class Node:
    """*slots* are VMAs and None in a leaf, nodes in an inner node; *ends* is where each one's range ends.

    *gap* is the widest gap below it, None until it is asked for. *line* and *memory* are what it lies in.
    """

    __slots__ = ("ends", "gap", "leaf", "line", "memory", "slots")

    line: Lines

    def __init__(self, leaf: bool, entries: list[Entry]) -> None:
        self.leaf = leaf
        self.slots: list[Any] = [slot for slot, _ in entries]
        self.ends = [end for _, end in entries]
        self.gap: int | None = None
        self.memory: SlabObject | None = None

    @property
    def entries(self) -> list[Entry]:
        slots, ends = self.slots, self.ends
        return [(slots[index], end) for index, end in enumerate(ends)]

    @property
    def children(self) -> list[Node]:
        return [] if self.leaf else self.slots

    @property
    def room(self) -> int:
        return LEAF_RANGES if self.leaf else INNER_CHILDREN

    def find(self, page: int) -> int:
        """The slot that *page* is in."""
        return min(bisect_right(self.ends, page), len(self.ends) - 1)

    def below(self) -> Iterator[Node]:
        """It and all nodes below it."""
        yield self
        for child in self.children:
            yield from child.below()


@final
class Place:
    """*slot* of *node*, which begins at the page *low*."""

    __slots__ = ("low", "node", "slot")

    def __init__(self, node: Node, slot: int, low: int) -> None:
        self.node = node
        self.slot = slot
        self.low = low

    def beside(self, step: int) -> Place:
        """So many slots on (1) or back (-1)."""
        return Place(self.node, self.slot + step, self.low)

    @property
    def start(self) -> int:
        """Where the slot's range begins."""
        return self.node.ends[self.slot - 1] if self.slot else self.low

    @property
    def end(self) -> int:
        return self.node.ends[self.slot]

    @property
    def high(self) -> int:
        """Where the node's range ends."""
        return self.node.ends[-1]


Path = list[Place]


def path_to(root: Node, page: int) -> Path:
    """From the root to the leaf of *page*."""
    place = Place(root, root.find(page), 0)
    path = [place]
    while not place.node.leaf:
        child: Node = place.node.slots[place.slot]
        place = Place(child, child.find(page), place.start)
        path.append(place)
    return path


class Change(NamedTuple):
    """What a store does: *new* nodes instead of the *old* ones. *top* is the highest of the new ones and
    stands at *depth*, 0 is the root's; *levels* of the tree are split, joined or evened out."""

    new: list[Node]
    old: list[Node]
    top: Node
    depth: int
    levels: int
