"""What a run says on the terminal when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.analysis.tables import averaged, swept_columns
from sim.experiment import KEY
from sim.terminal import TextTable

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame

_LINES = 9
"""Most curves that a run says how they scale."""


def result_table(points: DataFrame) -> TextTable:
    """Throughput at the largest thread count: a row a machine, workload and placement, a column a design.

    Replicates are given as their mean with half of its 95 % confidence interval; a swept value is a column.
    """
    threads = int(points["threads"].max())
    table = TextTable(
        box=None, pad_edge=False, header_style="bold", title_justify="left",
        title=f"operations completed per µs at {threads} threads",
    )  # fmt: skip
    names = ("machine", "workload", "placement", *swept_columns(points))
    keys = [key for key in names if points[key].nunique() > 1] or ["workload"]
    for key in keys:
        table.add_column(key)
    designs = list(dict.fromkeys(points["design"]))
    for design in designs:
        table.add_column(design, justify="right")
    largest = points[points["threads"] == threads]
    means = averaged(largest[largest["status"] == "ok"], keys=("design", *keys))
    for place, _ in largest.groupby(keys, sort=False):
        here = means[(means[keys] == list(place)).all(axis=1)].set_index("design")
        cells = []
        for design in designs:
            if design not in here.index:
                cells.append("failed")
                continue
            mean, high = here.loc[design, ["mean", "high"]]
            cells.append(f"{mean:.4g}" + (f" ± {high - mean:.2g}" if high == high else ""))
        table.add_row(*[str(name) for name in place], *cells)
    return table


def scaling_lines(points: DataFrame, out: Path) -> TextTable | str | None:
    """How each curve scales, a line a curve, or where to find it if they are many; None for short curves."""
    from sim.analysis.curve_report import curve_lines
    from sim.analysis.laws import LEAST_COUNTS
    from sim.analysis.scaling import curve_table

    counts = points.loc[points["status"] == "ok"].groupby(["machine", "workload"])["threads"].nunique()
    if counts.empty or counts.max() < LEAST_COUNTS:
        return None
    found = curve_table(points)
    if len(found) > _LINES:
        return f"how each of {len(found)} curves scales: cortensim curves {out}"
    return curve_lines(found, "how each curve scales (`cortensim curves` explains and writes tables)")


def profile_table(points: DataFrame) -> TextTable:
    """What an operation takes at the largest thread count, and where its threads wait: a row a point."""
    from sim.analysis.tables import swept_columns

    threads = int(points["threads"].max())
    names = ["design", "machine", "workload", "placement", *swept_columns(points), "replicate"]
    keys = [key for key in names if points[key].nunique() > 1] or ["design"]
    table = TextTable(
        box=None, pad_edge=False, header_style="bold", title=f"per operation at {threads} threads",
        title_justify="left",
    )  # fmt: skip
    for key in keys:
        table.add_column(key)
    for heading in ("switches", "IPIs", "flushes", "transfers", "idle"):
        table.add_column(heading, justify="right")
    table.add_column("longest waits")
    place = [*KEY, *swept_columns(points)]
    counters = points.attrs["counters"].pivot_table(index=place, columns="counter", values="value")
    contended = points.attrs["locks"].query("contended > 0 and locks == 1")
    for _, point in points[(points["threads"] == threads) & (points["status"] == "ok")].iterrows():
        here = tuple(point[place])
        counts, operations = counters.loc[here], point["operations"]
        moved = sum(count for name, count in counts.items() if str(name).startswith("transfers: "))
        each = (counts["context switches"], counts["ipis sent"], counts["flushes"], moved)
        mine = contended[(contended[place] == list(here)).all(axis=1)]
        waits = [
            f"{row.lock} ({row.mode}) {row.wait_ns / operations / 1000:.3g} µs"
            for row in mine.head(2).itertuples()
        ]
        table.add_row(
            *(str(point[key]) for key in keys),
            *(f"{count / operations:.3g}" for count in each),
            f"{counts['idle share']:.0%}",
            ", ".join(waits),
        )
    return table
