"""Points that wait for a worker: the one that will take longest goes first.

A long point that begins last is run alone, while the other workers have nothing to do. How long a point will
take is not known, but what it has to do is (`amount`: requests of all its threads), and how long those took
that are over:

    known of                                                  expected
    points of the same design, machine, workload, placement   time of the nearest in amount, in proportion
    others of the workload, else any                          their median time for each of its amount
    none                                                      the amount itself

Times are those of the clock on the wall, so what goes first is not the same in every run. Results are.
"""

from __future__ import annotations

from bisect import bisect, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sim.experiment.plan import Point

    Group = tuple[str, str, str, str]

_SHORTEST: Final = 1e-6
"""Seconds: a time of 0 would say that no amount of such points takes any."""


class Waiting:
    """Points in no order; `take` finds the longest, by all that `learn` has been told.

    Within a group (points that differ in threads, replicates and swept values only) the one with most to do
    is taken to be the longest, so only the first of each group is looked at.
    """

    def __init__(self, points: Iterable[Point]) -> None:
        self._groups: defaultdict[Group, list[tuple[int, int, Point]]] = defaultdict(list)
        self._times: defaultdict[Group, list[tuple[int, float]]] = defaultdict(list)
        self._rates: defaultdict[str, list[float]] = defaultdict(list)
        self._left = 0
        for number, point in enumerate(points):
            self._groups[_group(point)].append((amount_of(point), -number, point))
            self._left += 1
        for waiting in self._groups.values():
            waiting.sort(key=lambda entry: entry[:2])

    def __len__(self) -> int:
        return self._left

    def learn(self, point: Point, seconds: float) -> None:
        """*point* ran to its end and took so long."""
        amount, seconds = amount_of(point), max(seconds, _SHORTEST)
        insort(self._times[_group(point)], (amount, seconds))
        insort(self._rates[point.workload], seconds / amount)

    def take(self) -> Point:
        """The point that will take longest; of equals the first that was given."""
        overall = self._overall()
        best: tuple[float, int, Group] | None = None
        for group, waiting in self._groups.items():
            amount, number, _ = waiting[-1]
            candidate = (self._expected(group, amount, overall), number, group)
            if best is None or candidate[:2] > best[:2]:
                best = candidate
        if best is None:
            raise IndexError("no point is waiting")
        waiting = self._groups[best[2]]
        point = waiting.pop()[2]
        if not waiting:
            del self._groups[best[2]]
        self._left -= 1
        return point

    def _overall(self) -> float:
        """Seconds for one of a point's amount, the median over workloads; 1 where nobody knows."""
        return median(map(_middle, self._rates.values())) if self._rates else 1.0

    def _expected(self, group: Group, amount: int, overall: float) -> float:
        """Seconds that a point with so much to do will take, if any point has told."""
        times = self._times.get(group)
        if times:
            place = bisect(times, (amount, 0.0))
            beside = times[max(0, place - 1) : place + 1]
            known, seconds = min(beside, key=lambda entry: max(entry[0], amount) / min(entry[0], amount))
            return seconds * amount / known
        rates = self._rates.get(group[2])
        return amount * (_middle(rates) if rates else overall)


def waiting_for(points: Iterable[Point], timed: Iterable[tuple[Point, float]]) -> Waiting:
    """*points*, waiting; the *timed* ones have taken so many seconds."""
    waiting = Waiting(points)
    for point, seconds in timed:
        waiting.learn(point, seconds)
    return waiting


def amount_of(point: Point) -> int:
    """What *point* has to do, at least 1."""
    return max(1, point.workload_spec.amount(point.placement, point.threads))


def _group(point: Point) -> Group:
    return point.design, point.machine, point.workload, point.placement


def _middle(ranked: Sequence[float]) -> float:
    return ranked[len(ranked) // 2]
