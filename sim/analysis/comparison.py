"""`cortensim compare`: the comparison on a terminal, and as tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sim.analysis.against import Against, against, read_measured
from sim.analysis.metrics import SHARES
from sim.analysis.tables import RunTables
from sim.analysis.two_runs import KEYS, TwoRuns
from sim.analysis.wording import plain_number
from sim.experiment import Manifest
from sim.files import write_atomically
from sim.terminal import Console, TextTable, styled

TABLE, WHY = "compare.csv", "why.csv"
_CLOSE, _FAR = 0.2, 0.4
"""Errors up to the first are printed green, those above the second red."""


def reported_by(manifest: Manifest | None) -> Callable[[str, str], str]:
    """(workload, placement) -> how the benchmark behind it computes throughput, as the run's files say it."""
    workloads: Mapping[str, Any] = (
        (manifest.content if manifest else {}).get("resolved", {}).get("workloads", {})
    )

    def reported(workload: str, placement: str) -> str:
        tree = workloads.get(workload, {})
        there = (tree.get("placements") or {}).get(placement) or {}
        return str(there.get("throughput", tree.get("throughput", "over-time")))

    return reported


def measured_beside(run: RunTables, files: Iterable[Path], names: Mapping[str, str] | None = None) -> Against:
    """A finished *run* (`read_run`) beside what was measured, in *files* of the published format or of
    will-it-scale; *names* says what these call otherwise. Raises `InputError` for files that are neither.
    """
    from sim.analysis.beside import clocks  # matplotlib

    reported = reported_by(run.manifest)
    return against(run.points, read_measured(files), names or {}, reported, clocks())


# -- a run and measurements ---------------------------------------------------------------------------------


def render_against(result: Against, console: Console) -> None:
    """Print simulated beside measured, what has no place in the run, and how close it is all in all."""
    table = result.table
    if len(table):
        keys = _telling(table, (*KEYS, "system"))
        metrics = table["metric"].nunique() > 1 or table["unit"].nunique() > 1
        screen = TextTable(*keys, title="simulated beside measured")
        for heading in (*(["metric"] if metrics else []), "simulated", "measured", "error"):
            screen.add_column(heading, justify="left" if heading == "metric" else "right")
        idle = table[["simulated_idle_share", "measured_idle_share"]].notna().to_numpy().any()
        for heading in ("idle simulated", "idle measured") if idle else ():
            screen.add_column(heading, justify="right")
        for row in table.to_dict("records"):
            shares = [_share(row["simulated_idle_share"]), _share(row["measured_idle_share"])] if idle else []
            screen.add_row(
                *(str(row[key]) for key in keys),
                *([row["metric"]] if metrics else []),
                _value(row["simulated"], row["unit"]),
                _value(row["measured"], row["unit"]),
                _error(row),
                *shares,
            )
        console.print(screen)
        for metric, group in table.loc[~table["metric"].isin(list(SHARES))].groupby("metric", sort=False):
            errors = [abs(error) for error in group["error"] if not math.isnan(error)]
            if errors:
                words = f"error of {metric}: median {statistics.median(errors):.1%}, worst {max(errors):.1%}"
                console.print(f"{words}, over {len(errors)} rows")
    if result.left_out:
        console.print("not compared:")
        for reason, count in result.left_out.items():
            console.print(f"  {count} {'row' if count == 1 else 'rows'}: {reason}")


def _error(row: Mapping[Any, Any]) -> Any:
    error = row["error"]
    if math.isnan(error):
        return "failed"
    if row["metric"] in SHARES:
        return f"{100 * error:+.1f} points"
    colour = "green" if abs(error) <= _CLOSE else "red" if abs(error) > _FAR else "yellow"
    return styled(f"{error:+.1%}", colour)


# -- two runs -----------------------------------------------------------------------------------------------


def render_two(result: TwoRuns, labels: Sequence[str], console: Console) -> None:
    """Print the throughput of two runs side by side, their ratio, and whether it is more than luck."""
    table = result.table
    if len(table):
        keys = _telling(table, KEYS)
        repeated = table["ratio_low"].notna().any()
        idle = table[["first_idle_share", "second_idle_share"]].notna().to_numpy().any()
        screen = TextTable(*keys, title="operations completed per µs")
        headings = [*labels, "ratio", *(["95 % interval", "significant"] if repeated else [])]
        for heading in (*headings, *([f"idle {label}" for label in labels] if idle else [])):
            screen.add_column(heading, justify="right")
        for row in table.to_dict("records"):
            shares = [_share(row[f"{which}_idle_share"]) for which in ("first", "second")] if idle else []
            interval = [_interval(row), row["significant"] or "-"] if repeated else []
            screen.add_row(
                *(str(row[key]) for key in keys),
                f"{row['first_ops_per_us']:.4g}",
                f"{row['second_ops_per_us']:.4g}",
                _ratio(row["ratio"]),
                *interval,
                *shares,
            )
        console.print(screen)
        known = table.loc[table["significant"] != ""]
        if len(known):
            found = int((known["significant"] == "yes").sum())
            console.print(
                f"{found} of {len(known)} differences are significant at 95 %; luck alone makes about "
                f"{0.05 * len(known):.2g} of so many look so"
            )
        if len(known) < len(table):
            console.print(
                "with one replicate nobody knows whether a difference is luck: `replicates` in the experiment"
            )
    for count, label in zip((result.only_first, result.only_second), labels, strict=True):
        if count:
            console.print(f"{count} {'place' if count == 1 else 'places'} of {label} alone: not compared")


def _interval(row: Mapping[Any, Any]) -> str:
    return (
        "-" if math.isnan(row["ratio_low"]) else f"{_ratio(row['ratio_low'])} to {_ratio(row['ratio_high'])}"
    )


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value >= 0.1 else f"{value:.3g}"


# -- both ---------------------------------------------------------------------------------------------------


def write_table(table: pd.DataFrame, folder: Path, name: str) -> Path:
    """Write `compare.csv` or `why.csv`. Raises `OSError`."""
    path = folder / name
    write_atomically(path, lambda temporary: table.to_csv(temporary, index=False, lineterminator="\n"))
    return path


def _telling(table: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    """Those of *keys* that a reader needs: the design, the threads, and what is not the same everywhere."""
    return [key for key in keys if key in ("design", "threads") or table[key].nunique() > 1]


def _value(value: float, unit: str) -> str:
    return "-" if math.isnan(value) else f"{plain_number(value)} {unit}"


def _share(value: float) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.1%}"
