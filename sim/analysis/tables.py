"""Run tables: the points and breakdown of a run directory as tidy frames, and what is computed from them.

A *points* frame has one row a point (see `POINT_COLUMNS`); a *breakdown* frame one row a point and activity.
`averaged` turns replicates into a mean with its 95 % confidence interval, `ratio_to` divides every point by
the baseline design's point with the same machine, workload, placement, threads and replicate.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sim.analysis.stored import BREAKDOWN, PARQUET, POINTS, read_table, refuse_changed, swept, typed
from sim.errors import Fault, InputError
from sim.experiment import Manifest, read_manifest

CURVE_KEYS = ("design", "machine", "workload", "placement")
POINT_KEYS = (*CURVE_KEYS, "threads")
POINT_COLUMNS = (*POINT_KEYS, "seed", "replicate", "throughput_ops_per_us", "status")
BREAKDOWN_COLUMNS = (*POINT_KEYS, "seed", "replicate", "activity", "ns_per_op")
REPORT_COLUMNS = {
    "locks": ("lock", "mode", "activity", "locks", "wait_ns"),
    "cpus": ("cpu", "cluster", "socket", "measured", "operations"),
    "latencies": ("of", "name", "count", "percentile", "latency_ns"),
    "transfers": ("from_cluster", "to_cluster", "distance", "transfers", "transfer_ns"),
}
"""Table of a run with a profile -> columns of it that are read, besides those that name a point."""
THROUGHPUT = "throughput_ops_per_us"
"""Work done: operations that all threads completed in the window, over its length."""
FROM_LATENCY = "throughput_from_latency_ops_per_us"
"""What CortenMM's benchmark computes: threads over the mean latency of its measured requests."""
CHANGED = " (tables changed after the run)"
"""What the title of a run says whose tables are not those that it wrote."""

# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
_T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
_Z_95 = 1.959964


@dataclass(frozen=True)
class RunTables:
    """What a run directory holds: its experiment's *name* and *title*, its two tables, and its *manifest*, if
    it has one that can be read."""

    name: str
    title: str
    points: pd.DataFrame
    breakdown: pd.DataFrame
    manifest: Manifest | None = None


def read_run(run_dir: Path, *, as_is: bool = False) -> RunTables:
    """Read `points.csv`, `breakdown.csv` and the names in `manifest.json` of a run directory.

    Raises `InputError` when a table is absent, is not the one that the run wrote, or holds what no run
    writes. With *as_is* tables that were changed are read all the same, and the title says so. A folder
    without a manifest is no run, but tables of somebody's own: the folder's name stands in for the title.
    """
    if not run_dir.is_dir():
        raise InputError(Fault("no such run directory", file=str(run_dir)))
    points, breakdown = read_table(run_dir, POINTS), read_table(run_dir, BREAKDOWN)
    name = title = Path(os.path.abspath(run_dir)).name
    manifest = None
    try:
        if (manifest := read_manifest(run_dir)) is not None:
            name = manifest.experiment.name
            title = manifest.experiment.title or name
            copies = [read_table(run_dir, PARQUET)] if (run_dir / PARQUET).exists() else []
            refuse_changed([points, breakdown, *copies], manifest)
    except InputError:
        if not as_is:
            raise
        title += CHANGED
    return RunTables(
        name=name,
        title=title,
        points=labelled(typed(points, POINT_COLUMNS)),
        breakdown=labelled(typed(breakdown, BREAKDOWN_COLUMNS)),
        manifest=manifest,
    )


def read_report(
    run_dir: Path, run: RunTables, tables: Sequence[str] = tuple(REPORT_COLUMNS), *, as_is: bool = False
) -> dict[str, pd.DataFrame]:
    """Those *tables* of a *run* with a profile that are there, by name; older runs have only `locks`.

    Raises `InputError` if one was changed, unless *as_is*, and if it holds what no run writes.
    """
    if run.manifest is None:
        return {}
    found = {}
    for name in tables:
        columns = REPORT_COLUMNS[name]
        if (run_dir / f"{name}.csv").exists():
            table = read_table(run_dir, f"{name}.csv")
            if not as_is:
                refuse_changed([table], run.manifest)
            found[name] = labelled(typed(table, (*POINT_KEYS, "seed", "replicate", *columns)))
    return found


