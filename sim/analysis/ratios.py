"""How much faster than the baseline: ratios at the smallest thread count, as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.layout import finish, grid, label_values, name_axis
from sim.analysis.metrics import ratio_metric
from sim.analysis.panels import PUBLISHED_LABEL, draw_relative
from sim.analysis.published import Observation
from sim.analysis.style import DesignStyle, design_styles, value_axis
from sim.analysis.tables import FROM_LATENCY, THROUGHPUT, averaged, default_baseline, finished, ratio_to
from sim.analysis.throughput import OTHER_LABELS, notable, with_throughputs
from sim.analysis.variants import parted
from sim.analysis.wording import design_title, placement_title, thread_count
from sim.errors import Fault, InputError

_KEYS = ("machine", "design", "name", "placement", "threads")
_HEIGHT = 2.9
_BARS = 40
"""Most bars side by side before a panel goes on in another row."""


def one_thread_figure(
    points: pd.DataFrame,
    baseline: str | None = None,
    published: Sequence[Observation] = (),
    title: str = "",
    figure: Figure | None = None,
) -> Figure:
    """Each design's work done over the *baseline*'s at the smallest thread count, a panel a machine.

    *published* ratios of the same places are marked. A place without a finished point of the baseline has no
    bars, and a note says so. Raises `InputError` when *baseline* is in none of the points, or none finished.
    """
    points = parted(points)
    baseline = baseline or default_baseline(list(dict.fromkeys(points["design"])))
    places, ratios = one_thread_ratios(points, baseline)
    styles = design_styles(points["design"])
    bars = max(len(styles) - 1, 1)
    most = max(1, _BARS // bars)
    parts = [
        (machine, list(names)[start : start + most])
        for machine in dict.fromkeys(places["machine"])
        for names in [dict.fromkeys(places.loc[places["machine"] == machine, "name"])]
        for start in range(0, len(names), most)
    ]
    wide = max(len(names) for _, names in parts)
    inches = max(4.5, wide * (0.28 * bars + 0.25), min(wide * 0.9, 9.0))
    several = places["machine"].nunique() > 1
    figure, axes = grid(
        inches,
        [_HEIGHT] * len(parts),
        [[""] for _ in parts],
        headings=[machine if several else "" for machine, _ in parts],
        figure=figure,
    )
    more = 0
    for (ax,), (machine, names) in zip(axes, parts, strict=True):
        here = ratios.loc[(ratios["machine"] == machine) & ratios["name"].isin(names)]
        more += draw_ratios(ax, here, styles, baseline, names, published, inches) - 1
    figure.set_figheight(figure.get_figheight() + 0.2 * more)
    finish(
        figure,
        ", ".join(filter(None, (title, *_common(places)))),
        notes=[_without_baseline(places, ratios, baseline)],
        last=(OTHER_LABELS[THROUGHPUT], PUBLISHED_LABEL),
    )
    return figure


def draw_ratios(
    ax: Axes,
    ratios: pd.DataFrame,
    styles: Mapping[str, DesignStyle],
    baseline: str,
    names: Sequence[str],
    published: Sequence[Observation],
    inches: float,
) -> int:
    """Draw the bars of one machine on a panel *inches* wide; the lines of text that its names are high."""
    marks = published_marks(published, ratios, baseline)
    other = OTHER_LABELS[THROUGHPUT] if ratios["other"].notna().any() else ""
    draw_relative(ax, ratios, styles, baseline, names, published=marks, other=other)
    if ratios.empty:
        return 1
    tops = pd.concat([ratios["mean"], ratios["high"], ratios["other"], pd.Series([1.0, *marks.values()])])
    value_axis([ax], 0, 1.1 * float(tops.max()), log=False)
    label_values(ax, f"work done relative to {design_title(baseline)} (operations completed)", _HEIGHT)
    return name_axis(ax, names, inches)


def one_thread_ratios(points: pd.DataFrame, baseline: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(places, `averaged` ratios to *baseline* with `other`) at the smallest thread count of each machine.

    A place is a machine, workload and swept value, called `name`, at the workload's first placement: one is
    enough, for threads cannot contend when there is one. *points* are `parted`.
    """
    if finished(points).empty:
        raise InputError(Fault("no point of this run finished: nothing to draw"))
    designs = list(dict.fromkeys(points["design"]))
    if baseline not in designs:
        raise InputError(
            Fault("the baseline design is not in this run", value=baseline, allowed=", ".join(designs))
        )
    first = points.groupby("workload", sort=False)["placement"].transform("first")
    least = points.groupby("machine", sort=False)["threads"].transform("min")
    chosen = points.loc[(points["placement"] == first) & (points["threads"] == least)]
    name = chosen["workload"] + chosen["variant"].map(lambda variant: f", {variant}" if variant else "")
    chosen = chosen.assign(name=name, workload=name)  # points are paired value by value
    places = chosen.loc[:, [key for key in _KEYS if key != "design"]].drop_duplicates()
    tables = {}
    here = with_throughputs(finished(chosen))
    for column in (THROUGHPUT, FROM_LATENCY):
        if (here["design"] == baseline).any():
            paired = ratio_to(here, baseline, value=column)
        else:
            paired = here.iloc[:0].assign(ratio=np.nan)
        paired = paired.loc[paired["design"] != baseline]
        tables[column] = averaged(paired, "ratio", _KEYS)
    ratios = tables[THROUGHPUT]
    return places, ratios.assign(other=notable(ratios, tables[FROM_LATENCY], _KEYS))


def published_marks(
    published: Sequence[Observation], ratios: pd.DataFrame, baseline: str
) -> dict[tuple[str, str], float]:
    """(design, workload) -> the published ratio to *baseline* at the places of *ratios*."""
    places = set(
        ratios[["machine", "design", "name", "placement", "threads"]].itertuples(index=False, name=None)
    )
    return {
        (row.system, row.workload): row.value
        for row in published
        if row.metric == ratio_metric(baseline)
        and (row.machine, row.system, row.workload, row.placement, row.tasks) in places
    }


def _common(places: pd.DataFrame) -> list[str]:
    """The threads and placement that the title can say of all *places*."""
    threads = sorted(set(places["threads"]))
    placements = set(places["placement"])
    return [
        thread_count(int(threads[0])) if len(threads) == 1 else "fewest threads of each machine",
        placement_title(placements.pop()) if len(placements) == 1 else "first placement of each workload",
    ]


def _without_baseline(places: pd.DataFrame, ratios: pd.DataFrame, baseline: str) -> str:
    """A note on the places that have no bar."""
    drawn = set(ratios[["machine", "name"]].itertuples(index=False, name=None))
    missing = [
        name
        for machine, name in places[["machine", "name"]].itertuples(index=False, name=None)
        if (machine, name) not in drawn
    ]
    if not missing:
        return ""
    listed = ", ".join(dict.fromkeys(missing))
    return f"nothing to compare with {design_title(baseline)} (a point is missing or failed): {listed}"
