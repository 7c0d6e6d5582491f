"""How far to trust a number of the report: what was measured at its place, and what the costs are worth.

A published row at a place of the run is held against the run's own number: *fitted* if it is marked
`calibrate`, as costs were chosen to meet it, else *predicted*. Where nothing was measured there is only
the quality of the costs, by the files as they are now, if these are what the run had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sim.analysis.against import against
from sim.analysis.beside import clocks
from sim.analysis.comparison import reported_by
from sim.analysis.metrics import ratio_metric
from sim.analysis.published import CALIBRATE, Observation, default_files, read_published
from sim.analysis.tables import FROM_LATENCY, POINT_KEYS, THROUGHPUT, RunTables, averaged, finished, ratio_to
from sim.analysis.variants import parted
from sim.errors import InputError
from sim.experiment import Manifest
from sim.files import load_spec

_PLURALS: Mapping[str, Any] = {"machines": "machine", "designs": "design", "workloads": "workload"}


@dataclass(frozen=True)
class Held:
    """A measured number beside the run's: *error* is simulated over measured, less 1."""

    machine: str
    design: str
    workload: str
    placement: str
    threads: int
    metric: str
    unit: str
    simulated: float
    measured: float
    error: float
    fitted: bool
    source: str

    @property
    def label(self) -> str:
        """`fitted`, or `predicted`."""
        return "fitted" if self.fitted else "predicted"


def standing(held: Sequence[Held], place: Mapping[str, Any]) -> str:
    """How far to trust the number at *place*, which has the keys of a point: `fitted +3 %`, `predicted -29 %`
    (as far as it is off what was measured there; the worst, where several things were), or `predicted`."""
    mine = [row for row in held if all(getattr(row, key) == place[key] for key in POINT_KEYS)]
    if not mine:
        return "predicted"
    worst = max(mine, key=lambda row: abs(row.error))
    label = "fitted" if all(row.fitted for row in mine) else "predicted"
    return f"{label} {100 * worst.error:+.0f} %".replace("+0 %", "0 %").replace("-0 %", "0 %")


@dataclass(frozen=True)
class Costs:
    """How many values of a file have which quality; empty where the file is not what it was."""

    kind: str
    name: str
    qualities: tuple[tuple[str, int], ...]


def held_against_published(tables: RunTables, baseline: str) -> list[Held]:
    """Each published number at a place of the run, in the order of the data."""
    points = parted(tables.points)
    points = points.loc[points["variant"] == ""]
    if points.empty:
        return []
    rows = [row for row in read_published(default_files()) if row.machine in set(points["machine"])]
    reported = reported_by(tables.manifest)
    plain = against(points, rows, {}, reported, clocks()).table
    fitted = {_place(row): row.use == CALIBRATE for row in rows}
    found = [
        Held(
            row["machine"], row["design"], row["workload"], row["placement"], int(row["threads"]),
            row["metric"], row["unit"], row["simulated"], row["measured"], row["error"],
            fitted.get((*(row[key] for key in POINT_KEYS), row["metric"]), False), row["source"],
        )
        for row in plain.to_dict("records")
        if row["metric"] not in ("idle_share",) and row["error"] == row["error"]
    ]  # fmt: skip
    return found + _ratios(points, rows, baseline, tables)


def costs_of(manifest: Manifest | None) -> list[Costs]:
    """The qualities of the values of the run's files."""
    found = []
    resolved = (manifest.content if manifest else {}).get("resolved", {})
    for plural, kind in _PLURALS.items():
        for name, tree in resolved.get(plural, {}).items():
            found.append(Costs(kind, name, _qualities(kind, name, tree)))
    return found


def _qualities(kind: Any, name: str, tree: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    try:
        document = load_spec(kind, name).document
    except InputError:
        return ()
    if document.tree != tree:
        return ()
    counts = Counter(each.quality for each in document.provenance.values() if each.quality)
    return tuple(counts.most_common())


def _ratios(
    points: pd.DataFrame, rows: Sequence[Observation], baseline: str, tables: RunTables
) -> list[Held]:
    """Published ratios to the baseline, of the throughput that the benchmark reports."""
    wanted = [row for row in rows if row.metric == ratio_metric(baseline)]
    done = finished(points)
    if not wanted or not (done["design"] == baseline).any():
        return []
    reported = reported_by(tables.manifest)
    columns = {"over-time": THROUGHPUT, "from-latency": FROM_LATENCY}
    means: dict[tuple[Any, ...], float] = {}
    for column in columns.values():
        if column in done:
            table = averaged(ratio_to(done, baseline, column), "ratio")
            for place, mean in zip(
                table[list(POINT_KEYS)].itertuples(index=False), table["mean"], strict=True
            ):
                means[(*place, column)] = float(mean)
    found = []
    for row in wanted:
        column = columns[reported(row.workload, row.placement)]
        mean = means.get((row.system, row.machine, row.workload, row.placement, row.tasks, column))
        if mean is not None:
            found.append(
                Held(
                    row.machine, row.system, row.workload, row.placement, row.tasks, row.metric, row.unit,
                    mean, row.value, mean / row.value - 1, row.use == CALIBRATE, row.source,
                )
            )  # fmt: skip
    return found


def _place(row: Observation) -> tuple[Any, ...]:
    return row.system, row.machine, row.workload, row.placement, row.tasks, row.metric
