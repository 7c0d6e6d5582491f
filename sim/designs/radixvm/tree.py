"""The radix tree over page numbers: what is mapped, and locks of ranges (include/radix_array.hh).

Nodes of 512 slots stand above leaves, whose slots are pages' descriptors. A node whose pages are all alike is
not there: its parent's slot has one descriptor for all of them, or is empty (*folded*). It is made when an
operation needs a part of it, and never folded again.

    lock        the slots that cover a range, as far down as there are nodes, from left to right, a bit in
                each. Where a slot is folded that is more than was asked for
    expand      a new node; each of its slots gets the value and the lock bit of the parent's slot, whose own
                bit is gone with the compare-and-swap that links the node. So what was locked stays locked
    a waiter    that gets the bit of a slot which leads to a node by then lets it go, and goes down

Who has read the upper nodes once has their lines, and nobody writes them any more: cores that work on
different leaves have no line in common.

One thing is done in another order than in sv6: nodes that an assignment needs are made before anything is
changed, so that an operation that finds no memory for them changes nothing. (sv6 throws half way.)

Source: aclements/sv6 at 9271b3f, include/radix_array.hh.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from sim.designs.radixvm.slots import (
    ALL_PAGES,
    LOCK_SLOT,
    TREE,
    Desc,
    Geometry,
    Node,
)
from sim.engine import Steps
from sim.hardware import Cpu
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.radixvm.kernel import RadixKernel

Place: TypeAlias = tuple[Node, int]
"""A node and one of its slots."""


class Held(NamedTuple):
    """The pages [*start*, *end*) are locked, which may be more than were asked for."""

    start: int
    end: int


class RadixTree:
    """The tree of one address space; *owner* is that space, for those who listen."""

    __slots__ = ("_cost", "_kernel", "_machine", "_pause", "_shape", "owner", "root")

    def __init__(self, kernel: RadixKernel, cpu: Cpu, owner: object) -> None:
        self._kernel = kernel
        self._machine = kernel.machine
        self._cost = kernel.cost
        self._pause = kernel.pause
        self._shape = Geometry(kernel.spec.tree.node, kernel.spec.tree.leaf_slot)
        self.owner = owner
        self.root = self._make(self._shape.top, 0, -1, cpu.socket, cpu, None, None)
        """Its one slot is the word in the address space that leads to the tree (root_)."""

    def _make(
        self, level: int, base: int, frame: int, home: int, cpu: Cpu, value: Desc | None, holder: Cpu | None
    ) -> Node:
        shape = self._shape
        return Node(self._machine, level, base, frame, home, cpu, shape=shape, value=value, holder=holder)

    # -- walks ----------------------------------------------------------------------------------------------

    def find(self, cpu: Cpu, page: int, near: Node | None = None) -> Steps[Place]:
        """The last slot on the way to *page*; *near* is a node to begin from, if the page lies below it."""
        node = self.root if near is None or not _below(near, page) else near
        hit = self._machine.fabric.hit
        while True:
            slot = node.slot_of(page)
            if not node.level:
                return node, slot
            cpu.work(self._cost.descend, TREE)
            if node.is_own(slot, cpu):
                cpu.stall(hit, TREE)
            else:
                line = node.line(slot)
                if line.held_by(cpu):
                    cpu.stall(hit, TREE)
                else:
                    yield from line.read(cpu, TREE)
            there = node.slots[slot]
            if not isinstance(there, Node):
                return node, slot
            node = there

    def slots(self, cpu: Cpu, start: int, end: int) -> Steps[list[Place]]:
        """The last slots on the way to pages [*start*, *end*), in order."""
        found: list[Place] = []
        node: Node | None = None
        page = start
        while page < end:
            node, slot = yield from self.find(cpu, page, node)
            cpu.work(self._cost.slot, TREE)
            found.append((node, slot))
            page = node.first_page(slot) + node.span
        return found

    # -- locks ----------------------------------------------------------------------------------------------

    def acquire(self, cpu: Cpu, start: int, end: int) -> Steps[Held]:
        """Lock all slots that cover pages [*start*, *end*), from left to right."""
        node, slot = yield from self.find(cpu, start)
        first, last = node.first_page(slot), end
        if end < ALL_PAGES and end > first + node.span:
            node, slot = yield from self.find(cpu, end, node)
        if end < ALL_PAGES and node.first_page(slot) < end:
            last = node.first_page(slot) + node.span
        page, near = first, node
        while page < last:
            near, slot = yield from self._lock(cpu, page, near)
            page = near.first_page(slot) + near.span
        if cpu.heard:
            cpu.probe.range_locked(self.owner, cpu, first, last)
        return Held(first, last)

    def _lock(self, cpu: Cpu, page: int, near: Node) -> Steps[Place]:
        """Lock the last slot on the way to *page*."""
        node, slot = yield from self.find(cpu, page, near)
        while True:
            yield from node.lock(slot).acquire(cpu, self._pause)
            if not isinstance(node.slots[slot], Node):
                return node, slot
            yield from node.lock(slot).release(cpu)
            node, slot = yield from self.find(cpu, page, node)

    def release(self, cpu: Cpu, held: Held) -> Steps[None]:
        """Unlock what is locked, whatever nodes have been made in it, from left to right."""
        if cpu.heard:
            cpu.probe.range_unlocked(self.owner, cpu, held.start, held.end)
        node: Node | None = None
        page = held.start
        while page < held.end:
            node, slot = yield from self.find(cpu, page, node)
            if cpu.plain_locks and (number := node.own_values(slot, cpu)) > 1:
                number = min(number, -(-(held.end - page) // node.span))
                self._release_own(cpu, node, slot, number)
                page += number * node.span
                continue
            yield from node.lock(slot).release(cpu)
            page = node.first_page(slot) + node.span

    def _release_own(self, cpu: Cpu, node: Node, slot: int, number: int) -> None:
        """So many slots side by side, whose lines *cpu* has had since it made the node: what `find` and the
        release of each lock take, but for the first `find`, which has been."""
        hit = self._machine.fabric.hit
        node.holders[slot : slot + number] = [None] * number
        cpu.stall(number * hit, LOCK_SLOT)
        if node.level:
            cpu.stall((number - 1) * hit, TREE)
            for _ in range(1, number):
                cpu.work(self._cost.descend, TREE)

    # -- values ---------------------------------------------------------------------------------------------

    def open(
        self, cpu: Cpu, start: int, end: int, *, unset: bool = False, folded: bool = True
    ) -> Steps[list[Place]]:
        """Make the nodes without which [*start*, *end*) cannot have a value of its own. Value: the slots that
        are it, as high up as they cover nothing else, or all of them leaves' if not *folded*. The caller has
        locked them. Where they are to be *unset* and are, none is made and there is no such slot.

        Raises `OutOfMemory`; what has been made then stays.
        """
        places: list[Place] = []
        near: Node | None = None
        page = start
        while page < end:
            level = 0
            while folded and not page % self._span(level + 1) and page + self._span(level + 1) <= end:
                level += 1
            place = yield from self._open(cpu, page, level, near, unset=unset)
            if place is not None:
                places.append(place)
                near = place[0]
            page += self._span(level)
        return places

    def _span(self, level: int) -> int:
        return 1 << self._shape.shift(level)

    def _open(
        self, cpu: Cpu, page: int, level: int, near: Node | None, *, unset: bool
    ) -> Steps[Place | None]:
        """The slot of *page* at *level*."""
        usable = near is not None and near.level >= level
        node, slot = yield from self.find(cpu, page, near if usable else None)
        if node.level < level:
            node = self._above(page, level)
            return node, node.slot_of(page)
        while node.level > level:
            if unset and node.slots[slot] is None:
                return None
            node = yield from self._expand(cpu, node, slot)
            slot = node.slot_of(page)
            if isinstance(node.slots[slot], Node) and node.level > level:
                node, slot = yield from self.find(cpu, page, node)
        return node, slot

    def _above(self, page: int, level: int) -> Node:
        """The node of *level* on the way to *page*, which leads on down."""
        node = self.root
        while node.level > level:
            below = node.slots[node.slot_of(page)]
            assert isinstance(below, Node)
            node = below
        return node

    def _expand(self, cpu: Cpu, node: Node, slot: int) -> Steps[Node]:
        """A node below *slot*, with what the slot says in all of its slots, locked if it is. Raises
        `OutOfMemory`."""
        frames, memory = self._kernel.frames, self._machine.memory
        value, holder = node.slots[slot], node.holders[slot]
        assert not isinstance(value, Node)
        frame = yield from frames.allocate(cpu)
        where = frames.node(cpu, frame)
        yield from memory.clear_page(cpu, where, frame)
        cpu.work(self._cost.node_alloc, TREE)
        home = self._machine.spec.topology.socket_of_node(where)
        child = self._make(node.level - 1, node.first_page(slot), frame, home, cpu, value, holder)
        if value is not None:
            cpu.work(len(child.slots) * self._cost.fill_slot, TREE)
            if child.level:
                cpu.work(len(child.slots) * self._cost.external, TREE)
        yield from node.line(slot).write(cpu, TREE)  # compare and swap
        there = node.slots[slot]
        if isinstance(there, Node):  # somebody else was faster
            yield from frames.free(cpu, frame)
            return there
        node.slots[slot] = child
        if holder is not None:
            node.lock(slot).cleared(cpu)
        self._kernel.footprint.add("vma", PAGE_BYTES)
        if holder is not None and not cpu.plain_locks:
            self._tell_locked(cpu, node, slot, child)
        return child

    def _tell_locked(self, cpu: Cpu, node: Node, slot: int, child: Node) -> None:
        """Those who listen to locks hear that the bit of *slot* has become one of each slot of *child*."""
        cpu.probe.lock_release(node.lock(slot), cpu, "write")
        for each in range(len(child.slots)):
            lock = child.lock(each)
            cpu.probe.lock_wait(lock, cpu, "write")
            cpu.probe.lock_acquired(lock, cpu, "write")

    def assign(self, cpu: Cpu, places: Sequence[Place], value: Desc | None) -> Steps[None]:
        """The pages of *places*, which are `open` and locked, are as *value* says, each a copy of it."""
        for node, slot in places:
            yield from self._assign(cpu, node, slot, value)

    def _assign(self, cpu: Cpu, node: Node, slot: int, value: Desc | None) -> Steps[None]:
        there = node.slots[slot]
        if isinstance(there, Node):
            for each in range(len(there.slots)):
                yield from self._assign(cpu, there, each, value)
            return
        if value is None and there is None:
            return
        cpu.work(self._cost.fill_slot, TREE)
        if node.level and (value is None or there is None):
            cpu.work(self._cost.external, TREE)
        yield from self.write(cpu, node, slot)
        node.slots[slot] = None if value is None else value.copy()

    def write(self, cpu: Cpu, node: Node, slot: int) -> Steps[None]:
        """A store to *slot*."""
        if node.is_own(slot, cpu):
            cpu.stall(self._machine.fabric.hit, TREE)
        else:
            yield from node.line(slot).store(cpu, TREE)

    # -- without time ---------------------------------------------------------------------------------------

    def at(self, page: int) -> Desc | None:
        """What is said of *page*."""
        if not 0 <= page < ALL_PAGES:
            return None
        there: Node | Desc | None = self.root
        while isinstance(there, Node):
            there = there.slots[there.slot_of(page)]
        return there

    def values(self) -> Iterator[tuple[int, int, Desc]]:
        """All that is set, in order: a first page, the number of pages, what is said of them."""
        return _values(self.root)

    def nodes(self) -> Iterator[Node]:
        """All nodes but the root, parents first."""
        return _nodes(self.root)

    def clear(self) -> list[Node]:
        """Empty the tree. Value: the nodes that were in it."""
        gone = list(self.nodes())
        self.root.slots[0] = None
        return gone


def _below(node: Node, page: int) -> bool:
    return node.base <= page < node.first_page(len(node.slots))


def _values(node: Node) -> Iterator[tuple[int, int, Desc]]:
    for slot, there in enumerate(node.slots):
        if isinstance(there, Node):
            yield from _values(there)
        elif there is not None:
            yield node.first_page(slot), node.span, there


def _nodes(node: Node) -> Iterator[Node]:
    for there in node.slots:
        if isinstance(there, Node):
            yield there
            yield from _nodes(there)
