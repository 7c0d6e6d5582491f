"""Cpu time of contestants that take turns, so that all of them see the same moods of the machine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from time import process_time
from typing import TypeAlias

Run: TypeAlias = Callable[[], object]
"""A simulation that is built and ready: only calling it is timed."""

Seconds: TypeAlias = dict[str, list[float]]
"""Contestant -> the cpu time of each round."""


def cpu_seconds(run: Run) -> float:
    gc.collect()
    start = process_time()
    run()
    return process_time() - start


def in_turns(contestants: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: bool = True) -> Seconds:
    """Each contestant once a round, which says how long it took. A round before the first one *warms up*."""
    seconds: Seconds = {name: [] for name in contestants}
    for number in range(-1 if warm_up else 0, rounds):
        for name, contestant in contestants.items():
            took = contestant()
            if number >= 0:
                seconds[name].append(took)
    return seconds


def ratio(slow: Sequence[float], quick: Sequence[float]) -> float:
    """How many times as long *slow* takes: the median over the rounds, of which each is a pair."""
    return median(one / other for one, other in zip(slow, quick, strict=True))
