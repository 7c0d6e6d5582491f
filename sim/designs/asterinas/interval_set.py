"""The set of mappings of a Vmar: a B-tree by their first page (kernel/core/src/vm/vmar/interval_set.rs).

It is the BTreeMap of Rust's alloc (library/alloc/src/collections/btree): nodes of 5 to 11 entries, keys
beside each other, the mappings themselves in the nodes. A full node is split before the entry comes in; where
it comes in tells where. One that has become too small joins a neighbour, or takes an entry from it.

    node   [ number, parent, 11 keys, 12 edges ] 2 lines | mapping | mapping | ...   1 line each (64 bytes)
    find   for each level: the keys and the edge; then the mapping
    insert the same, and everything behind the place moves up by one: its lines, too

Nobody writes while others read, as the Vmar's lock says. So a change is done at once, and its stores follow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.designs.asterinas.mapping import Mapping
from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import Footprint

if TYPE_CHECKING:
    from sim.designs.asterinas.spec import VmarCosts
    from sim.engine.costs import AtClock

MAPPINGS: Final = Activity("mappings")

CAPACITY: Final = 11
LEAST: Final = 5
LEAF_BYTES: Final = 808
"""11 keys, 11 mappings of 64 bytes, the parent and two small numbers."""
INNER_BYTES: Final = LEAF_BYTES + 96
"""And 12 edges."""


class Node:
    """*entries* by their first page; an inner node has a child before each and one behind the last."""

    __slots__ = ("children", "entries", "keys", "lines")

    def __init__(self, keys: CacheLine) -> None:
        self.entries: list[Mapping] = []
        self.children: list[Node] = []
        self.keys = keys
        self.lines: dict[int, CacheLine] = {}


class IntervalSet:
    """The mappings of one space, which *cpu* makes."""

    def __init__(self, machine: Machine, cpu: Cpu, cost: AtClock[VmarCosts], footprint: Footprint) -> None:
        self._machine = machine
        self._cost = cost
        self._footprint = footprint
        self._root_line = machine.line("root of the mappings", cpu.socket, owner=cpu.id)
        self.root: Node | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Mapping]:
        return iter(()) if self.root is None else _walk(self.root)

    def at(self, page: int) -> Mapping | None:
        """The mapping of *page*, in no time."""
        node, found = self.root, None
        while node is not None:
            index = _behind(node, page)
            if index:
                found = node.entries[index - 1]
            node = node.children[index] if node.children else None
        return found if found is not None and page < found.end else None

    # -- looks ----------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, page: int) -> Steps[Mapping | None]:
        """`find_one`: the mapping of *page*."""
        found = yield from self.before(cpu, page + 1)
        return found if found is not None and page < found.end else None

    def before(self, cpu: Cpu, page: int) -> Steps[Mapping | None]:
        """`find_prev`: the last one that begins before *page*."""
        place: tuple[Node, int] | None = None
        for node, index in (yield from self._descend(cpu, page)):
            if index:
                place = node, index - 1
        return (yield from self._load(cpu, place))

    def after(self, cpu: Cpu, page: int) -> Steps[Mapping | None]:
        """`find_next`: the first one that begins behind *page*."""
        place: tuple[Node, int] | None = None
        for node, index in (yield from self._descend(cpu, page + 1)):
            if index < len(node.entries):
                place = node, index
        return (yield from self._load(cpu, place))

    def over(self, cpu: Cpu, start: int, end: int) -> Steps[list[Mapping]]:
        """`find`: all that have a page in [*start*, *end*), in order."""
        found: list[Mapping] = []
        first = yield from self.find(cpu, start)
        if first is not None:
            found.append(first)
        page = start
        while (following := (yield from self._next(cpu, page))) is not None and following.start < end:
            found.append(following)
            page = following.start
        return found

    def room(self, cpu: Cpu, pages: int, low: int, high: int) -> Steps[int | None]:
        """`alloc_free_region_in_range`: the first page of the highest room for so many in [*low*, *high*).

        One mapping after the other is looked at, from the highest one down, until there is room behind it.
        """
        cpu.work(self._cost.node, MAPPINGS)
        yield from self._root_line.read(cpu, MAPPINGS)
        ceiling, last = high, None
        for node, index in () if self.root is None else _places_down(self.root):
            if node is not last:
                yield from node.keys.read(cpu, MAPPINGS)
                last = node
            cpu.work(self._cost.gap, MAPPINGS)
            mapping = yield from self._load(cpu, (node, index))
            assert mapping is not None
            if ceiling - pages >= max(mapping.end, low):
                return ceiling - pages
            ceiling = min(ceiling, mapping.start)
            if ceiling <= low:
                return None
        return ceiling - pages if ceiling - pages >= low else None

    def _next(self, cpu: Cpu, page: int) -> Steps[Mapping | None]:
        """The step of a cursor to the first mapping behind *page*, which is beside where it is."""
        node, place = self.root, None
        while node is not None:
            index = _behind(node, page)
            if index < len(node.entries):
                place = node, index
            node = node.children[index] if node.children else None
        if place is not None:
            cpu.work(self._cost.gap, MAPPINGS)
            yield from place[0].keys.read(cpu, MAPPINGS)
        return (yield from self._load(cpu, place))

    def _descend(self, cpu: Cpu, page: int) -> Steps[list[tuple[Node, int]]]:
        """The nodes on the way, each with how many of its entries begin before *page*."""
        way: list[tuple[Node, int]] = []
        yield from self._root_line.read(cpu, MAPPINGS)
        node = self.root
        while node is not None:
            cpu.work(self._cost.node, MAPPINGS)
            yield from node.keys.read(cpu, MAPPINGS)
            index = bisect_left(node.entries, page, key=_start)
            way.append((node, index))
            node = node.children[index] if node.children else None
        return way

    def _load(self, cpu: Cpu, place: tuple[Node, int] | None) -> Steps[Mapping | None]:
        if place is None:
            return None
        node, index = place
        mapping = node.entries[index]
        yield from self._line(cpu, node, index).read(cpu, MAPPINGS)
        return mapping

    # -- changes --------------------------------------------------------------------------------------------

    def insert(self, cpu: Cpu, mapping: Mapping) -> Steps[None]:
        """A mapping where there is none."""
        way = yield from self._descend(cpu, mapping.start)
        self._size += 1
        entry, right = mapping, None
        for node, index in reversed(way):
            cpu.work(self._cost.insert, MAPPINGS)
            if len(node.entries) < CAPACITY:
                _put(node, index, entry, right)
                yield from self._stored(cpu, node, index)
                return
            middle, beside, at = _split_at(index)
            new = self._new_node(cpu, inner=bool(node.children))
            up = node.entries[middle]
            new.entries = node.entries[middle + 1 :]
            del node.entries[middle:]
            if node.children:
                new.children = node.children[middle + 1 :]
                del node.children[middle + 1 :]
            _put(new if beside else node, at, entry, right)
            yield from self._stored(cpu, node, at if not beside else len(node.entries))
            yield from self._stored(cpu, new, 0)
            entry, right = up, new
        old, self.root = self.root, self._new_node(cpu, inner=right is not None)
        self.root.entries = [entry]
        if old is not None:
            assert right is not None
            self.root.children = [old, right]
        yield from self._stored(cpu, self.root, 0)
        yield from self._root_line.store(cpu, MAPPINGS)

    def remove(self, cpu: Cpu, start: int) -> Steps[Mapping]:
        """The mapping that begins at *start* goes. Value: what it was. One from an inner node is replaced by
        the last one before it."""
        way = yield from self._descend(cpu, start)
        depth = next(
            number
            for number, (node, index) in enumerate(way)
            if index < len(node.entries) and node.entries[index].start == start
        )
        self._size -= 1
        node, index = way[depth]
        mapping = yield from self._load(cpu, (node, index))
        assert mapping is not None
        cpu.work(self._cost.remove, MAPPINGS)
        if node.children:
            del way[depth + 1 :]
            inner, leaf = node, node.children[index]
            while leaf.children:
                way.append((leaf, len(leaf.entries)))
                leaf = leaf.children[-1]
            way.append((leaf, len(leaf.entries) - 1))
            for each, _ in way[depth + 1 :]:
                cpu.work(self._cost.node, MAPPINGS)
                yield from each.keys.read(cpu, MAPPINGS)
            inner.entries[index] = leaf.entries.pop()
            yield from self._stored(cpu, inner, index, index + 1)
        else:
            del node.entries[index]
        node, index = way[-1]
        yield from self._stored(cpu, node, index)
        yield from self._mend(cpu, way)
        return mapping

    def _mend(self, cpu: Cpu, way: list[tuple[Node, int]]) -> Steps[None]:
        """Nodes on the *way* that have too few entries join a neighbour, or take one from it."""
        while len(way) > 1 and len(way[-1][0].entries) < LEAST:
            way.pop()
            parent, where = way[-1]
            cpu.work(self._cost.insert, MAPPINGS)
            left_one = where > 0
            number = where - 1 if left_one else where
            left, right = parent.children[number], parent.children[number + 1]
            yield from (left if left_one else right).keys.read(cpu, MAPPINGS)
            if len(left.entries) + 1 + len(right.entries) <= CAPACITY:
                old = len(left.entries)
                left.entries += [parent.entries.pop(number), *right.entries]
                left.children += right.children
                del parent.children[number + 1]
                yield from self._stored(cpu, left, old)
                yield from self._stored(cpu, parent, number)
                self._count(inner=bool(right.children), number=-1)
                continue
            if left_one:
                right.entries.insert(0, parent.entries[number])
                parent.entries[number] = left.entries.pop()
                if left.children:
                    right.children.insert(0, left.children.pop())
            else:
                left.entries.append(parent.entries[number])
                parent.entries[number] = right.entries.pop(0)
                if right.children:
                    left.children.append(right.children.pop(0))
            yield from self._stored(cpu, left, 0 if not left_one else len(left.entries))
            yield from self._stored(cpu, right, 0)
            yield from self._stored(cpu, parent, number, number + 1)
            return
        if self.root is not None and not self.root.entries:
            self._count(inner=bool(self.root.children), number=-1)
            self.root = self.root.children[0] if self.root.children else None
            yield from self._root_line.store(cpu, MAPPINGS)

    def clear(self, cpu: Cpu) -> Steps[None]:
        """Nothing is in it any more."""
        for _, node in () if self.root is None else _nodes(self.root):
            cpu.work(self._cost.node_alloc + len(node.entries) * self._cost.remove, MAPPINGS)
            self._count(inner=bool(node.children), number=-1)
        self.root, self._size = None, 0
        yield from self._root_line.store(cpu, MAPPINGS)

    # -- nodes and lines ------------------------------------------------------------------------------------

    def _new_node(self, cpu: Cpu, *, inner: bool) -> Node:
        cpu.work(self._cost.node_alloc, MAPPINGS)
        self._count(inner=inner, number=1)
        return Node(self._machine.line("keys of mappings", cpu.socket, owner=cpu.id, lines=2))

    def _count(self, *, inner: bool, number: int) -> None:
        self._footprint.add("vma", number * (INNER_BYTES if inner else LEAF_BYTES))

    def _line(self, cpu: Cpu, node: Node, index: int) -> CacheLine:
        line = node.lines.get(index)
        if line is None:
            line = node.lines[index] = self._machine.line("mapping", node.keys.home, owner=cpu.id)
        return line

    def _stored(self, cpu: Cpu, node: Node, start: int, stop: int | None = None) -> Steps[None]:
        """The keys of *node*, and its entries from *start* on, have been written."""
        yield from node.keys.store(cpu, MAPPINGS)
        for index in range(start, len(node.entries) if stop is None else stop):
            yield from self._line(cpu, node, index).store(cpu, MAPPINGS)

    def contradictions(self) -> Iterator[str]:
        """What is no such tree."""
        if self.root is not None:
            depths = {depth for depth, node in _nodes(self.root) if not node.children}
            if len(depths) > 1:
                yield f"leaves of the mappings' tree lie {sorted(depths)} deep"
            for _, node in _nodes(self.root):
                least = 1 if node is self.root else LEAST
                if not least <= len(node.entries) <= CAPACITY:
                    yield f"a node of the mappings' tree has {len(node.entries)} entries"
                if node.children and len(node.children) != len(node.entries) + 1:
                    yield f"a node with {len(node.entries)} mappings has {len(node.children)} children"
        if self._size != sum(1 for _ in self):
            yield f"{self._size} mappings are counted, and {sum(1 for _ in self)} there"


def _start(mapping: Mapping) -> int:
    return mapping.start


def _behind(node: Node, page: int) -> int:
    """How many entries of *node* begin at *page* or before."""
    return bisect_right(node.entries, page, key=_start)


def _put(node: Node, index: int, entry: Mapping, right: Node | None) -> None:
    node.entries.insert(index, entry)
    if right is not None:
        node.children.insert(index + 1, right)


def _split_at(index: int) -> tuple[int, bool, int]:
    """`splitpoint`: which entry of a full node goes up, whether the new one goes to the right half, and where
    in its half."""
    if index < LEAST:
        return LEAST - 1, False, index
    if index == LEAST:
        return LEAST, False, index
    if index == LEAST + 1:
        return LEAST, True, 0
    return LEAST + 1, True, index - (LEAST + 2)


def _walk(node: Node) -> Iterator[Mapping]:
    for number, entry in enumerate(node.entries):
        if node.children:
            yield from _walk(node.children[number])
        yield entry
    if node.children:
        yield from _walk(node.children[-1])


def _places_down(node: Node) -> Iterator[tuple[Node, int]]:
    """Where all entries are, the last one first."""
    if node.children:
        yield from _places_down(node.children[-1])
    for index in reversed(range(len(node.entries))):
        yield node, index
        if node.children:
            yield from _places_down(node.children[index])


def _nodes(node: Node, depth: int = 0) -> Iterator[tuple[int, Node]]:
    yield depth, node
    for child in node.children:
        yield from _nodes(child, depth + 1)
