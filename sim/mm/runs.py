"""Runs: many numbers side by side (frames, mostly) that have the same value, kept as one entry.

Memory that is populated in bulk is a few long runs, where a dictionary would have an entry for each page.
A number that becomes different from its neighbours is cut out of its run and kept elsewhere by the caller.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

from mypy_extensions import mypyc_attr


class Run(NamedTuple):
    """The numbers [start, end), each with *value*."""

    start: int
    end: int
    value: int


class Runs:
    """Disjoint runs in order; neighbours with the same value are one. An empty one is false.

    Looking up and cutting takes a binary search, and moving as many list entries as there are runs behind.
    """

    __slots__ = ("_ends", "_starts", "_values")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._values: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[Run]:
        return map(Run, self._starts, self._ends, self._values)

    def __contains__(self, number: int) -> bool:
        return self.value(number) is not None

    @property
    def total(self) -> int:
        """How many numbers are in them."""
        return sum(self._ends) - sum(self._starts)

    def value(self, number: int) -> int | None:
        """What *number* has; None if it is in no run."""
        at = bisect_right(self._starts, number) - 1
        return self._values[at] if at >= 0 and number < self._ends[at] else None

    def within(self, start: int, end: int) -> list[Run]:
        """The parts of runs that lie in [start, end)."""
        at = max(bisect_right(self._starts, start) - 1, 0)
        found = []
        while at < len(self._starts) and self._starts[at] < end:
            first, last = max(start, self._starts[at]), min(end, self._ends[at])
            if first < last:
                found.append(Run(first, last, self._values[at]))
            at += 1
        return found

    def cut(self, start: int, end: int) -> list[Run]:
        """Take [start, end) out; value: the parts of runs that were there."""
        found = self.within(start, end)
        if not found:
            return found
        low = bisect_right(self._starts, found[0].start) - 1
        high = bisect_right(self._starts, found[-1].start)
        before = (self._starts[low], found[0].start, self._values[low])
        after = (found[-1].end, self._ends[high - 1], self._values[high - 1])
        self._replace(low, high, [part for part in (before, after) if part[0] < part[1]])
        return found

    def add(self, start: int, end: int, value: int) -> None:
        """[start, end), which is in no run, has *value* from now on."""
        if start >= end:
            return
        low = high = bisect_right(self._starts, start)
        if low and self._ends[low - 1] == start and self._values[low - 1] == value:
            low -= 1
            start = self._starts[low]
        if high < len(self._starts) and self._starts[high] == end and self._values[high] == value:
            end = self._ends[high]
            high += 1
        self._replace(low, high, [(start, end, value)])

    def count(self, start: int, end: int) -> None:
        """One more on the value of each of [start, end); what was in no run has 1."""
        found = self.cut(start, end)
        for run in found:
            self.add(start, run.start, 1)
            self.add(run.start, run.end, run.value + 1)
            start = run.end
        self.add(start, end, 1)

    def copy(self) -> Runs:
        """The same runs, to be changed."""
        other = Runs()
        other._starts, other._ends, other._values = self._starts[:], self._ends[:], self._values[:]
        return other

    def _replace(self, low: int, high: int, parts: list[tuple[int, int, int]]) -> None:
        self._starts[low:high] = [start for start, _, _ in parts]
        self._ends[low:high] = [end for _, end, _ in parts]
        self._values[low:high] = [value for _, _, value in parts]


def differing(one: Runs, other: Runs) -> set[int]:
    """The numbers that the two have with different values."""
    ends = sorted({end for run in (*one, *other) for end in (run.start, run.end)})
    return {
        number
        for start, end in pairwise(ends)
        if one.value(start) != other.value(start)
        for number in range(start, end)
    }


@mypyc_attr(native_class=False)
class FrameSet(set[int]):
    """A set of frames; those that came in *runs* are kept as such until they are asked to leave."""

    __slots__ = ("runs",)

    def __init__(self) -> None:
        super().__init__()
        self.runs = Runs()

    def __contains__(self, frame: object) -> bool:
        return set.__contains__(self, frame) or (bool(self.runs) and cast("int", frame) in self.runs)

    def add_run(self, frames: range) -> None:
        """All of *frames*, none of which is in it."""
        self.runs.add(frames.start, frames.stop, 1)

    def discard(self, frame: int) -> None:  # type: ignore[override]  # it holds nothing but frames
        set.discard(self, frame)
        if self.runs:
            self.runs.cut(frame, frame + 1)

    def discard_all(self, frames: Sequence[int | range]) -> None:
        """`discard` of each of *frames*, one by one or many side by side."""
        if not self.runs:
            self.difference_update(frames)  # a range would be no frame, and there is none without runs
            return
        for each in frames:
            if isinstance(each, range):
                self.runs.cut(each.start, each.stop)
                self.difference_update(each)
            else:
                self.discard(each)

    def part(self, frames: range) -> list[int | range]:
        """Those of *frames* that are in it."""
        found: list[int | range] = [
            range(run.start, run.end) for run in self.runs.within(frames.start, frames.stop)
        ]
        if len(self):
            found += sorted(set.intersection(self, frames))
        return found
