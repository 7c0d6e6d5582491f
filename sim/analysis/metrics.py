"""Metrics: what a published number means in terms of simulated points.

A metric says which points it needs for a cell (machine, design, workload, placement, threads) and computes
its value from them. Metrics are looked up by the name that the published row gives; a name that contains
another design's (`throughput_over_linux-6.13`, `peak_throughput_over_linux-6.13`), or that of a part of a
request (`latency_munmap`), is built on the spot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from sim.analysis.wording import thread_count
from sim.errors import CortensimError

KNEE_GAIN = 0.15
"""A curve has stopped scaling when more threads bring less than this share of what linear scaling would."""

_OPERATIONS = {"ops/us": 1.0, "Mops/s": 1.0, "kops/s": 1e3, "ops/s": 1e6, "faults/s": 1e6, "jobs/h": 3.6e9}
"""Per operation a microsecond. A workload measured in faults makes one fault an operation; a job has so many
operations as its workload says (`job`)."""
_TIMES = {"ns": 1.0, "us": 1e-3, "ms": 1e-6}
"""Per nanosecond; `cycles` depend on the machine's clock."""
_BYTES = {"B": 1.0, "kB": 1 / 1024, "KiB": 1 / 1024, "MiB": 1 / 2**20}
"""A `kB` of /proc is 1024 bytes."""
_SHARES = {"%": 100.0, "percent": 100.0, "share": 1.0, "ratio": 1.0}
SHARES = {"idle_share": _SHARES, "share_mmap_lock_wait": _SHARES}
"""Metrics that are shares of a whole, which may be 0, and the whole in their units. Their error is a
difference, not a ratio."""


class PointFailedError(CortensimError):
    """A point that a metric needs has no value."""


@dataclass(frozen=True, order=True)
class CellName:
    """Where a number is simulated: one point, without seed and replicate."""

    machine: str
    design: str
    workload: str
    placement: str
    threads: int


@dataclass(frozen=True)
class Simulated:
    """What one simulated point gave; *error* is empty when it finished.

    The throughput is the one that the benchmark itself reports: work done over time, or threads over mean
    latency (`throughput` in the workload's file).
    """

    throughput_ops_per_us: float
    latency_mean_ns: float
    error: str = ""
    idle_share: float = math.nan
    """Of the time of all cpus of the machine."""
    interrupts_per_flush: float = math.nan
    """NaN if nothing was flushed."""
    resident_bytes: float = math.nan
    page_table_bytes: float = math.nan
    """Of a process, as it has read them of itself; NaN if none has."""
    parts: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Part of the requests -> what it took in the mean (ns)."""
    mmap_lock_share: float = math.nan
    """Of the threads' time: what went to mmap_lock, asleep or not. NaN without a breakdown."""


@dataclass(frozen=True)
class Metric:
    """How one kind of published number is computed.

    *needs* lists the cells to simulate for a row's own cell on a machine with so many cpus; *compute* takes
    that place and the measured of exactly those, and gives the value in the metric's first unit; *units* maps
    each unit a row may use to its factor; *overall* folds the values of several workloads when a row speaks
    of all of them.
    """

    needs: Callable[[CellName, int], Sequence[CellName]]
    compute: Callable[[CellName, Mapping[CellName, Simulated]], float]
    units: Mapping[str, float]
    overall: Callable[[Sequence[float]], float] = median
    is_share: bool = False
    part: str | None = None
    """Of what part of the requests it is the latency, which a workload reports if it is asked to."""

    def factor(self, unit: str, clock_hz: int) -> float | None:
        """From the metric's first unit to *unit*; None when the metric cannot be told in it."""
        if unit == "cycles" and "ns" in self.units:
            return clock_hz / 1e9
        return self.units.get(unit)

    def error(self, simulated: float, published: float, factor: float) -> float:
        """How far *simulated* is off, both in the unit of *factor*: relative, or the difference of shares.

        An idle share of 45 % where 40 % was published is off by 0.05.
        """
        return (simulated - published) / factor if self.is_share else simulated / published - 1


def metric_named(name: str) -> Metric | None:
    """The metric called *name*; None when the model computes no such number."""
    if name not in _METRICS and name.startswith(_RATIO_PREFIX):
        return _throughput_over(name.removeprefix(_RATIO_PREFIX))
    if name not in _METRICS and name.startswith(_PEAK_PREFIX):
        return _peak_over(name.removeprefix(_PEAK_PREFIX))
    if name not in _METRICS and name.startswith(_PART_PREFIX):
        return _latency_of(name.removeprefix(_PART_PREFIX))
    return _METRICS.get(name)


def ratio_metric(baseline: str) -> str:
    """The name of the metric that divides by the throughput of *baseline* at the same cell."""
    return f"{_RATIO_PREFIX}{baseline}"


def thread_ladder(cpus: int) -> list[int]:
    """The thread counts of a curve on a machine of *cpus*: doublings from 1, and all cpus."""
    return [*(1 << step for step in range((cpus - 1).bit_length())), cpus]


