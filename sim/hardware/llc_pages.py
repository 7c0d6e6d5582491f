"""Which pages lie in the last-level caches, where the machine's file says what that is worth.

Each cluster's cache holds so many pages. A page that comes in takes the place of one chosen at random: caches
of many ways and hashed addresses, whose replacement is not quite the least recent, come near to that for
whole pages. A list of pages that goes round and is somewhat longer than the cache then finds a part of them
there; with the least recent one going first it would find none. What was written goes back to memory when its
place is taken.

A run begins with caches full of what was written before, by whom does not matter: they were not empty.

Invariant: a page is in one cluster's cache at most, that of the core that wrote it last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_NOBODY: Final = -1
"""A page that nobody will look for."""


class LlcPages:
    """The caches of all clusters, each with *room* for so many pages. *draw* is uniform below 1."""

    __slots__ = ("_draw", "_held", "_of", "_written")

    def __init__(self, clusters: int, room: int, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._held: list[list[int]] = [[_NOBODY] * room for _ in range(clusters)]
        self._written: list[list[bool]] = [[True] * room for _ in range(clusters)]
        self._of: dict[int, tuple[int, int]] = {}

    def holds(self, cluster: int, frame: int) -> bool:
        """Whether the page in *frame* is in the cache of *cluster*."""
        found = self._of.get(frame)
        return found is not None and found[0] == cluster

    def bring(self, cluster: int, frame: int | None, *, written: bool) -> bool:
        """A page comes into the cache of *cluster*, from memory or another cache; without *frame* nobody will
        look for it. Value: whether one that was written has to leave for it."""
        held, marks = self._held[cluster], self._written[cluster]
        if frame is not None and (before := self._of.pop(frame, None)) is not None:
            self._held[before[0]][before[1]] = _NOBODY
            self._written[before[0]][before[1]] = False
        place = int(self._draw() * len(held))
        gone, was_written = held[place], marks[place]
        if gone >= 0:
            del self._of[gone]
        held[place] = _NOBODY if frame is None else frame
        marks[place] = written
        if frame is not None:
            self._of[frame] = cluster, place
        return was_written

    def write(self, frame: int) -> None:
        """The page in *frame*, which some cache holds, is written."""
        cluster, place = self._of[frame]
        self._written[cluster][place] = True