def swept_columns(frame: pd.DataFrame) -> list[str]:
    """The columns with values that a sweep varied: `machine.coherence.cross_socket`."""
    return swept([str(name) for name in frame.columns])


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """*frame* with swept values in the names of what they change: `epyc-9965, cross_socket 150 ns`.

    Points that differ in a swept value alone are then no longer taken for replicates of each other.
    """
    frame = frame.copy(deep=False)
    for column in swept_columns(frame):
        if frame[column].nunique() > 1:
            kind, key = column.partition(".")[0], column.rpartition(".")[2]
            frame[kind] = frame[kind] + f", {key} " + frame[column].astype(str)
    return frame


def in_one_word(frame: pd.DataFrame, which: pd.Series[bool]) -> pd.DataFrame:
    """*frame* with the placement behind the workload's name where *which* says so: `dram-latency-remote`."""
    joined = frame["workload"] + "-" + frame["placement"]
    return frame.assign(
        workload=frame["workload"].mask(which, joined), placement=frame["placement"].mask(which, "")
    )


def finished(points: pd.DataFrame) -> pd.DataFrame:
    """The points that ran to their end."""
    done = points.loc[points["status"] != "failed"] if "status" in points else points
    return _bare(done)


def averaged(frame: pd.DataFrame, value: str = THROUGHPUT, keys: Sequence[str] = POINT_KEYS) -> pd.DataFrame:
    """*value* over the replicates: columns *keys*, `mean`, `low`, `high`, `replicates`.

    `low` and `high` bound the 95 % confidence interval of the mean (Student's t) and are NaN for a single
    replicate, whose spread nobody knows. Rows without a value do not count. Order of first appearance.
    """
    known = _bare(frame).dropna(subset=[value]).astype({key: int for key in keys if key == "threads"})
    groups = known.groupby(list(keys), sort=False, observed=True)[value]
    table = groups.agg(mean="mean", deviation="std", replicates="count").reset_index()
    half = [
        deviation * student_t_95(int(count) - 1) / math.sqrt(count) if count > 1 else math.nan
        for deviation, count in zip(table["deviation"], table["replicates"], strict=True)
    ]
    table["low"] = table["mean"] - half
    table["high"] = table["mean"] + half
    return table[[*keys, "mean", "low", "high", "replicates"]]


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of *values* and the ends of its 95 % confidence interval, NaN for a single value."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = student_t_95(len(values) - 1) * deviation / math.sqrt(len(values))
    return mean, mean - half, mean + half


def ratio_to(points: pd.DataFrame, baseline: str, value: str = THROUGHPUT) -> pd.DataFrame:
    """*points* with a column `ratio`: *value* over the *baseline* design's at the same place.

    Points are paired replicate by replicate (designs face the same random layout in a replicate). Points
    whose baseline point is missing or failed get no row. Raises `InputError` for an unknown baseline.
    """
    done = finished(points)
    designs = list(dict.fromkeys(done["design"]))
    if baseline not in designs:
        raise InputError(
            Fault("the baseline design is not in this run", value=baseline, allowed=", ".join(designs))
        )
    place = [key for key in (*POINT_KEYS, "replicate") if key != "design" and key in done]
    base = done.loc[done["design"] == baseline, [*place, value]].rename(columns={value: "baseline_value"})
    paired = done.merge(base, on=place, how="inner", validate="many_to_one")
    paired["ratio"] = paired[value] / paired["baseline_value"]
    return paired.drop(columns="baseline_value")


def default_baseline(designs: Sequence[str]) -> str:
    """The design others are compared with: the first Linux, else the first of all."""
    return next((name for name in designs if name.startswith("linux")), designs[0])


def student_t_95(degrees: int) -> float:
    """Two-sided 95 % quantile of Student's t; beyond the table by its expansion in 1/*degrees*."""
    if degrees <= len(_T_95):
        return _T_95[degrees - 1]
    z = _Z_95
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def _bare(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy without `attrs`: a run's frame carries its breakdown there, and a merge would compare them."""
    copy = frame.copy(deep=False)
    copy.attrs = {}
    return copy
