"""Curves of a run: over threads, over a swept value, or over its workloads where threads do not vary.

All panels of a row share their scale of values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log, sqrt

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.layout import (
    Panel,
    finish,
    grid,
    label_last_row,
    label_values,
    name_axis,
    panel_entries,
    panel_rows,
    place_title,
    row_headings,
)
from sim.analysis.panels import (
    IDEAL_LABEL,
    THREADS_LABEL,
    Looks,
    draw_lines,
    draw_over_threads,
    look_entries,
)
from sim.analysis.series import series_of
from sim.analysis.style import LABEL_SIZE, DesignStyle, design_styles, dress, line_styles, value_axis
from sim.analysis.sweeping import sweep_axis, sweep_of, with_threads
from sim.analysis.tables import FROM_LATENCY, POINT_KEYS, THROUGHPUT, averaged, finished, in_one_word
from sim.analysis.throughput import OTHER_LABELS, throughput_curves, throughput_label
from sim.analysis.variants import parted
from sim.analysis.wording import thread_count, time_scale
from sim.errors import Fault, InputError

LATENCY = "latency_p50_ns"
THREADS_SHOWN = (1, 64, 384)
"""Thread counts of a figure with room for a few, each replaced by the nearest one that was run."""
KEYS = (*POINT_KEYS, "variant")
_LAST = (IDEAL_LABEL, *OTHER_LABELS.values())
_ABOVE = 4
"""The ideal line may reach this many times above the highest value before it leaves the panel."""
_LINEAR = 8
"""Up to this ratio of the largest to the smallest value an axis is linear."""


@dataclass(frozen=True)
class Quantity:
    """What a row of panels shows: *curves* scaled to the unit in *label*, and where its axis ends."""

    curves: pd.DataFrame
    label: str
    low: float
    high: float
    log: bool
    other: str = ""

    def scale(self, axes: Iterable[Axes]) -> None:
        """One scale for all *axes*."""
        value_axis(axes, self.low, self.high, log=self.log)


def quantity_of(
    points: pd.DataFrame, column: str, keys: Sequence[str] = KEYS, *, log: bool | None = None
) -> Quantity | None:
    """The *column* of finished points in a readable unit; None where no point has a positive value.

    *log* is by default decided by how far the values reach.
    """
    throughput = column in (THROUGHPUT, FROM_LATENCY)
    if throughput:
        curves = throughput_curves(points, column, keys)
    else:
        curves = averaged(finished(points), column, keys).assign(other=float("nan"))
    curves = curves.loc[curves["mean"] > 0]
    if curves.empty:
        return None
    values = pd.concat([curves["mean"], curves["high"], curves["other"]]).dropna()
    low, high = float(min(values.min(), curves["mean"].min())), float(values.max())
    if log is None:
        log = high > _LINEAR * low
    typical = sqrt(low * high) if log else high
    if throughput:
        factor, label = throughput_label(column, typical)
    else:
        factor, unit = time_scale(typical)
        label = f"median latency ({unit})"
    drawn = ["mean", "low", "high", "other"]
    scaled = curves.assign(**{name: curves[name] * factor for name in drawn})
    other = OTHER_LABELS[column] if throughput and scaled["other"].notna().any() else ""
    return Quantity(scaled, label, low * factor, high * factor, log, other)


def scalability_figure(
    points: pd.DataFrame, title: str = "", figure: Figure | None = None, *, value: str = THROUGHPUT
) -> Figure:
    """The paper's grid: throughput over threads, a row a placement, a column a workload.

    *value* is the throughput that is shown; the other is marked where it differs notably. This and the other
    figures fill an empty *figure* if one is given, else they make their own.
    """
    return _over_threads(parted(points), value, title, figure)


def latency_figure(points: pd.DataFrame, title: str = "", figure: Figure | None = None) -> Figure:
    """The same grid with the median latency of an operation, as each point measured it, over threads."""
    return _over_threads(parted(points), LATENCY, title, figure)


def _over_threads(points: pd.DataFrame, column: str, title: str, figure: Figure | None) -> Figure:
    ideal = column != LATENCY
    quantity = quantity_of(points, column, log=True if ideal else None)
    return over_threads_figure(points, quantity, title, [failures(points)], ideal=ideal, figure=figure)


def over_threads_figure(
    points: pd.DataFrame,
    quantity: Quantity | None,
    title: str,
    notes: Sequence[str] = (),
    *,
    ideal: bool = False,
    figure: Figure | None = None,
    extra: Callable[[Axes, Panel], None] | None = None,
    last: Sequence[str] = (),
) -> Figure:
    """A panel for each machine, placement and workload of *points* (`parted`), with a *quantity* in curves.

    *extra* draws more on each panel; labels in *last* come behind the others in the legend.
    """
    rows = panel_rows(points)
    styles, variants, looks = _looks(points)
    height = 1.9
    figure, axes = grid(
        2.4,
        [height] * len(rows),
        [[panel.workload for panel in row] for row in rows],
        headings=row_headings(rows),
        figure=figure,
    )
    for row, places in zip(rows, axes, strict=True):
        threads = sorted({int(count) for panel in row for count in panel.of(points)["threads"]})
        for ax, panel in zip(places, row, strict=True):
            curves = panel.of(quantity.curves) if quantity else points.iloc[:0]
            other = quantity.other if quantity else ""
            draw_over_threads(ax, curves, looks, threads, ideal=ideal, other=other)
            if extra is not None:
                extra(ax, panel)
        _label_first(places, quantity, height + 0.3)
    drawn = [ax for row in axes for ax in row if ax.lines]
    if quantity is not None:
        _with_room_for_ideal(quantity, drawn).scale(drawn)
    label_last_row(axes, THREADS_LABEL)
    finish(figure, title, notes, _entries(styles, variants, figure, last), (*_LAST, *last))
    return figure


def draw_scalability(ax: Axes, points: pd.DataFrame, value: str = THROUGHPUT) -> None:
    """The curves of one panel, with its own scale and labels; *points* are `parted`."""
    quantity = quantity_of(points, value, log=True)
    if quantity is None:
        raise ValueError(f"no finished point has a {value}")
    threads = sorted({int(count) for count in points["threads"]})
    _, _, looks = _looks(points)
    draw_over_threads(ax, quantity.curves, looks, threads, ideal=True, other=quantity.other)
    _with_room_for_ideal(quantity, [ax]).scale([ax])
    ax.set_xlabel(THREADS_LABEL, fontsize=LABEL_SIZE)
    ax.set_ylabel(quantity.label, fontsize=LABEL_SIZE)


def workloads_figure(points: pd.DataFrame, title: str = "", figure: Figure | None = None) -> Figure:
    """Throughput and latency of each workload, for points at one thread count.

    Workloads that are numbered (`load-10GBps`, `load-20GBps`) are a curve over their number, others are names
    on the x axis. So are the placements of the one workload of a run.
    """
    points = parted(points)
    if points["workload"].nunique() == 1 < points["placement"].nunique():
        points = in_one_word(points, points["placement"] != "")
    styles, variants, looks = _looks(points)
    columns = [(column, quantity_of(points, column)) for column in (THROUGHPUT, LATENCY)]
    quantities = [quantity for _, quantity in columns if quantity is not None]
    if not quantities:
        raise InputError(Fault("no point of this run finished: nothing to draw"))
    pairs = points[["machine", "placement"]].drop_duplicates().itertuples(index=False, name=None)
    places = [Panel(machine, placement, "") for machine, placement in pairs]
    names = list(dict.fromkeys(points["workload"]))
    series = series_of(names)
    across = min(len(places), 3)
    inches, height = max(3.0, 5.5 / across, 0.0 if series else 0.45 * len(names)), 2.2
    rows = [
        (quantity, places[start : start + across])
        for start in range(0, len(places), across)
        for quantity in quantities
    ]
    several = len({place.machine for place in places}) > 1
    figure, axes = grid(
        inches,
        [height] * len(rows),
        [[place_title(place, several) for place in row] for _, row in rows],
        figure=figure,
    )
    lines = 1
    for (quantity, row), row_axes in zip(rows, axes, strict=True):
        quantity.scale(row_axes)
        for ax, place in zip(row_axes, row, strict=True):
            dress(ax)
            here = quantity.curves
            here = here.loc[(here["machine"] == place.machine) & (here["placement"] == place.placement)]
            if series:
                here = here.assign(x=here["workload"].map(series.values))
                ax.set_xlabel(series.label, fontsize=LABEL_SIZE)
            else:
                at = {name: number for number, name in enumerate(names)}
                here = here.assign(x=here["workload"].map(at))
                lines = max(lines, name_axis(ax, names, inches))
                ax.set_xlim(-0.5, len(names) - 0.5)
            draw_lines(ax, here, looks, "x", other=quantity.other, connect=series is not None)
        _label_first(row_axes, quantity, height)
    figure.set_figheight(figure.get_figheight() + 0.2 * len(rows) * (lines - 1))
    threads = thread_count(int(points["threads"].iloc[0]))
    finish(
        figure,
        ", ".join(filter(None, (title, threads))),
        [failures(points)],
        _entries(styles, variants, figure),
        _LAST,
    )
    return figure


def swept_figure(
    points: pd.DataFrame,
    title: str = "",
    figure: Figure | None = None,
    columns: Sequence[str] = (THROUGHPUT, LATENCY),
) -> Figure | None:
    """The *columns* over a swept value, each in rows of its own; None where no swept value can be an axis.

    A line is a design at a thread count (at most as many as `THREADS_SHOWN`) and at the other swept values.
    """
    sweep = sweep_of(points)
    if sweep is None or finished(points).empty:
        return None
    shown = nearest_threads(sweep.points["threads"], THREADS_SHOWN)
    here = with_threads(sweep.points, shown)
    styles, variants, looks = _looks(here)
    found = [quantity_of(here, column, (*KEYS, "x")) for column in columns]
    quantities = [quantity for quantity in found if quantity is not None]
    if not quantities:
        return None
    panels = [panel for row in panel_rows(here) for panel in row]
    across = ceil(len(panels) / ceil(len(panels) / 3))
    rows = [
        (quantity, panels[start : start + across])
        for start in range(0, len(panels), across)
        for quantity in quantities
    ]
    width, height = max(3.2, 5.0 / across), 2.2
    several = len({panel.machine for panel in panels}) > 1
    figure, axes = grid(
        width,
        [height] * len(rows),
        [[place_title(panel, several, workload=True) for panel in row] for _, row in rows],
        figure=figure,
    )
    lines = 1
    for (quantity, row), places in zip(rows, axes, strict=True):
        for ax, panel in zip(places, row, strict=True):
            dress(ax)
            lines = max(lines, sweep_axis(ax, sweep, width - 0.4))
            curves = panel.of(quantity.curves)
            draw_lines(ax, curves, looks, "x", other=quantity.other, connect=not sweep.words)
        quantity.scale(places)
        _label_first(places, quantity, height)
    figure.set_figheight(figure.get_figheight() + 0.2 * len(rows) * (lines - 1))
    label_last_row(axes, sweep.label, width - 0.1)
    threads = [thread_count(shown[0])] if len(shown) == 1 else []
    entries = _entries(styles, variants, figure)
    finish(figure, ", ".join([*filter(None, [title]), *threads]), [failures(points)], entries, _LAST)
    return figure


def nearest_threads(available: Iterable[int], wanted: Sequence[int]) -> list[int]:
    """For each wanted thread count the nearest available one (by ratio), each once, ascending."""
    counts = sorted({int(count) for count in available})
    return sorted({min(counts, key=lambda count: abs(log(count / target))) for target in wanted})


def failures(points: pd.DataFrame) -> str:
    """A note on the points that are not drawn."""
    failed = len(points) - len(finished(points))
    if not failed:
        return ""
    return f"{failed} of {len(points)} points failed and are not drawn: see the column `error` of points.csv"


def _label_first(places: Sequence[Axes], quantity: Quantity | None, inches: float) -> None:
    """The label of a row at its left, and the numbers of its scale at the first panel that has one."""
    first = next((ax for ax in places if ax.lines), places[0])
    for ax in places:
        ax.tick_params(labelleft=ax is first)
    if quantity is not None:
        label_values(places[0], quantity.label, inches)


def _with_room_for_ideal(quantity: Quantity, axes: Sequence[Axes]) -> Quantity:
    """*quantity* with a longer axis, for the ideal lines or as much of them as leaves the curves legible."""
    ideals = [line for ax in axes for line in ax.lines if line.get_label() == IDEAL_LABEL]
    ends = [float(np.max(line.get_ydata())) for line in ideals]
    return replace(quantity, high=max(quantity.high, min(max(ends, default=0.0), _ABOVE * quantity.high)))


def _looks(points: pd.DataFrame) -> tuple[Mapping[str, DesignStyle], list[str], Looks]:
    styles = design_styles(points["design"])
    variants = list(dict.fromkeys(points["variant"]))
    return styles, variants, line_styles(styles, variants)


def _entries(
    styles: Mapping[str, DesignStyle], variants: Sequence[str], figure: Figure, last: Sequence[str] = ()
) -> dict[str, Artist] | None:
    """The legend where designs and swept values would multiply: each once. Else None, what panels label."""
    if len(styles) == 1 or len(variants) == 1:
        return None
    drawn = panel_entries(figure)
    return {
        **look_entries(styles, variants),
        **{label: drawn[label] for label in (*_LAST, *last) if label in drawn},
    }
