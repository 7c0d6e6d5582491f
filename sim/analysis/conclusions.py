"""Conclusions: does one design beat another where costs may be off, and in which share of the samples?

    cortenmm-adv > linux-6.13 at 64      one that was asked for, at every place that has both
    (by default)                         of each two designs the faster one, at the largest thread count

A place is all that a point is, less its design and threads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from sim.analysis.wording import thread_count
from sim.errors import Fault, InputError, nearest

_FORM = re.compile(r"\s*(\S+)\s*(>|<)\s*(\S+)\s+at\s+(\d+)\s*\Z")


class Spot(NamedTuple):
    """Where replicates of one point stand: a *place* in words, a design, and its threads."""

    place: str
    design: str
    threads: int


@dataclass(frozen=True)
class Answer:
    """What is asked of all points: one design's throughput, or with *over* its ratio to that of another."""

    spot: Spot
    over: str = ""

    @property
    def name(self) -> str:
        """`cortenmm-adv / linux-6.13 at 64 threads, pf low`."""
        what = f"{self.spot.design} / {self.over}" if self.over else self.spot.design
        where = f", {self.spot.place}" if self.spot.place else ""
        return f"{what} at {thread_count(self.spot.threads)}{where}"

    def of(self, spots: Sequence[Spot], logarithms: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The logarithm of the answer in each row of *logarithms*, whose columns are the *spots*."""
        value: np.ndarray[Any, Any] = logarithms[:, spots.index(self.spot)]
        if not self.over:
            return value
        other: np.ndarray[Any, Any] = logarithms[:, spots.index(self.spot._replace(design=self.over))]
        ratio: np.ndarray[Any, Any] = value - other
        return ratio


@dataclass(frozen=True)
class Conclusion:
    """*answer* is above 1. *ratio* is that of the files, *low* and *high* the ends of the band around it."""

    answer: Answer
    ratio: float
    low: float
    high: float
    holds: int
    samples: int

    @property
    def share(self) -> float:
        """In which share of the samples it holds; NaN without any."""
        return self.holds / self.samples if self.samples else float("nan")

    @property
    def text(self) -> str:
        """`cortenmm-adv beats linux-6.13 at 64 threads, pf low`."""
        spot = self.answer.spot
        where = f", {spot.place}" if spot.place else ""
        return f"{spot.design} beats {self.answer.over} at {thread_count(spot.threads)}{where}"


def asked(texts: Sequence[str], spots: Sequence[Spot]) -> list[Answer]:
    """The ratios that *texts* are about. Raises `InputError` for what is none, or has no place in *spots*."""
    faults: list[Fault] = []
    found: list[Answer] = []
    designs = list(dict.fromkeys(spot.design for spot in spots))
    for text in texts:
        option = "--conclusion"
        match = _FORM.match(text)
        if match is None:
            form = '"DESIGN > DESIGN at THREADS", such as "cortenmm-adv > linux-6.13 at 64"'
            faults.append(Fault("not a conclusion", option, value=text, allowed=form))
            continue
        first, sign, second, threads = match.groups()
        better, worse = (first, second) if sign == ">" else (second, first)
        unknown = [name for name in (better, worse) if name not in designs]
        for name in unknown:
            known = ", ".join(designs)
            faults.append(
                Fault("no design of these points", option, value=name, allowed=known,
                      suggestion=nearest(name, designs))
            )  # fmt: skip
        here = [
            Answer(spot, worse)
            for spot in spots
            if (spot.design, spot.threads) == (better, int(threads)) and spot._replace(design=worse) in spots
        ]
        if not here and not unknown:
            counts = sorted({spot.threads for spot in spots})
            allowed = "two designs, at one of " + ", ".join(map(str, counts)) + " threads"
            faults.append(Fault("no place has both", option, value=text, allowed=allowed))
        found += here
    if faults:
        raise InputError(faults)
    return found


def usual(spots: Sequence[Spot]) -> list[Answer]:
    """Of each place, at its largest thread count: the ratio of each two designs."""
    return [Answer(one, other.design) for _, here in _largest(spots) for one, other in combinations(here, 2)]


def ends_of_curves(spots: Sequence[Spot]) -> list[Answer]:
    """Of each place, at its largest thread count: the throughput of each design."""
    return [Answer(spot) for _, here in _largest(spots) for spot in here]


def as_it_is(answer: Answer, spots: Sequence[Spot], own: np.ndarray[Any, Any]) -> Answer:
    """The ratio *answer*, turned round where it is below 1 with the files' *own* costs."""
    if float(answer.of(spots, own)[0]) >= 0:
        return answer
    return Answer(answer.spot._replace(design=answer.over), answer.spot.design)


def conclude(
    answers: Sequence[Answer],
    spots: Sequence[Spot],
    own: np.ndarray[Any, Any],
    samples: np.ndarray[Any, Any],
) -> list[Conclusion]:
    """What becomes of the ratios *answers* in the *samples* (rows) beside the files' *own* costs (one row).

    Both hold logarithms of throughput; samples that failed at a spot do not count there.
    """
    found = []
    for answer in answers:
        value = float(answer.of(spots, own)[0])
        if np.isnan(value):
            continue
        drawn = answer.of(spots, samples)
        drawn = drawn[~np.isnan(drawn)]
        every = [value, *drawn.tolist()]
        low, high = np.exp(min(every)), np.exp(max(every))
        found.append(
            Conclusion(
                answer, float(np.exp(value)), float(low), float(high), int((drawn > 0).sum()), len(drawn)
            )
        )
    return found


def _largest(spots: Sequence[Spot]) -> list[tuple[str, list[Spot]]]:
    """Place -> its spots at the largest thread count."""
    found = []
    for place in dict.fromkeys(spot.place for spot in spots):
        here = [spot for spot in spots if spot.place == place]
        most = max(spot.threads for spot in here)
        found.append((place, [spot for spot in here if spot.threads == most]))
    return found
