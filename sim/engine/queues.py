"""What is to happen, in order: the engine's queue, in two makes that give the same order.

    HeapQueue   entries are tuples in the library's heap: what is fastest where the model is interpreted, and
                all that schedules need that give keys of their own or want to be asked
    NodeQueue   entries are objects, compared in compiled code: for `fifo` only, whose keys it counts itself

An entry is (time, priority, key, item), and the lowest is next. `Engine` has the loops over both.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, final

from mypy_extensions import i64

from sim.engine.schedule import Entry
from sim.engine.thread import Thread

UNLIMITED: Final = 1 << 62
"""A time (ps), or a number of events, that no run reaches."""


@final
class Background:
    """Something to call that matters only while threads live: *dropped* when none does."""

    __slots__ = ("dropped", "function")

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function
        self.dropped = False

    def __call__(self) -> None:
        self.function()


class EventQueue:
    """What both makes do."""

    __slots__ = ()

    def put(self, at: int, priority: int, item: object) -> None:
        """*item* is to happen at time *at* (ps)."""
        raise NotImplementedError

    def first(self) -> int:
        """The time of what is next, `UNLIMITED` if nothing is."""
        raise NotImplementedError

    def first_call(self) -> int:
        """The time of what is next of all that is no thread going on, `UNLIMITED` if nothing is."""
        raise NotImplementedError

    def drop_background(self) -> None:
        """Remove what is `Background`, and tell it."""
        raise NotImplementedError


@final
class HeapQueue(EventQueue):
    """Tuples in *heap*, with keys that *next_key* gives."""

    __slots__ = ("heap", "next_key")

    def __init__(self, next_key: Callable[[], int]) -> None:
        self.heap: list[Entry] = []
        self.next_key = next_key

    def put(self, at: int, priority: int, item: object) -> None:
        heappush(self.heap, (at, priority, self.next_key(), item))

    def first(self) -> int:
        return self.heap[0][0] if self.heap else UNLIMITED

    def first_call(self) -> int:
        return min((entry[0] for entry in self.heap if type(entry[3]) is not Thread), default=UNLIMITED)

    def drop_background(self) -> None:
        kept = [entry for entry in self.heap if type(entry[3]) is not Background]
        if len(kept) < len(self.heap):
            for *_, item in self.heap:
                if type(item) is Background:
                    item.dropped = True
            self.heap[:] = kept
            heapify(self.heap)

    def take(self) -> Entry:
        """Remove what is next."""
        return heappop(self.heap)


@final
class Node:
    """An entry of a `NodeQueue`."""

    __slots__ = ("at", "item", "key", "priority")

    def __init__(self, at: int, priority: int, key: int, item: object) -> None:
        self.at = at
        self.priority = priority
        self.key = key
        self.item: Any = item


def _precedes(one: Node, other: Node) -> bool:
    if one.at != other.at:
        return one.at < other.at
    if one.priority != other.priority:
        return one.priority < other.priority
    return one.key < other.key


@final
class NodeQueue(EventQueue):
    """A binary heap of nodes, whose keys count them in the order of creation."""

    __slots__ = ("_created", "heap")

    def __init__(self) -> None:
        self.heap: list[Node] = []
        self._created = 0

    def put(self, at: int, priority: int, item: object) -> None:
        key = self._created
        self._created = key + 1
        self.restore(Node(at, priority, key, item))

    def restore(self, node: Node) -> None:
        """Put *node*, which has been taken, as it is."""
        heap = self.heap
        at = node.at
        hole: i64 = len(heap)
        heap.append(node)
        while hole > 0:
            above: i64 = (hole - 1) >> 1
            parent = heap[above]
            if parent.at < at or (parent.at == at and not _precedes(node, parent)):
                break
            heap[hole] = parent
            hole = above
        heap[hole] = node

    def take(self) -> Node:
        """Remove what is next; there is something."""
        last = self.heap.pop()
        return self._replace_first(last) if self.heap else last

    def put_and_take(self, node: Node, at: int) -> Node:
        """*node*, which has been taken, is a new entry for time *at* at the priority that it has; remove what
        is next then."""
        node.at = at
        key = self._created
        node.key = key
        self._created = key + 1
        heap = self.heap
        if not heap:
            return node
        first = heap[0]
        if first.at > at or (first.at == at and _precedes(node, first)):
            return node
        return self._replace_first(node)

    def _replace_first(self, node: Node) -> Node:
        """Value: the first; *node* is in its stead, and then where it belongs."""
        heap = self.heap
        first = heap[0]
        size: i64 = len(heap)
        at = node.at
        hole: i64 = 0
        child: i64 = 1
        while child < size:
            least = heap[child]
            beside: i64 = child + 1
            if beside < size:
                other = heap[beside]
                if other.at < least.at or (other.at == least.at and _precedes(other, least)):
                    least = other
                    child = beside
            if least.at > at or (least.at == at and not _precedes(least, node)):
                break
            heap[hole] = least
            hole = child
            child = 2 * hole + 1
        heap[hole] = node
        return first

    def first(self) -> int:
        return self.heap[0].at if self.heap else UNLIMITED

    def first_call(self) -> int:
        found = UNLIMITED
        for node in self.heap:
            if node.at < found and not isinstance(node.item, Thread):
                found = node.at
        return found

    def drop_background(self) -> None:
        nodes = self.heap
        self.heap = []
        for node in nodes:
            if isinstance(node.item, Background):
                node.item.dropped = True
            else:
                self.restore(node)
