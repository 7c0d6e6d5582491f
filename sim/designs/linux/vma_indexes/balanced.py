"""A weight-balanced search tree of VMAs that is never changed: an update makes new nodes along its path.

    before   r -- a -- b -- c          after   r' - a' - b' - c        c and all that hangs off the path
                       |                                 |              belong to both trees
                       d                                 d'

Who has the old root goes on in the old tree. Sizes of the two subtrees of a node differ by a factor of
`DELTA` at most (weights count one more than nodes); where an update breaks that, a rotation puts it right, by
making one or two of the new nodes otherwise. So an update makes as many nodes as its path is long, and two
more for each rotation at most.

Sources: Clements, Kaashoek, Zeldovich, "Scalable address spaces using RCU balanced trees" (ASPLOS 2012); the
factors 3 and 2 are those that Hirai and Yamamoto (2011) prove right for a tree that only knows sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sim.designs.linux.slab import SlabObject
    from sim.designs.linux.vma import Vma

DELTA: Final = 3
RATIO: Final = 2


class Node:
    """One node, in *memory* once it has been written."""

    __slots__ = ("left", "memory", "right", "size", "vma")

    def __init__(self, vma: Vma, left: Node | None, right: Node | None) -> None:
        self.vma = vma
        self.left = left
        self.right = right
        self.size = 1 + size_of(left) + size_of(right)
        self.memory: SlabObject | None = None


def size_of(node: Node | None) -> int:
    """How many VMAs are below it."""
    return 0 if node is None else node.size


def path_to(node: Node | None, page: int) -> Iterator[Node]:
    """The nodes that a search for the VMA of *page* looks at."""
    while node is not None:
        yield node
        if page < node.vma.start:
            node = node.left
        elif page >= node.vma.end:
            node = node.right
        else:
            return


class Update:
    """What one update does: the nodes that are *made*, and those of the old tree that are *gone* from the new
    one."""

    __slots__ = ("gone", "made")

    def __init__(self) -> None:
        self.made: dict[Node, None] = {}
        self.gone: list[Node] = []

    def insert(self, node: Node | None, vma: Vma) -> Node:
        """The tree of *node* with *vma*."""
        if node is None:
            return self._make(vma, None, None)
        self._leave(node)
        if vma.start < node.vma.start:
            return self._balanced(node.vma, self.insert(node.left, vma), node.right)
        return self._balanced(node.vma, node.left, self.insert(node.right, vma))

    def remove(self, node: Node | None, vma: Vma) -> Node | None:
        """The tree of *node* without *vma*, which is in it."""
        assert node is not None
        self._leave(node)
        if vma is not node.vma:
            if vma.start < node.vma.start:
                return self._balanced(node.vma, self.remove(node.left, vma), node.right)
            return self._balanced(node.vma, node.left, self.remove(node.right, vma))
        if node.left is None or node.right is None:
            return node.left or node.right
        after = node.right
        while after.left is not None:
            after = after.left
        return self._balanced(after.vma, node.left, self.remove(node.right, after.vma))

    def _make(self, vma: Vma, left: Node | None, right: Node | None) -> Node:
        node = Node(vma, left, right)
        self.made[node] = None
        return node

    def _leave(self, node: Node) -> None:
        """*node* is not in the new tree; one that this update has made has never been anywhere."""
        if node in self.made:
            del self.made[node]
        else:
            self.gone.append(node)

    def _balanced(self, vma: Vma, left: Node | None, right: Node | None) -> Node:
        low, high = size_of(left) + 1, size_of(right) + 1
        if high > DELTA * low:
            assert right is not None
            self._leave(right)
            inner = right.left
            if inner is None or size_of(inner) + 1 < RATIO * (size_of(right.right) + 1):
                return self._make(right.vma, self._make(vma, left, inner), right.right)
            self._leave(inner)
            lower = self._make(vma, left, inner.left)
            return self._make(inner.vma, lower, self._make(right.vma, inner.right, right.right))
        if low > DELTA * high:
            assert left is not None
            self._leave(left)
            inner = left.right
            if inner is None or size_of(inner) + 1 < RATIO * (size_of(left.left) + 1):
                return self._make(left.vma, left.left, self._make(vma, inner, right))
            self._leave(inner)
            upper = self._make(vma, inner.right, right)
            return self._make(inner.vma, self._make(left.vma, left.left, inner.left), upper)
        return self._make(vma, left, right)


def in_order(node: Node | None) -> Iterator[Node]:
    """All nodes, by address."""
    above: list[Node] = []
    while above or node is not None:
        while node is not None:
            above.append(node)
            node = node.left
        node = above.pop()
        yield node
        node = node.right


def contradictions(root: Node | None) -> Iterator[str]:
    """What is wrong with the tree, if anything."""
    for node in in_order(root):
        low, high = size_of(node.left), size_of(node.right)
        if node.size != 1 + low + high:
            yield f"the node of {node.vma} counts {node.size} VMAs below it, and there are {1 + low + high}"
        if max(low, high) + 1 > DELTA * (min(low, high) + 1):
            yield f"the node of {node.vma} has {low} VMAs on one side and {high} on the other"
