"""What is counted beside the tracks of a timeline: frames in use, cpus with a thread to run, waiters.

A count changes at a time; the times of different cpus are told out of order, and are put in order here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Series = list[tuple[int, int]]
"""Time (ps) and what the count is from then on."""

POINTS: Final = 2000
"""Points of a series, at most: of the changes in between the last one stands for all."""


class Counts:
    """Counts of one run; *frames in use* since boot, *running* cpus since the threads started."""

    def __init__(self) -> None:
        self.in_use: list[tuple[int, int]] = []
        self.running: list[tuple[int, int]] = []
        self._begun = False

    def begin(self, cpus: int) -> None:
        """The threads start on so many cpus."""
        self.running = [(0, cpus)]
        self._begun = True

    def runs(self, at: int, change: int) -> None:
        """So many cpus more have a thread to run."""
        if self._begun:
            self.running.append((at, change))

    def frames(self, at: int, change: int) -> None:
        """So many frames more are in use."""
        self.in_use.append((at, change))


def series(changes: Iterable[tuple[int, int]], begin: int, end: int) -> Series:
    """The count from *begin* to *end* (ps), in some `POINTS` points at most; times count from *begin*."""
    value, points = 0, {0: (0, 0)}
    step = max(1, (end - begin) // (POINTS - 1))
    for at, change in sorted(changes, key=lambda change: change[0]):
        if at > end:
            break
        value += change
        place = 0 if at <= begin else 1 + (at - begin) // step
        points[place] = (max(0, at - begin), value)
    return [point for _, point in sorted(points.items())]
