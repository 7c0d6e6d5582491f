"""A red-black tree of VMAs that knows the widest gap below each (lib/rbtree.c, mm/mmap.c vma_gap_callbacks).

Each VMA is its own node (vm_rb), and they are in a linked list by address too (vm_prev, vm_next). A node's
*gap* is the widest before one of the VMAs at or below it (rb_subtree_gap): what changes it goes up until it
makes no difference. Nothing here takes time: *read* and *written* collect the nodes whose lines an operation
touches, for the index to charge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sim.designs.linux.vma import Vma

LEFT: Final = 0
RIGHT: Final = 1


class Node:
    """What struct vm_area_struct has of the tree and the list."""

    __slots__ = ("after", "before", "gap", "links", "parent", "red", "vma")

    def __init__(self, vma: Vma) -> None:
        self.vma = vma
        self.before: Node | None = None
        self.after: Node | None = None
        self.parent: Node | None = None
        self.links: list[Node | None] = [None, None]
        self.red = True
        self.gap = 0

    @property
    def own_gap(self) -> int:
        """Pages between the VMA before and this one."""
        return self.vma.start - (self.before.vma.end if self.before else 0)

    @property
    def widest(self) -> int:
        """What *gap* has to be (vma_compute_subtree_gap)."""
        return max(self.own_gap, *(below.gap for below in self.links if below), 0)


class AugmentedTree:
    """The tree: *root*, the *last* VMA of the list, and what the operation at hand has touched."""

    __slots__ = ("last", "read", "root", "root_changed", "rotations", "written")

    def __init__(self) -> None:
        self.root: Node | None = None
        self.last: Node | None = None
        self.begin()

    def begin(self) -> None:
        """A new operation: nothing is touched yet."""
        self.read: dict[Node, None] = {}
        self.written: dict[Node, None] = {}
        self.rotations = 0
        self.root_changed = False

    def path(self, page: int) -> Iterator[Node]:
        """The nodes on the way down to the VMA that contains *page*, or to where it would be."""
        node = self.root
        while node is not None:
            yield node
            if page < node.vma.start:
                node = node.links[LEFT]
            elif page >= node.vma.end:
                node = node.links[RIGHT]
            else:
                return

    # -- changing -------------------------------------------------------------------------------------------

    def insert(self, node: Node) -> None:
        """__vma_link: into list and tree, where its addresses belong."""
        parent: Node | None = None
        for each in self.path(node.vma.start):
            parent = each
        side = LEFT if parent is not None and node.vma.start < parent.vma.start else RIGHT
        before = parent if side == RIGHT or parent is None else parent.before
        self._link_list(node, before, before.after if before else parent)
        if node.after is not None:
            self.gap_changed(node.after)
        node.parent = parent
        self._hang(parent, side, node)
        self.gap_changed(node)
        self._rebalance_inserted(node)

    def remove(self, node: Node) -> None:
        """__vma_unlink: out of tree and list."""
        self._erase(node)
        before, after = node.before, node.after
        if before is not None:
            before.after = after
            self._write(before)
        if after is not None:
            after.before = before
            self._write(after)
            self.gap_changed(after)
        else:
            self.last = before
        node.before = node.after = None

    def gap_changed(self, node: Node | None) -> None:
        """vma_gap_callbacks_propagate: set the gaps from *node* up, as far as they change."""
        while node is not None:
            self._read(node, *node.links)
            if node.gap == node.widest:
                return
            node.gap = node.widest
            self._write(node)
            node = node.parent

    def _link_list(self, node: Node, before: Node | None, after: Node | None) -> None:
        node.before, node.after = before, after
        self._write(node)
        if before is not None:
            before.after = node
            self._write(before)
        if after is not None:
            after.before = node
            self._write(after)
        else:
            self.last = node

    # -- balance --------------------------------------------------------------------------------------------

    def _rebalance_inserted(self, node: Node) -> None:
        """__rb_insert: no red node keeps a red parent."""
        while (parent := node.parent) is not None and parent.red:
            grand = parent.parent
            assert grand is not None  # the root is black
            side = LEFT if grand.links[LEFT] is parent else RIGHT
            uncle = grand.links[1 - side]
            self._read(grand, uncle)
            if uncle is not None and uncle.red:
                self._paint(parent, red=False)
                self._paint(uncle, red=False)
                self._paint(grand, red=True)
                node = grand
                continue
            if parent.links[1 - side] is node:
                self._rotate(parent, side)
                parent = node
            self._rotate(grand, 1 - side)
            self._paint(parent, red=False)
            self._paint(grand, red=True)
            return
        if node.parent is None:
            self._paint(node, red=False)

    def _erase(self, node: Node) -> None:
        """__rb_erase_augmented: a node with two children is replaced by the next one."""
        left, right = node.links
        if left is not None and right is not None:
            heir = right
            self._read(heir)
            while (lower := heir.links[LEFT]) is not None:
                heir = lower
                self._read(heir)
            lost_black, child = not heir.red, heir.links[RIGHT]
            below = heir.parent if heir is not right else heir
            assert below is not None
            if heir is not right:
                self._put(below, LEFT, child)
                self._put(heir, RIGHT, right)
            heir.gap = node.gap
            self._replace(node, heir)
            self._put(heir, LEFT, left)
            self._paint(heir, red=node.red)
            if below is not heir:
                self.gap_changed(below)
            self.gap_changed(heir)
        else:
            lost_black, child, below = not node.red, left or right, node.parent
            self._replace(node, child)
            self.gap_changed(below)
        if child is not None:
            self._paint(child, red=False)  # it was red: a lone child is
        elif lost_black and below is not None:
            self._rebalance_erased(below)
        node.parent, node.links, node.red, node.gap = None, [None, None], True, 0

    def _rebalance_erased(self, parent: Node) -> None:
        """____rb_erase_color: *parent* has one black node less on the side where *node* was."""
        node: Node | None = None
        while True:
            side = LEFT if parent.links[LEFT] is node else RIGHT
            sibling = parent.links[1 - side]
            assert sibling is not None  # its side has one black node more
            self._read(parent, sibling)
            if sibling.red:
                self._rotate(parent, side)
                self._paint(sibling, red=False)
                self._paint(parent, red=True)
                sibling = parent.links[1 - side]
                assert sibling is not None
                self._read(sibling)
            near, far = sibling.links[side], sibling.links[1 - side]
            self._read(near, far)
            if not (far is not None and far.red):
                if not (near is not None and near.red):
                    self._paint(sibling, red=True)
                    if not parent.red and parent.parent is not None:
                        node, parent = parent, parent.parent
                        continue
                    self._paint(parent, red=False)
                    return
                self._rotate(sibling, 1 - side)
                self._paint(near, red=False)
                self._paint(sibling, red=True)
                sibling, far = near, sibling
            self._rotate(parent, side)
            self._paint(sibling, red=parent.red)
            self._paint(parent, red=False)
            self._paint(far, red=False)
            return

    def _rotate(self, node: Node, side: int) -> None:
        """*node* goes down to *side*, its other child comes up (vma_gap_callbacks_rotate)."""
        child = node.links[1 - side]
        assert child is not None
        self.rotations += 1
        self._read(node, child, *child.links)
        self._replace(node, child)
        self._put(node, 1 - side, child.links[side])
        self._put(child, side, node)
        child.gap, node.gap = node.gap, node.widest
        self._write(node)

    def _replace(self, node: Node, other: Node | None) -> None:
        """*other* hangs where *node* did."""
        parent = node.parent
        side = LEFT if parent is not None and parent.links[LEFT] is node else RIGHT
        if other is not None:
            other.parent = parent
            self._write(other)
        self._hang(parent, side, other)

    def _put(self, parent: Node, side: int, child: Node | None) -> None:
        if child is not None:
            child.parent = parent
            self._write(child)
        self._hang(parent, side, child)

    def _hang(self, parent: Node | None, side: int, child: Node | None) -> None:
        if parent is None:
            self.root = child
            self.root_changed = True
        else:
            parent.links[side] = child
            self._write(parent)

    def _paint(self, node: Node, *, red: bool) -> None:
        if node.red is not red:
            node.red = red
            self._write(node)

    def _read(self, *nodes: Node | None) -> None:
        self.read.update((node, None) for node in nodes if node is not None)

    def _write(self, node: Node) -> None:
        self.written[node] = None

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        """The rules of a red-black tree, and what is kept twice."""
        if self.root is not None and (self.root.red or self.root.parent is not None):
            yield "the root of the VMAs' tree is red or has a parent"
        blacks: set[int] = set()

        def visit(node: Node | None, black: int) -> Iterator[str]:
            if node is None:
                blacks.add(black)
                return
            if node.gap != node.widest:
                yield f"{node.vma} keeps a gap of {node.gap} pages and has one of {node.widest} below"
            for below in node.links:
                if below is not None and (below.parent is not node or (below.red and node.red)):
                    yield f"{below.vma} hangs below {node.vma} and has another parent, or both are red"
                yield from visit(below, black + (not node.red))

        yield from visit(self.root, 0)
        if len(blacks) > 1:
            yield f"the ways down the VMAs' tree have {sorted(blacks)} black nodes"

    def in_order(self) -> Iterator[Node]:
        """The nodes by address, by the tree's own links."""

        def visit(node: Node | None) -> Iterator[Node]:
            if node is not None:
                yield from visit(node.links[LEFT])
                yield node
                yield from visit(node.links[RIGHT])

        return visit(self.root)
