"""What stands on a track of the timeline: frames that are open, and the pieces of time inside them.

A thread has a stack of frames: what it is asked for (an operation of `sim.mm.operations`), the locks that it
holds, the lock that it waits for. A `Node` is such a stack, as a linked list: most pieces of time have the
stack of the piece before them, and two stacks have in common what they share from the root on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

Notes: TypeAlias = "dict[str, str | int]"
"""What a slice says besides its name."""

Flows: TypeAlias = "tuple[int, ...]"
"""The numbers of arrows that begin or end somewhere."""

Path: TypeAlias = "tuple[str, ...]"
"""The names of a stack's frames in a flame graph, from the root on."""


class Frame:
    """Something that is open on a track for a while.

    *fold* is its name in a flame graph, in which it stands for all of its kind; None leaves it out. *key* is
    what it is found by when it ends. *flows* begin or end where it begins.
    """

    __slots__ = ("category", "flows", "fold", "key", "name", "notes", "shown")

    def __init__(
        self,
        name: str,
        category: str,
        fold: str | None = None,
        key: object = None,
        notes: Notes | None = None,
    ) -> None:
        self.name = name
        self.category = category
        self.fold = fold
        self.key = key
        self.notes: Notes = {} if notes is None else notes
        self.flows: Flows = ()
        self.shown = False


class Node:
    """A stack of frames: *frame* upon those of *parent*. The root has neither."""

    __slots__ = ("depth", "frame", "parent", "path")

    def __init__(self, parent: Node | None = None, frame: Frame | None = None) -> None:
        self.parent = parent
        self.frame = frame
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.path: Path = () if parent is None else parent.path
        if frame is not None and frame.fold is not None:
            self.path = (*self.path, frame.fold)

    def frames(self) -> list[tuple[Node, Frame]]:
        """Its nodes and frames, the root's child first."""
        found = []
        node: Node | None = self
        while node is not None and node.frame is not None:
            found.append((node, node.frame))
            node = node.parent
        return found[::-1]

    def find(self, key: object) -> Frame | None:
        """The uppermost frame that has *key*."""
        node: Node | None = self
        while node is not None and node.frame is not None:
            if node.frame.key == key:
                return node.frame
            node = node.parent
        return None

    def without(self, frame: Frame) -> Node:
        """The stack less *frame*. Frames upon it stand on what was below."""
        if self.frame is frame:
            assert self.parent is not None
            return self.parent
        above: list[Frame] = []
        node: Node = self
        while node.frame is not frame:
            if node.frame is None or node.parent is None:
                return self
            above.append(node.frame)
            node = node.parent
        assert node.parent is not None
        node = node.parent
        for each in reversed(above):
            node = Node(node, each)
        return node


@dataclass(slots=True)
class Piece:
    """Time that a cpu's account charges to *activity*, while the frames of *node* are open.

    *left* of it (ps) has no place in time yet. *how* says what the thread did then: `""` is work of its own,
    anything else stands in brackets. *page* is the page of the account; a wait goes over to the next one at
    each of *turns*. A piece without an activity is a moment, of which *notes* tell.
    """

    node: Node
    activity: str
    how: str
    left: int
    page: int
    notes: Notes | None = None
    turns: list[int] = field(default_factory=list)
    flows: Flows = ()

    def continues(self, node: Node, activity: str, how: str, page: int, notes: Notes | None) -> bool:
        """Whether what comes next is more of the same."""
        return (
            self.node is node
            and self.activity == activity
            and self.how == how
            and self.page == page
            and self.notes == notes
            and not self.turns
        )


@dataclass(slots=True)
class Handler:
    """An interrupt's handler that took the time from *begin* to *end* (ps) from whoever had the cpu."""

    begin: int
    end: int
    page: int
    notes: Notes
    flows: Flows


@dataclass(slots=True)
class Leaf:
    """A slice of one activity: *counted* ps of it are on the page that counts, *other* on another one.

    Handlers inside it are slices of their own, and not in it.
    """

    activity: str
    how: str
    notes: Notes
    flows: Flows
    counted: int = 0
    other: int = 0

    @property
    def name(self) -> str:
        return f"{self.activity} [{self.how}]" if self.how else self.activity


@dataclass(slots=True)
class Moment:
    """A slice without length: something has happened."""

    name: str
    flows: ClassVar[Flows] = ()
    notes: ClassVar[Notes] = {}


@dataclass(slots=True)
class Event:
    """At *time* (ps since the measured part began) *opens* begins on a track, or, None, the last one ends.

    A `Moment` begins and ends at once.
    """

    time: int
    opens: Frame | Leaf | Moment | None
    again: bool = False
    """A frame that was interrupted by another one's end goes on."""