def close_ladder(threads: int) -> list[int]:
    """The thread counts of a curve up to so many: doublings from 1, one and a half of each, and all."""
    doublings = [1 << step for step in range(threads.bit_length())]
    counts = {*doublings, *(count + count // 2 for count in doublings)}
    return sorted({each for each in counts if each < threads} | {threads})


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


def _of(cell: CellName, simulated: Mapping[CellName, Simulated]) -> Simulated:
    found = simulated[cell]
    if found.error:
        raise PointFailedError(f"{cell.design} {cell.workload}, {thread_count(cell.threads)}: {found.error}")
    return found


def _throughput(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return _of(cell, simulated).throughput_ops_per_us


def _latency(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return _of(cell, simulated).latency_mean_ns


def _idle_share(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return _of(cell, simulated).idle_share


def _share_mmap_lock_wait(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    share = _of(cell, simulated).mmap_lock_share
    if math.isnan(share):
        raise PointFailedError(f"{cell.design} {cell.workload}, {thread_count(cell.threads)}: no breakdown")
    return share


def _interrupts_per_flush(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    interrupts = _of(cell, simulated).interrupts_per_flush
    if math.isnan(interrupts):
        raise PointFailedError(f"{cell.design} {cell.workload}, {thread_count(cell.threads)}: no flush")
    return interrupts


def _resident_size(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return _told(cell, _of(cell, simulated).resident_bytes)


def _page_table_size(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return _told(cell, _of(cell, simulated).page_table_bytes)


def _told(cell: CellName, size: float) -> float:
    if math.isnan(size):
        raise PointFailedError(f"{cell.workload} reads no /proc/PID/status (`read_status`)")
    return size


def _itself(cell: CellName, cpus: int) -> Sequence[CellName]:
    return [cell]


def _throughput_over(baseline: str) -> Metric:
    def needs(cell: CellName, cpus: int) -> Sequence[CellName]:
        return [cell, replace(cell, design=baseline)]

    def compute(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
        return _throughput(cell, simulated) / _throughput(replace(cell, design=baseline), simulated)

    return Metric(needs, compute, {"ratio": 1.0})


def _peak_over(baseline: str) -> Metric:
    """The highest throughput on the way to so many threads, over that of *baseline* on the same way."""

    def ladder(cell: CellName, cpus: int) -> Sequence[CellName]:
        both = (cell, replace(cell, design=baseline))
        return [replace(each, threads=threads) for each in both for threads in thread_ladder(cell.threads)]

    def compute(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
        peaks = {cell.design: 0.0, baseline: 0.0}
        for step in simulated:
            peaks[step.design] = max(peaks[step.design], _throughput(step, simulated))
        return peaks[cell.design] / peaks[baseline]

    return Metric(ladder, compute, {"ratio": 1.0})


def _latency_of(part: str) -> Metric:
    def compute(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
        parts = _of(cell, simulated).parts
        if part not in parts:
            happened = ", ".join(parts) or "nothing that has a name"
            where = f"{cell.design} {cell.workload}, {thread_count(cell.threads)}"
            raise PointFailedError(f"{where}: no {part} in it, but {happened}")
        return parts[part]

    return Metric(_itself, compute, _TIMES, part=part)


def _one_and_itself(cell: CellName, cpus: int) -> Sequence[CellName]:
    return [replace(cell, threads=1), cell]


def _throughput_over_one(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return _throughput(cell, simulated) / _throughput(replace(cell, threads=1), simulated)


def _scaling_per_thread(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return _throughput_over_one(cell, simulated) / cell.threads


def _whole_curve(cell: CellName, cpus: int) -> Sequence[CellName]:
    return [replace(cell, threads=threads) for threads in thread_ladder(cpus)]


def _knee_threads(cell: CellName, simulated: Mapping[CellName, Simulated]) -> float:
    return knee([(step.threads, _throughput(step, simulated)) for step in simulated])


def _up_to_its_threads(cell: CellName, cpus: int) -> Sequence[CellName]:
    return [replace(cell, threads=threads) for threads in close_ladder(cell.threads)]


_RATIO_PREFIX = "throughput_over_"
_PEAK_PREFIX = "peak_throughput_over_"
_PART_PREFIX = "latency_"
_METRICS = {
    "throughput": Metric(_itself, _throughput, _OPERATIONS),
    "latency": Metric(_itself, _latency, _TIMES),
    "throughput_over_one_task": Metric(_one_and_itself, _throughput_over_one, {"ratio": 1.0}),
    "idle_share": Metric(_itself, _idle_share, _SHARES, is_share=True),
    "resident_size": Metric(_itself, _resident_size, _BYTES),
    "page_table_size": Metric(_itself, _page_table_size, _BYTES),
    "share_mmap_lock_wait": Metric(_itself, _share_mmap_lock_wait, _SHARES, is_share=True),
    "interrupts_per_flush": Metric(_itself, _interrupts_per_flush, {"count": 1.0}),
    "scaling_over_one_thread_per_thread": Metric(
        _one_and_itself, _scaling_per_thread, {"ratio": 1.0}, overall=min
    ),
    "knee_threads": Metric(_whole_curve, _knee_threads, {"threads": 1.0}),
    "knee_within_tasks": Metric(_up_to_its_threads, _knee_threads, {"threads": 1.0}),
}
