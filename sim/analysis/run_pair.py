"""Two runs in figures: the curves of both, and how much faster the second one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sim.analysis.curves import scalability_figure, workloads_figure
from sim.analysis.layout import finish, grid, label_last_row, label_values, panel_rows, row_headings
from sim.analysis.panels import THREADS_LABEL, draw_lines
from sim.analysis.style import INK, design_styles, dress, line_styles, log_threads_axis, value_axis
from sim.analysis.two_runs import KEYS, TwoRuns

_CURVE = [key for key in KEYS if key != "threads"]
_LEAST = 0.1
"""How far the scale of ratios reaches at least, to both sides of 1: what is alike shall look alike."""
_LINEAR = 4
"""Up to this ratio of the largest to the smallest value the scale is linear, around 1."""


def labels_of(first: Path, second: Path, names: Mapping[str, str]) -> tuple[str, str]:
    """What two runs are called beside each other: by their folders, as far as it takes to tell them apart.

    The label of the second run says what stands there under another name.
    """
    words = ", ".join(f"{old} as {new}" for old, new in names.items())
    renamed = f" ({words})" if words else ""
    for one, other in ((first.name, second.name), (str(first), str(second))):
        if one and other + renamed != one:
            return one, other + renamed
    return "first", "second"


def pair_figure(result: TwoRuns, labels: Sequence[str], title: str) -> Figure:
    """The curves that both runs have, a design in its colour: of the second run paler and dashed."""
    compared = pd.MultiIndex.from_frame(result.table[_CURVE].drop_duplicates())
    parts = []
    for points, label in zip((result.first, result.second), labels, strict=True):
        here = points.loc[pd.MultiIndex.from_frame(points[_CURVE]).isin(compared)]
        names = [", ".join(filter(None, (variant, label))) for variant in here["variant"]]
        parts.append(here.assign(variant=names))
    both = pd.concat(parts, ignore_index=True)
    draw = scalability_figure if both["threads"].nunique() > 1 else workloads_figure
    return draw(both, title)


def ratio_figure(result: TwoRuns, labels: Sequence[str], title: str) -> Figure:
    """The throughput of the second run over that of the first, over threads, with its interval."""
    table = result.table.rename(columns={"ratio": "mean", "ratio_low": "low", "ratio_high": "high"})
    rows = panel_rows(table)
    height = 1.9
    figure, axes = grid(
        2.4,
        [height] * len(rows),
        [[panel.workload for panel in row] for row in rows],
        headings=row_headings(rows),
    )
    looks = line_styles(design_styles(table["design"]), list(dict.fromkeys(table["variant"])))
    values = pd.concat([table["mean"], table["low"], table["high"]]).dropna()
    low, high = min(float(values.min()), 1 - _LEAST), max(float(values.max()), 1 + _LEAST)
    for row, places in zip(rows, axes, strict=True):
        for ax, panel in zip(places, row, strict=True):
            dress(ax)
            here = panel.of(table)
            log_threads_axis(ax, sorted(here["threads"]))
            ax.axhline(1, color=INK, linewidth=0.8, zorder=1.5)
            draw_lines(ax, here, looks, "threads")
            ax.tick_params(labelleft=ax is places[0])
        if high > _LINEAR * low:
            value_axis(places, low, high, log=True)
        else:
            _around_one(places, low, high)
        label_values(places[0], "throughput, ratio", height)
    label_last_row(axes, THREADS_LABEL)
    over = f"throughput of {labels[1]} over that of {labels[0]}"
    bands = "; bands are 95 % intervals" if table["low"].notna().any() else ""
    finish(figure, title, [over + bands])
    return figure


def _around_one(axes: Sequence[Axes], low: float, high: float) -> None:
    """A linear scale that does not begin at 0: what is compared is the distance from 1."""
    margin = 0.05 * (high - low)
    for ax in axes:
        ax.set_ylim(low - margin, high + margin)
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
