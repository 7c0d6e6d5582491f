"""Metrics: what a published number means in terms of simulated points.

A metric says which points it needs for a place (machine, design, workload, placement, threads) and computes
its value from them. Metrics are looked up by the name that the published row gives; a name that contains
another design's (`throughput_over_linux-6.13`) is built on the spot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from sim.analysis.wording import thread_count
from sim.errors import CortensimError

KNEE_GAIN = 0.15
"""A curve has stopped scaling when more threads bring less than this share of what linear scaling would."""

_OPERATIONS = {"ops/us": 1.0, "Mops/s": 1.0, "kops/s": 1e3, "ops/s": 1e6, "faults/s": 1e6}
"""Per operation a microsecond. A workload measured in faults makes one fault an operation."""
_TIMES = {"ns": 1.0, "us": 1e-3, "ms": 1e-6}
"""Per nanosecond; `cycles` depend on the machine's clock."""


class PointFailedError(CortensimError):
    """A point that a metric needs has no value."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a number is measured: one point, without seed and replicate."""

    machine: str
    design: str
    workload: str
    placement: str
    threads: int


@dataclass(frozen=True)
class Measured:
    """What one simulated point gave; *error* is empty when it finished.

    The throughput is the one that the benchmark itself reports: work done over time, or threads over mean
    latency (`throughput` in the workload's file).
    """

    throughput_ops_per_us: float
    latency_mean_ns: float
    error: str = ""


@dataclass(frozen=True)
class Metric:
    """How one kind of published number is computed.

    *needs* lists the places to simulate for a row's own place on a machine with so many cpus; *compute* takes
    that place and the measured of exactly those, and gives the value in the metric's first unit; *units* maps
    each unit a row may use to its factor; *overall* folds the values of several workloads when a row speaks
    of all of them.
    """

    needs: Callable[[Place, int], Sequence[Place]]
    compute: Callable[[Place, Mapping[Place, Measured]], float]
    units: Mapping[str, float]
    overall: Callable[[Sequence[float]], float] = median

    def factor(self, unit: str, clock_hz: int) -> float | None:
        """From the metric's first unit to *unit*; None when the metric cannot be told in it."""
        if unit == "cycles" and "ns" in self.units:
            return clock_hz / 1e9
        return self.units.get(unit)


def metric_named(name: str) -> Metric | None:
    """The metric called *name*; None when the model computes no such number."""
    if name.startswith(_RATIO_PREFIX):
        return _throughput_over(name.removeprefix(_RATIO_PREFIX))
    return _METRICS.get(name)


def ratio_metric(baseline: str) -> str:
    """The name of the metric that divides by the throughput of *baseline* at the same place."""
    return f"{_RATIO_PREFIX}{baseline}"


def thread_ladder(cpus: int) -> list[int]:
    """The thread counts of a curve on a machine of *cpus*: doublings from 1, and all cpus."""
    return [*(1 << step for step in range((cpus - 1).bit_length())), cpus]


def knee(curve: Sequence[tuple[int, float]]) -> int:
    """The thread count at which a *curve* of (threads, throughput) stops scaling.

    It is the first count N of the curve such that no later count M has
    `X(M) > X(N) * (1 + KNEE_GAIN * (M / N - 1))`: however many threads are added to N, they bring less than
    `KNEE_GAIN` of what they would bring if scaling went on linearly. A dip that the curve recovers from is
    no knee; a curve that scales to its end has its knee there.
    """
    points = sorted(curve)
    for number, (threads, throughput) in enumerate(points):
        later = points[number + 1 :]
        if all(x <= throughput * (1 + KNEE_GAIN * (more / threads - 1)) for more, x in later):
            return threads
    raise ValueError("a curve needs at least one point")


def _of(place: Place, measured: Mapping[Place, Measured]) -> Measured:
    found = measured[place]
    if found.error:
        raise PointFailedError(
            f"{place.design} {place.workload}, {thread_count(place.threads)}: {found.error}"
        )
    return found


def _throughput(place: Place, measured: Mapping[Place, Measured]) -> float:
    return _of(place, measured).throughput_ops_per_us


def _latency(place: Place, measured: Mapping[Place, Measured]) -> float:
    return _of(place, measured).latency_mean_ns


def _itself(place: Place, cpus: int) -> Sequence[Place]:
    return [place]


def _throughput_over(baseline: str) -> Metric:
    def needs(place: Place, cpus: int) -> Sequence[Place]:
        return [place, replace(place, design=baseline)]

    def compute(place: Place, measured: Mapping[Place, Measured]) -> float:
        return _throughput(place, measured) / _throughput(replace(place, design=baseline), measured)

    return Metric(needs, compute, {"ratio": 1.0})


def _one_and_itself(place: Place, cpus: int) -> Sequence[Place]:
    return [replace(place, threads=1), place]


def _scaling_per_thread(place: Place, measured: Mapping[Place, Measured]) -> float:
    one = _throughput(replace(place, threads=1), measured)
    return _throughput(place, measured) / one / place.threads


def _whole_curve(place: Place, cpus: int) -> Sequence[Place]:
    return [replace(place, threads=threads) for threads in thread_ladder(cpus)]


def _knee_threads(place: Place, measured: Mapping[Place, Measured]) -> float:
    return knee([(step.threads, _throughput(step, measured)) for step in measured])


_RATIO_PREFIX = "throughput_over_"
_METRICS = {
    "throughput": Metric(_itself, _throughput, _OPERATIONS),
    "latency": Metric(_itself, _latency, _TIMES),
    "scaling_over_one_thread_per_thread": Metric(
        _one_and_itself, _scaling_per_thread, {"ratio": 1.0}, overall=min
    ),
    "knee_threads": Metric(_whole_curve, _knee_threads, {"threads": 1.0}),
}
