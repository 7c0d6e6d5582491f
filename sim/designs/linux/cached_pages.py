"""The pages of a file by their index: an inode's i_pages, as far as the model needs it.

A file that is resident from the beginning has its pages in runs of frames side by side, which take the room
of one entry each. Whoever takes a page out, or puts one in, makes entries of its run first.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping
from typing import Any, NamedTuple

from sim.mm import SLOTS


class CachedRun(NamedTuple):
    """The pages from *first* on, which have one of *frames* after the other."""

    first: int
    frames: range


class CachedPages(MutableMapping[int, int]):
    """Index -> frame. Pages that came in bulk are in runs of 512, from a multiple of 512 on."""

    __slots__ = ("_runs", "_singles")

    def __init__(self) -> None:
        self._singles: dict[int, int] = {}
        self._runs: dict[int, range] = {}

    @property
    def runs(self) -> Iterator[CachedRun]:
        """The pages that have no entry of their own, in the order in which they came."""
        return (CachedRun(index, frames) for index, frames in self._runs.items())

    @property
    def singles(self) -> ItemsView[int, int]:
        """The others, with their frames."""
        return self._singles.items()

    def add_run(self, index: int, frames: range) -> None:
        """The 512 pages from *index* on, none of which is there, have *frames*."""
        assert index % SLOTS == 0
        assert len(frames) == SLOTS
        self._runs[index] = frames

    def get(self, index: int, default: Any = None) -> Any:
        """The frame of page *index*."""
        frame = self._singles.get(index)
        if frame is None and self._runs:
            frames = self._runs.get(index - index % SLOTS)
            frame = None if frames is None else frames[index % SLOTS]
        return default if frame is None else frame

    def __getitem__(self, index: int) -> int:
        frame: int | None = self.get(index)
        if frame is None:
            raise KeyError(index)
        return frame

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and self.get(index) is not None

    def __setitem__(self, index: int, frame: int) -> None:
        self._make_entries(index)
        self._singles[index] = frame

    def __delitem__(self, index: int) -> None:
        self._make_entries(index)
        del self._singles[index]

    def __len__(self) -> int:
        return len(self._singles) + len(self._runs) * SLOTS

    def __iter__(self) -> Iterator[int]:
        yield from self._singles
        for index in self._runs:
            yield from range(index, index + SLOTS)

    def _make_entries(self, index: int) -> None:
        first = index - index % SLOTS
        frames = self._runs.pop(first, None) if self._runs else None
        if frames is not None:
            self._singles.update(zip(range(first, first + SLOTS), frames, strict=True))
