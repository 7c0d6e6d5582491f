"""The LRU lists of all nodes: who stands where, oldest first (include/linux/mmzone.h enum lru_list, 6.13).

    inactive    new pages enter at its head; reclaim scans from its tail
    active      what was found used twice; refills the inactive list when that is low
    rotated     the tail of the inactive list: written back, and to be scanned first
    unevictable what lies in locked memory, once a scan has found it there

Anonymous and shared memory have one set of lists, as both go to swap. Left out: lists of files on devices,
which do not exist here, a list for lazyfree pages, which are dropped when a scan comes to them, and the
generations of MGLRU.

Frames that were populated in bulk (`runs`) are the oldest ones of the inactive list, until they are moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isqrt
from typing import Final, Literal, TypeAlias

from sim.mm import Runs
from sim.quantities import PAGE_BYTES

Which: TypeAlias = Literal["inactive", "active", "rotated", "unevictable"]
_KINDS: Final[tuple[Which, ...]] = ("inactive", "active", "rotated", "unevictable")
_GIB: Final = (1 << 30) // PAGE_BYTES


class LruLists:
    """Frames on lists; the nodes have *frames* each. A frame stands on one list at most."""

    __slots__ = ("_frames", "_nodes", "runs")

    def __init__(self, nodes: int, frames: int) -> None:
        self._frames = frames
        self._nodes: list[dict[Which, dict[int, None]]] = [
            {kind: {} for kind in _KINDS} for _ in range(nodes)
        ]
        self.runs = Runs()

    def __contains__(self, frame: int) -> bool:
        return self.which(frame) is not None

    def __iter__(self) -> Iterator[int]:
        """All but those in runs."""
        for lists in self._nodes:
            for listed in lists.values():
                yield from listed

    def which(self, frame: int) -> Which | None:
        """The list that *frame* stands on."""
        lists = self._nodes[frame // self._frames]
        found = next((kind for kind, listed in lists.items() if frame in listed), None)
        return "inactive" if found is None and self.runs and frame in self.runs else found

    def count(self, node: int, *kinds: Which) -> int:
        """How many frames these lists of *node* have."""
        runs = self._runs_of(node) if "inactive" in kinds and self.runs else ()
        return sum(len(self._nodes[node][kind]) for kind in kinds) + sum(map(len, runs))

    def _runs_of(self, node: int) -> list[range]:
        parts = self.runs.within(node * self._frames, (node + 1) * self._frames)
        return [range(run.start, run.end) for run in parts]

    def add(self, frame: int, kind: Which = "inactive") -> None:
        """Put *frame*, which stands nowhere, at the head of a list."""
        self._nodes[frame // self._frames][kind][frame] = None

    def update(self, frames: Iterable[int]) -> None:
        """`add` each, if it stands nowhere."""
        for frame in frames:
            if frame not in self:
                self.add(frame)

    def add_run(self, frames: range) -> None:
        """*frames*, which stand nowhere, have long been on the inactive list."""
        self.runs.add(frames.start, frames.stop, 1)

    def discard(self, frame: int) -> None:
        """Take *frame* off its list, if it stands on one."""
        for listed in self._nodes[frame // self._frames].values():
            if frame in listed:
                del listed[frame]
                return
        if self.runs:
            self.runs.cut(frame, frame + 1)

    def discard_all(self, frames: Sequence[int | range]) -> None:
        """`discard` of each of *frames*, one by one or many side by side."""
        for each in frames:
            if isinstance(each, range):
                self.runs.cut(each.start, each.stop)
                for listed in self._nodes[each.start // self._frames].values():
                    for frame in listed.keys() & set(each) if listed else ():
                        del listed[frame]
            else:
                self.discard(each)

    def part(self, frames: range) -> list[int | range]:
        """Those of *frames*, all of one node, that stand on a list."""
        found: list[int | range] = [
            range(run.start, run.end) for run in self.runs.within(frames.start, frames.stop)
        ]
        for listed in self._nodes[frames.start // self._frames].values():
            if listed:
                found += sorted(listed.keys() & set(frames))
        return found

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
            if each == "inactive" and self.runs:
                taken += self._isolate_from_runs(node, count - len(taken))
            for frame in list(listed)[: count - len(taken)]:
                del listed[frame]
                taken.append(frame)
        return taken

    def _isolate_from_runs(self, node: int, count: int) -> list[int]:
        taken: list[int] = []
        for run in self._runs_of(node):
            taken += run[: count - len(taken)]
        for frame in taken:
            self.runs.cut(frame, frame + 1)
        return taken

    def inactive_is_low(self, node: int) -> bool:
        """inactive_is_low: the more memory, the smaller the share that the inactive list needs."""
        inactive, active = self.count(node, "inactive", "rotated"), self.count(node, "active")
        gib = (inactive + active) // _GIB
        return inactive * (isqrt(10 * gib) if gib else 1) < active
