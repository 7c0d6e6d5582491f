"""What a report says of each curve: its peak and knee, its end beside the baseline's, and where time goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from sim.analysis.activities import grouped
from sim.analysis.curve_report import law_words
from sim.analysis.laws import LEAST_COUNTS
from sim.analysis.metrics import knee
from sim.analysis.scaling import curve_table
from sim.analysis.tables import (
    FROM_LATENCY,
    POINT_KEYS,
    THROUGHPUT,
    RunTables,
    averaged,
    default_baseline,
    finished,
    ratio_to,
)
from sim.analysis.variants import parted

PANEL = ("machine", "workload", "placement", "variant")
"""What a panel is of: the designs are compared in it."""
_KEYS = (*POINT_KEYS, "variant")


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval, NaN for one replicate."""

    mean: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        return not math.isnan(self.low)


@dataclass(frozen=True)
class Curve:
    """One design in one panel. Throughputs are in operations a microsecond, times in ns of an operation.

    *over_baseline* is the ratio to the baseline design at the last thread count, where both have one.
    *groups* are the activities there, gathered as in the figures, with their shares, the largest first.
    """

    design: str
    threads: tuple[int, ...]
    throughput: tuple[float, ...]
    last: Interval
    last_from_latency: float
    knee: int
    over_baseline: Interval | None
    time_ns: float
    groups: tuple[tuple[str, float], ...]
    failed: int
    """Points that did not run to their end."""
    law: tuple[str, str, str, str] | None = None
    """σ, κ, peak and fit of the Universal Scalability Law, in words; None for too few thread counts."""

    @property
    def peak(self) -> tuple[int, float]:
        """Threads and throughput of the highest point."""
        return max(zip(self.threads, self.throughput, strict=True), key=lambda point: point[1])

    @property
    def speed_up(self) -> float:
        """The last point over the first."""
        return self.throughput[-1] / self.throughput[0]


@dataclass(frozen=True)
class Panel:
    """The curves of one machine, workload, placement and swept value, with the baseline's if it ran."""

    machine: str
    workload: str
    placement: str
    variant: str
    curves: tuple[Curve, ...]

    @property
    def name(self) -> str:
        """Workload, placement and swept value."""
        return ", ".join(filter(None, (self.workload, self.placement, self.variant)))


def baseline_of(points: pd.DataFrame) -> str:
    """The design that others are compared with."""
    return default_baseline(list(dict.fromkeys(points["design"])))


def panels_of(tables: RunTables) -> list[Panel]:
    """All panels of a run, in its order. A curve of which no point finished is left out."""
    points = parted(tables.points)
    done = finished(points)
    baseline = baseline_of(points)
    curves = averaged(done, THROUGHPUT, _KEYS)
    other = averaged(done, FROM_LATENCY, _KEYS) if FROM_LATENCY in done else curves.iloc[:0]
    ratios = curves.iloc[:0]
    if (done["design"] == baseline).any():
        paired = ratio_to(done.assign(workload=done["workload"] + "\0" + done["variant"]), baseline)
        paired = paired.assign(workload=paired["workload"].str.partition("\0")[0])
        ratios = averaged(paired, "ratio", _KEYS)
    times = grouped(parted(tables.breakdown), list(_KEYS))
    laws = _laws(points)
    panels = []
    for place, here in points.groupby(list(PANEL), sort=False, observed=True):
        found = []
        for design in dict.fromkeys(here["design"]):
            mine = _at(curves, place, design).sort_values("threads")
            if mine.empty or not (mine["mean"] > 0).all():
                continue
            count = int(mine["threads"].iloc[-1])
            failed = int((here.loc[here["design"] == design, "status"] == "failed").sum())
            groups = _groups(times, place, design, count)
            found.append(
                Curve(
                    design,
                    tuple(int(value) for value in mine["threads"]),
                    tuple(float(value) for value in mine["mean"]),
                    _interval(mine.iloc[-1]),
                    _value(_at(other, place, design, count)),
                    knee(list(zip(mine["threads"], mine["mean"], strict=True))),
                    None if design == baseline else _only(_at(ratios, place, design, count)),
                    sum(value for _, value in groups),
                    tuple((name, value / sum(v for _, v in groups)) for name, value in groups),
                    failed,
                    laws.get((design, *map(str, place))),
                )
            )
        if found:
            machine, workload, placement, variant = (str(value) for value in place)
            panels.append(Panel(machine, workload, placement, variant, tuple(found)))
    return panels


def _laws(points: pd.DataFrame) -> dict[tuple[str, ...], tuple[str, str, str, str]]:
    """Design and panel -> the law of its curve."""
    table = curve_table(points)
    keys = ["design", *PANEL]
    return {
        tuple(str(row[key]) for key in keys): law_words(row)
        for row in table.to_dict("records")
        if row["counts"] >= LEAST_COUNTS
    }


def _at(
    frame: pd.DataFrame, place: Sequence[object], design: str, threads: int | None = None
) -> pd.DataFrame:
    here = (frame["design"] == design) & (frame[list(PANEL)] == list(place)).all(axis=1)
    return frame.loc[here if threads is None else here & (frame["threads"] == threads)]


def _groups(
    times: pd.DataFrame, place: Sequence[object], design: str, threads: int
) -> list[tuple[str, float]]:
    """Group -> ns of an operation at one place, the largest first."""
    index = times.index.to_frame(index=False)
    mask = (_mask(index, place, design) & (index["threads"] == threads)).to_numpy()
    if not mask.any():
        return []
    row = times.loc[mask].iloc[0]
    return sorted(
        ((str(name), float(value)) for name, value in row.items() if value > 0), key=lambda g: -g[1]
    )


def _mask(frame: pd.DataFrame, place: Sequence[object], design: str) -> pd.Series[bool]:
    return (frame["design"] == design) & (frame[list(PANEL)] == list(place)).all(axis=1)


def _interval(row: pd.Series) -> Interval:
    return Interval(float(row["mean"]), float(row["low"]), float(row["high"]))


def _only(frame: pd.DataFrame) -> Interval | None:
    return _interval(frame.iloc[0]) if len(frame) else None


def _value(frame: pd.DataFrame) -> float:
    return float(frame["mean"].iloc[0]) if len(frame) else math.nan
