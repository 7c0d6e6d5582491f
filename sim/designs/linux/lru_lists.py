"""The LRU lists of all nodes: who stands where, oldest first (include/linux/mmzone.h enum lru_list, 6.13).

    inactive    new pages enter at its head; reclaim scans from its tail
    active      what was found used twice; refills the inactive list when that is low
    rotated     the tail of the inactive list: written back, and to be scanned first
    unevictable what lies in locked memory, once a scan has found it there

Anonymous and shared memory have one set of lists, as both go to swap. Left out: lists of files on devices,
which do not exist here, a list for lazyfree pages, which are dropped when a scan comes to them, and the
generations of MGLRU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isqrt
from typing import Final, Literal, TypeAlias

from mypy_extensions import mypyc_attr

from sim.mm import FrameSet, Runs
from sim.quantities import PAGE_BYTES

Which: TypeAlias = Literal["inactive", "active", "rotated", "unevictable"]
_KINDS: Final[tuple[Which, ...]] = ("inactive", "active", "rotated", "unevictable")
_GIB: Final = (1 << 30) // PAGE_BYTES


@mypyc_attr(native_class=False)
class LruSet(FrameSet):
    """The pages on lists, of a kernel that has no swap: nobody scans them, so nobody asks in which order."""

    __slots__ = ()

    def which(self, frame: int) -> Which | None:
        """It is on some list, or on none."""
        return "inactive" if frame in self else None

    def add(self, frame: int, kind: Which = "inactive") -> None:
        """Put *frame*, which stands nowhere, on a list."""
        super().add(frame)

    def move(self, frame: int, kind: Which) -> None:
        """It stays where it is."""

    def isolate(self, node: int, kind: Which, count: int) -> list[int]:
        """There is nothing to reclaim."""
        return []

    def count(self, node: int, *kinds: Which) -> int:
        """The same."""
        return 0

    def inactive_is_low(self, node: int) -> bool:
        """The same."""
        return False


class LruLists:
    """Frames on lists; the nodes have *frames* each. A frame stands on one list at most."""

    __slots__ = ("_frames", "_nodes")

    def __init__(self, nodes: int, frames: int) -> None:
        self._frames = frames
        self._nodes: list[dict[Which, dict[int, None]]] = [
            {kind: {} for kind in _KINDS} for _ in range(nodes)
        ]

    def __contains__(self, frame: int) -> bool:
        return self.which(frame) is not None

    def __iter__(self) -> Iterator[int]:
        for lists in self._nodes:
            for listed in lists.values():
                yield from listed

    def which(self, frame: int) -> Which | None:
        """The list that *frame* stands on."""
        lists = self._nodes[frame // self._frames]
        return next((kind for kind, listed in lists.items() if frame in listed), None)

    def count(self, node: int, *kinds: Which) -> int:
        """How many frames these lists of *node* have."""
        return sum(len(self._nodes[node][kind]) for kind in kinds)

    def add(self, frame: int, kind: Which = "inactive") -> None:
        """Put *frame*, which stands nowhere, at the head of a list."""
        self._nodes[frame // self._frames][kind][frame] = None

    def update(self, frames: Iterable[int]) -> None:
        """`add` each, if it stands nowhere."""
        for frame in frames:
            if frame not in self:
                self.add(frame)

    def discard(self, frame: int) -> None:
        """Take *frame* off its list, if it stands on one."""
        for listed in self._nodes[frame // self._frames].values():
            if frame in listed:
                del listed[frame]
                return

    @property
    def runs(self) -> Runs:
        """With swap there are no runs of frames (`prepopulate`)."""
        return Runs()

    def add_run(self, frames: range) -> None:
        """`add` each."""
        self.update(frames)

    def part(self, frames: range) -> list[int | range]:
        """Those of *frames* that stand somewhere."""
        return [frame for frame in frames if frame in self]

    def discard_all(self, frames: Sequence[int | range]) -> None:
        """`discard` each, one by one or many side by side."""
        for each in frames:
            for frame in each if isinstance(each, range) else (each,):
                self.discard(frame)

    def move(self, frame: int, kind: Which) -> None:
        """From its list, if it stands on one, to the head of another."""
        if frame in self:
            self.discard(frame)
            self.add(frame, kind)

    def isolate(self, node: int, kind: Which, count: int) -> list[int]:
        """isolate_lru_folios: take up to *count* frames off the tail of a list."""
        taken: list[int] = []
        for each in ("rotated", "inactive") if kind == "inactive" else (kind,):
            listed = self._nodes[node][each]
            for frame in list(listed)[: count - len(taken)]:
                del listed[frame]
                taken.append(frame)
        return taken

    def inactive_is_low(self, node: int) -> bool:
        """inactive_is_low: the more memory, the smaller the share that the inactive list needs."""
        inactive, active = self.count(node, "inactive", "rotated"), self.count(node, "active")
        gib = (inactive + active) // _GIB
        return inactive * (isqrt(10 * gib) if gib else 1) < active
