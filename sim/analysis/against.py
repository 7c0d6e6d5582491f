"""A run against what was measured: each measured number beside the simulated one at the same place.

A place is machine, design, workload, placement and number of threads, by their names. Measured are rows of
the published format, or files of will-it-scale, which name neither machine nor system: they mean those of the
run where it has one. Their threads stand for the threads of a workload without placements.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from sim.analysis.metrics import Metric, metric_named
from sim.analysis.names import NAMED, names_in, refuse_strangers, refuse_unknown, rename
from sim.analysis.published import COLUMNS as PUBLISHED
from sim.analysis.published import Observation, read_published, renamed
from sim.analysis.sheets import read_text, rows_of
from sim.analysis.tables import (
    FROM_LATENCY,
    POINT_KEYS,
    THROUGHPUT,
    averaged,
    finished,
    mean_interval,
)
from sim.analysis.variants import parted
from sim.analysis.will_it_scale import COLUMNS as SUITE
from sim.analysis.will_it_scale import UNNAMED, Names, is_suite, mode_of, read_suite
from sim.errors import Fault, InputError

COLUMNS = (
    *POINT_KEYS, "variant", "system", "metric", "unit",
    "simulated", "simulated_low", "simulated_high", "measured", "measured_low", "measured_high", "error",
    "simulated_idle_share", "measured_idle_share", "source",
)  # fmt: skip
"""Of the table. *system* is what the source calls the design. Low and high bound the 95 % interval of a mean,
where there are several values. The *error* is simulated over measured less 1, of an idle share the
difference. Idle shares are of all cpus of the machine."""
_IDLE = "idle_share"

Reported = Callable[[str, str], str]
"""(workload, placement) -> how its benchmark computes throughput: `over-time` or `from-latency`."""


@dataclass(frozen=True)
class Against:
    """*table* has a row a place, metric and system. *observations* are the measured rows as the run names
    them, those at thread counts that it has not among them; *left_out* says how many rows are in no table."""

    table: pd.DataFrame
    observations: list[Observation]
    left_out: dict[str, int]


def read_measured(paths: Iterable[Path]) -> list[Observation]:
    """What was measured, in files of the published format or of will-it-scale.

    Raises `InputError` with every fault of every file.
    """
    rows: list[Observation] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            header = next(rows_of(read_text(path), str(path)), (1, []))[1]
            if header and not {name.strip() for name in header} & {*PUBLISHED, *SUITE}:
                allowed = f"a header of the published format ({','.join(PUBLISHED)}) or of will-it-scale"
                raise InputError(Fault("no measurements: no column is known", str(path), 1, allowed=allowed))
            rows += read_suite(path, Names(path.stem)) if is_suite(header) else read_published([path])
        except InputError as error:
            faults += error.faults
    if faults:
        raise InputError(faults)
    return rows


def against(
    points: pd.DataFrame,
    measured: Sequence[Observation],
    names: Mapping[str, str],
    reported: Reported,
    clock_of: Callable[[str], int],
) -> Against:
    """Hold the *points* of a run against what was *measured*, which the run may call otherwise (*names*).

    *clock_of* gives the clock (Hz) of a machine. Raises `InputError` for a name that means nothing.
    """
    points = parted(points)
    refuse_unknown(names, (getattr(row, column) for row in measured for column in NAMED))
    refuse_strangers(names, names_in(points))
    places = _Places(points)
    left_out: Counter[str] = Counter()
    other_counts: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    known: list[Observation] = []
    rows: list[tuple[Observation, str]] = []
    for row, source in zip(rename(measured, _with_the_only(points, measured, names)), measured, strict=True):
        placed = places.of(row)
        if isinstance(placed, str):
            left_out[placed] += 1
            continue
        if _QUANTITIES[row.metric].factor(row.unit, clock_of(row.machine)) is None:
            left_out[f"{row.metric} cannot be told in {row.unit}"] += 1
            continue
        known.append(placed)
        if places.has(placed):
            rows.append((placed, source.system))
        else:
            other_counts[placed.workload, placed.placement].append(placed.tasks)
    for (workload, placement), counts in other_counts.items():
        run = " ".join(filter(None, (workload, placement)))
        left_out[f"{run} was not run with {_spans(counts)} threads"] += len(counts)
    table = pd.DataFrame(_rows(points, rows, reported, clock_of), columns=list(COLUMNS))
    return Against(table, known, dict(left_out))


def _with_the_only(
    points: pd.DataFrame, measured: Sequence[Observation], names: Mapping[str, str]
) -> dict[str, str]:
    """*names*, and those of the run for what a file does not name. Raises `InputError` if it has several."""
    runs = {"machine": set(points["machine"]), "system": set(points["design"])}
    found, faults = dict(names), []
    for column, unnamed in UNNAMED.items():
        if unnamed in names or not any(getattr(row, column) == unnamed for row in measured):
            continue
        if len(runs[column]) == 1:
            (found[unnamed],) = runs[column]
        else:
            ways = ", ".join(f"--as {unnamed}={name}" for name in sorted(runs[column]))
            message = f"which {column} of the run was measured? The file does not say it"
            file = next(row.file for row in measured if getattr(row, column) == unnamed)
            faults.append(Fault(message, file, allowed=ways))
    if faults:
        raise InputError(faults)
    return found


def _spans(counts: Sequence[int]) -> str:
    """`2, 3, 5-16` of thread counts."""
    ordered = sorted(set(counts))
    ends = [ordered[0], *(end for one, other in pairwise(ordered) if other > one + 1 for end in (one, other))]
    pairs = zip(ends[::2], [*ends[1::2], ordered[-1]], strict=True)
    return ", ".join(f"{one}" if one == other else f"{one}-{other}" for one, other in pairs)


class _Places:
    """What a run has: where a measured row belongs, or why it belongs nowhere."""

    def __init__(self, points: pd.DataFrame) -> None:
        self._names = {"machine": set(points["machine"]), "system": set(points["design"])}
        self._workloads = set(points["workload"])
        self._placements: dict[tuple[str, str, str], dict[str, set[int]]] = {}
        columns = ("machine", "design", "workload", "placement", "threads")
        for machine, design, workload, placement, threads in zip(*(points[c] for c in columns), strict=True):
            counts = self._placements.setdefault((machine, design, workload), {})
            counts.setdefault(placement, set()).add(int(threads))

    def of(self, row: Observation) -> Observation | str:
        """*row* with workload and placement as the run calls them, or the reason why it has none."""
        for name, there in self._names.items():
            if getattr(row, name) not in there:
                return f"the run has no {name} {getattr(row, name)}"
        if row.metric not in _QUANTITIES:
            return f"a run has no {row.metric}"
        workload, placement = self._in_two_words(row)
        known = self._placements.get((row.machine, row.system, workload))
        if known is None:
            has = f"{row.system} on {row.machine}" if workload in self._workloads else "the run"
            return f"{has} has no workload {workload}"
        if placement not in known:
            only = next(iter(known)) if len(known) == 1 else None
            if only is None or (placement and mode_of(only) != placement):
                return f"{workload} has no placement {placement or 'that is the only one'}"
            placement = only
        return renamed(row, row.machine, row.system, workload, placement)

    def has(self, row: Observation) -> bool:
        """Whether the run has points where *row*, which belongs here, was measured."""
        return row.tasks in self._placements[row.machine, row.system, row.workload][row.placement]

    def _in_two_words(self, row: Observation) -> tuple[str, str]:
        """Workload and placement: `dram-latency-remote` is the placement `remote` of `dram-latency`."""
        if row.workload not in self._workloads and not row.placement:
            for (machine, design, workload), known in self._placements.items():
                placement = row.workload.removeprefix(f"{workload}-")
                if (machine, design) == (row.machine, row.system) and placement in known:
                    return workload, placement
        return row.workload, row.placement


# -- numbers ------------------------------------------------------------------------------------------------


def _rows(
    points: pd.DataFrame,
    measured: Sequence[tuple[Observation, str]],
    reported: Reported,
    clock_of: Callable[[str], int],
) -> list[dict[str, Any]]:
    """The rows of the table: an idle share stands beside the throughput of its place, where it has one.

    *measured* are rows as the run names them, each with its system as its source does.
    """
    simulated = _Simulated(points)
    groups: defaultdict[tuple[_Place, str], dict[tuple[str, str], list[Observation]]] = defaultdict(dict)
    for row, system in measured:
        place = (row.system, row.machine, row.workload, row.placement, row.tasks)
        groups[place, system].setdefault((row.metric, row.unit), []).append(row)
    table = []
    for (place, system), here in groups.items():
        shares = [_share(row) for (metric, _), rows in here.items() if metric == _IDLE for row in rows]
        beside = any(metric == "throughput" for metric, _ in here)
        for (metric, unit), rows in here.items():
            if metric == _IDLE and beside:
                continue
            kind = _QUANTITIES[metric]
            factor = kind.factor(unit, clock_of(place[1])) or math.nan
            mean, low, high = mean_interval([row.value for row in rows])
            column = _COLUMNS.get(metric) or _THROUGHPUTS[reported(place[2], place[3])]
            for variant, values in simulated.at(column, place).items():
                found, found_low, found_high = (value * factor for value in values)
                cells = (
                    *place, variant, system, metric, unit, found, found_low, found_high, mean, low, high,
                    kind.error(found, mean, factor),
                    simulated.at(_IDLE, place).get(variant, _UNKNOWN)[0],
                    mean_interval(shares)[0] if shares else math.nan,
                    rows[0].source,
                )  # fmt: skip
                table.append(dict(zip(COLUMNS, cells, strict=True)))
    return table


def _share(row: Observation) -> float:
    """An idle share, of 1."""
    return row.value / _QUANTITIES[_IDLE].units[row.unit]


class _Simulated:
    """The means of a run's points, by column and place."""

    def __init__(self, points: pd.DataFrame) -> None:
        self._points = finished(points)
        self._all = points
        self._found: dict[str, dict[_Place, dict[str, _Interval]]] = {}

    def at(self, column: str, place: _Place) -> dict[str, _Interval]:
        """Swept values, "" without any -> mean and interval of *column*; NaN where the point failed."""
        if column not in self._found:
            self._found[column] = self._averaged(column)
        return self._found[column].get(place, {"": _UNKNOWN})

    def _averaged(self, column: str) -> dict[_Place, dict[str, _Interval]]:
        found: dict[_Place, dict[str, _Interval]] = {}
        if column not in self._points:
            return found
        for row in averaged(self._points, column, (*POINT_KEYS, "variant")).itertuples(
            index=False, name=None
        ):
            design, machine, workload, placement, threads, variant, mean, low, high, _ = row
            place = (design, machine, workload, placement, int(threads))
            found.setdefault(place, {})[variant] = (mean, low, high)
        return found


_Place = tuple[str, str, str, str, int]
"""Design, machine, workload, placement, threads: the order of `POINT_KEYS`."""
_Interval = tuple[float, float, float]
_UNKNOWN = (math.nan, math.nan, math.nan)
_COLUMNS = {"latency": "latency_mean_ns", _IDLE: _IDLE}
_THROUGHPUTS = {"over-time": THROUGHPUT, "from-latency": FROM_LATENCY}
_QUANTITIES: dict[str, Metric] = {
    name: metric for name in ("throughput", *_COLUMNS) if (metric := metric_named(name)) is not None
}
"""What a run says itself; other metrics are made of several of its points."""
