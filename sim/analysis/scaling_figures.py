"""How a run scales, as figures: ratio to a baseline, efficiency with its law, percentiles of latency."""

from __future__ import annotations

from math import nan

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.curves import Quantity, failures, over_threads_figure
from sim.analysis.design_panels import design_grid, titles
from sim.analysis.laws import LEAST_COUNTS
from sim.analysis.layout import Panel, finish, grid, label_last_row, label_values
from sim.analysis.panels import THREADS_LABEL
from sim.analysis.scaling import PERCENTILES, PLACE, curve_table, latency_table, ratio_table, speedup_table
from sim.analysis.style import DesignStyle, design_styles, dress, line_styles, log_threads_axis, value_axis
from sim.analysis.tables import THROUGHPUT, averaged, default_baseline, finished
from sim.analysis.variants import parted
from sim.analysis.wording import design_title, time_scale

LAW_LABEL = "Universal Scalability Law, fitted"
ENOUGH_COUNTS = 3
"""Thread counts from which on a figure over threads says more than the table."""
_DASHES = {50: "-", 95: "--", 99: (0, (1, 1))}
_NAMES = {50: "p50 (median)", 95: "p95", 99: "p99"}
_LINEAR = 8
"""Up to this ratio of the largest to the smallest value an axis is linear."""
_HEIGHT = 1.9


def ratio_figure(
    points: pd.DataFrame, baseline: str | None = None, title: str = "", figure: Figure | None = None
) -> Figure | None:
    """Each design's throughput over the *baseline*'s over threads; None where nothing can be compared."""
    points = parted(points)
    baseline = baseline or default_baseline(list(dict.fromkeys(points["design"])))
    table = ratio_table(points, baseline).rename(columns={"ratio": "mean"}).assign(other=nan)
    if table.empty:
        return None
    ends = pd.concat([table["mean"], table["high"], pd.Series([1.0])])
    low, high = float(min(table["mean"].min(), 1.0)), float(ends.max())
    label = f"throughput ({design_title(baseline)} = 1)"
    quantity = Quantity(table, label, low, high, high > _LINEAR * low)
    colour = design_styles(points["design"])[baseline].colour

    def one(ax: Axes, panel: Panel) -> None:
        if ax.lines:
            ax.axhline(1.0, color=colour, linewidth=1.2, zorder=1.5, label=design_title(baseline))

    return over_threads_figure(points, quantity, title, [failures(points)], extra=one, figure=figure)


def efficiency_figure(points: pd.DataFrame, title: str = "") -> Figure | None:
    """How well threads are used, and the law fitted to each curve; None without a finished point.

    Efficiency is the throughput of a thread over that of a thread at the smallest count of its curve.
    """
    points = parted(points)
    table = speedup_table(points)[[*PLACE, "threads", "efficiency", "efficiency_low", "efficiency_high"]]
    table = table.rename(
        columns={"efficiency": "mean", "efficiency_low": "low", "efficiency_high": "high"}
    ).assign(other=nan)
    table = table.loc[table["mean"] > 0]
    if table.empty:
        return None
    laws = curve_table(points)
    first = averaged(finished(points), THROUGHPUT, [*PLACE, "threads"])
    looks = line_styles(design_styles(points["design"]), list(dict.fromkeys(points["variant"])))
    low, high = float(table["mean"].min()), float(pd.concat([table["mean"], table["high"]]).max())
    quantity = Quantity(table, "efficiency (1: as one thread)", low, high, log=True)

    def law(ax: Axes, panel: Panel) -> None:
        for row in panel.of(laws).to_dict("records"):
            if row["counts"] < LEAST_COUNTS or np.isnan(row["one"]):
                continue
            mine = panel.of(first)
            mine = mine.loc[(mine["design"] == row["design"]) & (mine["variant"] == row["variant"])]
            least = mine.loc[mine["threads"].idxmin()]
            at = np.geomspace(float(least["threads"]), float(row["threads"]), 60)
            of_one = row["one"] / (1 + row["sigma"] * (at - 1) + row["kappa"] * at * (at - 1))
            look = looks[str(row["design"]), str(row["variant"])]
            label = LAW_LABEL if LAW_LABEL not in ax.get_legend_handles_labels()[1] else "_nolegend_"
            ax.plot(at, of_one * least["threads"] / least["mean"], color=look.colour, linewidth=0.9,
                    linestyle=(0, (4, 2)), alpha=0.8, label=label, zorder=1.7)  # fmt: skip

    notes = [failures(points)]
    return over_threads_figure(points, quantity, title, notes, extra=law, last=[LAW_LABEL])


def percentiles_figure(points: pd.DataFrame, title: str = "") -> Figure | None:
    """The percentiles of latency that a run keeps over threads, a row a design; None where it has none."""
    points = parted(points)
    table = latency_table(points).dropna(subset=["ns"]) if set(PERCENTILES) & set(points) else points.iloc[:0]
    if table.empty or not (table["ns"] > 0).any():
        return None
    table = table.loc[table["ns"] > 0]
    factor, unit = time_scale(float(table["ns"].median()))
    drawn = design_grid(table)
    styles = design_styles(points["design"])
    figure, axes = grid(2.4, [_HEIGHT] * len(drawn.rows), titles(drawn.rows), headings=drawn.headings)
    for row, places in zip(drawn.rows, axes, strict=True):
        for ax, place in zip(places, row, strict=True):
            _draw_percentiles(ax, place.of(table), styles[place.design], factor)
        for ax in places[1:]:
            ax.tick_params(labelleft=False)
        label_values(places[0], f"latency ({unit})", _HEIGHT)
    low, high = factor * float(table["ns"].min()), factor * float(table["ns"].max())
    value_axis([ax for row in axes for ax in row], low, high, log=high > _LINEAR * low)
    label_last_row(axes, THREADS_LABEL)
    note = "half of the operations take longer than p50, 5 % than p95, 1 % than p99"
    finish(figure, title, [note, drawn.note, failures(points)])
    return figure


def _draw_percentiles(ax: Axes, table: pd.DataFrame, style: DesignStyle, factor: float) -> None:
    dress(ax)
    log_threads_axis(ax, [int(count) for count in table["threads"]])
    for percentile, dashes in _DASHES.items():
        line = table.loc[table["percentile"] == percentile].sort_values("threads")
        ax.plot(line["threads"], factor * line["ns"], color=style.colour, linestyle=dashes, linewidth=1.5,
                marker=style.marker if percentile == 50 else "", markersize=4,
                label=_NAMES[percentile])  # fmt: skip
