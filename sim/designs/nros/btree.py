"""A B-tree of mappings, as Rust's BTreeMap is one: keys and values in all nodes, up to 2 B - 1 of them.

What it does takes no time: it tells which nodes it has looked at and which it has changed, and the replica
pays for their lines. Nobody changes it but who has the replica for writing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sim.mm import Rights

if TYPE_CHECKING:
    from sim.designs.nros.spec import TreeSpec
    from sim.hardware import CacheLine, Machine


class Mapping(NamedTuple):
    """What a page, or the 2 MiB that begin with it, is mapped to (struct MappingInfo)."""

    frame: int
    order: int
    rights: Rights

    @property
    def pages(self) -> int:
        """Pages of 4 KiB."""
        return 1 << self.order


class Node:
    """*pages* are the keys; a node that is no leaf has a child before, between and behind them."""

    __slots__ = ("children", "key_line", "pages", "value_line", "values")

    def __init__(self, key_line: CacheLine, value_line: CacheLine) -> None:
        self.pages: list[int] = []
        self.values: list[Mapping] = []
        self.children: list[Node] = []
        self.key_line = key_line
        self.value_line = value_line


class Touched:
    """What an operation on the tree has *read*, from the root down, and *written*; how many nodes it has
    made, and how many have gone."""

    __slots__ = ("made", "read", "written")

    def __init__(self) -> None:
        self.read: list[Node] = []
        self.written: dict[Node, None] = {}
        self.made = 0

    def write(self, *nodes: Node) -> None:
        """These are changed."""
        for node in nodes:
            self.written[node] = None


class BTree:
    """The mappings of one replica, by their first page, in the memory of socket *home*."""

    __slots__ = ("_full", "_home", "_key_lines", "_least", "_machine", "_value_lines", "root", "size")

    def __init__(self, machine: Machine, spec: TreeSpec, home: int) -> None:
        self._machine = machine
        self._full = spec.keys
        self._least = spec.keys // 2
        self._key_lines, self._value_lines = spec.key_lines, spec.value_lines
        self._home = home
        self.root = self._new()
        self.size = 0

    def _new(self) -> Node:
        return Node(
            self._machine.line("mappings: keys", self._home, lines=self._key_lines),
            self._machine.line("mappings: values", self._home, lines=self._value_lines),
        )

    # -- looking --------------------------------------------------------------------------------------------

    def floor(self, page: int, touched: Touched | None = None) -> tuple[int, Mapping] | None:
        """The mapping that begins at *page*, or the last one before it."""
        node, best = self.root, None
        while True:
            if touched is not None:
                touched.read.append(node)
            at = bisect_left(node.pages, page)
            if at < len(node.pages) and node.pages[at] == page:
                return page, node.values[at]
            if at:
                best = node.pages[at - 1], node.values[at - 1]
            if not node.children:
                return best
            node = node.children[at]

    def covering(self, page: int, touched: Touched | None = None) -> tuple[int, Mapping] | None:
        """The mapping in which *page* lies, behind its first page."""
        found = self.floor(page, touched)
        return found if found is not None and page < found[0] + found[1].pages else None

    def items(self) -> Iterator[tuple[int, Mapping]]:
        """All mappings, in order."""
        return self._items(self.root)

    def _items(self, node: Node) -> Iterator[tuple[int, Mapping]]:
        for at, page in enumerate(node.pages):
            if node.children:
                yield from self._items(node.children[at])
            yield page, node.values[at]
        if node.children:
            yield from self._items(node.children[-1])

    def within(self, start: int, end: int) -> list[tuple[int, Mapping]]:
        """The mappings that have pages in [*start*, *end*), in order."""
        found: list[tuple[int, Mapping]] = []
        if start >= end:
            return found
        first = self.covering(start)
        if first is not None:
            found.append(first)
        self._within(self.root, start if first is None else first[0] + 1, end, found)
        return found

    def _within(self, node: Node, start: int, end: int, found: list[tuple[int, Mapping]]) -> None:
        at = bisect_left(node.pages, start)
        while True:
            if node.children:
                self._within(node.children[at], start, end, found)
            if at == len(node.pages) or node.pages[at] >= end:
                return
            found.append((node.pages[at], node.values[at]))
            at += 1

    # -- changing -------------------------------------------------------------------------------------------

    def set(self, page: int, mapping: Mapping) -> Touched:
        """The mapping that begins at *page* is this one now."""
        touched = Touched()
        node = self.root
        while True:
            at = bisect_left(node.pages, page)
            if node.pages[at : at + 1] == [page]:
                node.values[at] = mapping
                touched.write(node)
                return touched
            if not node.children:
                break
            node = node.children[at]
        raise KeyError(page)

    def insert(self, page: int, mapping: Mapping) -> Touched:
        """One more, where none begins. Full nodes on the way are split, so that there is room for a key."""
        touched = Touched()
        if len(self.root.pages) == self._full:
            old, self.root = self.root, self._new()
            self.root.children.append(old)
            touched.made += 1
            self._split(self.root, 0, touched)
        node = self.root
        while node.children:
            at = bisect_left(node.pages, page)
            if len(node.children[at].pages) == self._full:
                self._split(node, at, touched)
                at += page > node.pages[at]
            node = node.children[at]
        at = bisect_left(node.pages, page)
        node.pages.insert(at, page)
        node.values.insert(at, mapping)
        touched.write(node)
        self.size += 1
        return touched

    def _split(self, parent: Node, at: int, touched: Touched) -> None:
        left, right, least = parent.children[at], self._new(), self._least
        right.pages, right.values = left.pages[least + 1 :], left.values[least + 1 :]
        right.children = left.children[least + 1 :]
        parent.pages.insert(at, left.pages[least])
        parent.values.insert(at, left.values[least])
        parent.children.insert(at + 1, right)
        del left.pages[least:], left.values[least:], left.children[least + 1 :]
        touched.made += 1
        touched.write(parent, left, right)

    def remove(self, page: int) -> Touched:
        """The mapping that begins at *page* goes. Raises `KeyError` where none does."""
        touched = Touched()
        self._remove(self.root, page, touched)
        if not self.root.pages and self.root.children:
            (self.root,) = self.root.children
            touched.made += 1
        self.size -= 1
        return touched

    def _remove(self, node: Node, page: int, touched: Touched) -> None:
        at = bisect_left(node.pages, page)
        here = at < len(node.pages) and node.pages[at] == page
        if not node.children:
            if not here:
                raise KeyError(page)
            del node.pages[at], node.values[at]
            touched.write(node)
            return
        if here:  # the last one before it takes its place
            node.pages[at], node.values[at] = self._take_last(node.children[at], touched)
            touched.write(node)
        else:
            self._remove(node.children[at], page, touched)
        self._fill(node, at, touched)

    def _take_last(self, node: Node, touched: Touched) -> tuple[int, Mapping]:
        if not node.children:
            touched.write(node)
            return node.pages.pop(), node.values.pop()
        taken = self._take_last(node.children[-1], touched)
        self._fill(node, len(node.children) - 1, touched)
        return taken

    def _fill(self, parent: Node, at: int, touched: Touched) -> None:
        """Child *at* has lost a key. If it has too few it takes a neighbour's, or the two are joined."""
        child = parent.children[at]
        if len(child.pages) >= self._least:
            return
        left = parent.children[at - 1] if at else None
        right = parent.children[at + 1] if at + 1 < len(parent.children) else None
        if left is not None and len(left.pages) > self._least:
            child.pages.insert(0, parent.pages[at - 1])
            child.values.insert(0, parent.values[at - 1])
            parent.pages[at - 1], parent.values[at - 1] = left.pages.pop(), left.values.pop()
            if left.children:
                child.children.insert(0, left.children.pop())
            touched.write(parent, left, child)
        elif right is not None and len(right.pages) > self._least:
            child.pages.append(parent.pages[at])
            child.values.append(parent.values[at])
            parent.pages[at], parent.values[at] = right.pages.pop(0), right.values.pop(0)
            if right.children:
                child.children.append(right.children.pop(0))
            touched.write(parent, child, right)
        else:
            self._join(parent, at - 1 if left is not None else at, touched)

    def _join(self, parent: Node, at: int, touched: Touched) -> None:
        left, right = parent.children[at], parent.children.pop(at + 1)
        left.pages += [parent.pages.pop(at), *right.pages]
        left.values += [parent.values.pop(at), *right.values]
        left.children += right.children
        touched.made += 1
        touched.write(parent, left)
