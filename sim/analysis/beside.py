"""Measured beside simulated: the curves of a run with what others measured at the same places.

Rows of throughput, latency and idle share are drawn in the unit of their source or, for times, in a readable
one.
A filled dot is a row that costs may be fitted to, an open one a prediction. Where the workloads of a machine
were run at one thread count only (a load that grows from one workload to the next) the workloads themselves
are the x axis, and what they count is its scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.coverage import FileCatalogue
from sim.analysis.layout import finish, grid, label_values, name_axis
from sim.analysis.metrics import SHARES, metric_named
from sim.analysis.panels import draw_lines
from sim.analysis.published import Observation
from sim.analysis.series import series_of, told_apart
from sim.analysis.style import LABEL_SIZE, design_styles, dress, line_styles, log_threads_axis, value_axis
from sim.analysis.tables import POINT_KEYS, THROUGHPUT, averaged, finished, in_one_word
from sim.analysis.throughput import OTHER_LABELS, throughput_curves, throughput_label
from sim.analysis.variants import parted
from sim.analysis.wording import placement_title, thread_count, time_scale

OPEN_LABEL, FILLED_LABEL = "measured (the model predicts it)", "measured (costs may be fitted to it)"
_COLUMNS = {"throughput": THROUGHPUT, "latency": "latency_mean_ns", "idle_share": "idle_share"}
_WIDE = 20
"""From this ratio of the largest to the smallest value on, a logarithmic axis."""


@dataclass(frozen=True)
class Comparison:
    """One panel: a workload, or several at one thread count, in one metric and unit on one machine.

    *curves* has the columns design, variant, x, mean, low, high and other, *dots* design, x, value and use,
    all in *unit*. An x is a thread count, or with *axis* the number that the workloads count, or with *names*
    the place in that list.
    """

    machine: str
    title: str
    metric: str
    unit: str
    curves: pd.DataFrame
    dots: pd.DataFrame
    axis: str = ""
    names: tuple[str, ...] = ()

    @property
    def values(self) -> pd.Series[float]:
        """All that is drawn."""
        shown = [self.curves[name] for name in ("mean", "low", "high", "other")]
        values: pd.Series[float] = pd.concat([*shown, self.dots["value"]])
        return values.loc[lambda value: value > 0]


def measured_figure(
    points: pd.DataFrame, published: Sequence[Observation], title: str = "", figure: Figure | None = None
) -> Figure | None:
    """Throughput, latency and idle share beside what others measured at the same places; None if nobody did.

    Nor is there one of a sweep: measured was what is, not what a swept value makes of it.
    """
    points = parted(points)
    if points["variant"].nunique() > 1:
        return None
    panels = comparisons(points, published, clocks())
    if not panels:
        return None
    rows = _rows(panels)
    columns = max(len(row) for row in rows)
    width, height = (6.2 if columns == 1 else 3.2), 2.3
    several = len({panel.machine for panel in panels}) > 1
    figure, axes = grid(
        width,
        [height] * len(rows),
        [[panel.title for panel in row] for row in rows],
        headings=[row[0].machine if several else "" for row in rows],
        figure=figure,
    )
    lines = 0
    for row, places in zip(rows, axes, strict=True):
        lines += draw_row(places, row, (width, height), points)
    figure.set_figheight(figure.get_figheight() + 0.2 * lines)
    finish(figure, title, last=(OPEN_LABEL, FILLED_LABEL, OTHER_LABELS[THROUGHPUT]))
    return figure


def clocks() -> Callable[[str], int]:
    """The clock (Hz) of a shipped machine by its name; 0 of another."""
    catalogue = FileCatalogue()

    def clock_of(name: str) -> int:
        return catalogue.machine(name).clock if catalogue.name("machine", name) else 0

    return clock_of


def draw_row(
    axes: Sequence[Axes], row: Sequence[Comparison], size: tuple[float, float], points: pd.DataFrame
) -> int:
    """Draw panels of one machine, metric and unit on one scale; returns the lines that names add below.

    The thread axes reach all thread counts of the run's *points* on that machine.
    """
    width, height = size
    values = pd.concat([panel.values for panel in row])
    whole = SHARES[row[0].metric][row[0].unit] if row[0].metric in SHARES else None
    low, high = (float(values.min()), float(values.max())) if whole is None else (0.0, whole)
    log = whole is None and high > _WIDE * low
    factor, label = _axis_label(row[0], sqrt(low * high) if log else high)
    styles = design_styles(points["design"])
    ran = points.loc[points["machine"] == row[0].machine, "threads"]
    lines = 1
    for ax, panel in zip(axes, row, strict=True):
        dress(ax)
        if panel.names:
            lines = max(lines, name_axis(ax, panel.names, width))
        elif panel.axis:
            ax.set_xlabel(panel.axis, fontsize=LABEL_SIZE)
        else:
            ax.set_xlabel("threads", fontsize=LABEL_SIZE)
            log_threads_axis(ax, sorted({*map(int, ran), *map(int, panel.dots["x"])}))
        scaled = ["mean", "low", "high", "other"]
        curves = panel.curves.assign(**{name: panel.curves[name] * factor for name in scaled})
        if whole is not None:  # an interval may reach beyond what a share can be
            curves[["low", "high"]] = curves[["low", "high"]].clip(0, whole)
        looks = line_styles(styles, list(dict.fromkeys(curves["variant"])))
        if curves["x"].nunique() > 1:  # only what was measured has dots
            looks = {line: replace(look, marker="") for line, look in looks.items()}
        marked = OTHER_LABELS[THROUGHPUT] if curves["other"].notna().any() else ""
        draw_lines(ax, curves, looks, "x", other=marked)
        for line in ax.lines:
            if not str(line.get_label()).startswith("_") and line.get_label() != marked:
                line.set_label(f"{line.get_label()}, simulated")
        for design, style in styles.items():
            _draw_dots(ax, panel.dots.loc[panel.dots["design"] == design], style.colour, factor)
        ax.tick_params(labelleft=ax is axes[0])
    value_axis(axes, low * factor, high * factor, log=log)
    label_values(axes[0], label, height)
    return lines - 1


def _draw_dots(ax: Axes, dots: pd.DataFrame, colour: str, factor: float) -> None:
    for use, label in (("check", OPEN_LABEL), ("calibrate", FILLED_LABEL)):
        part = dots.loc[dots["use"] == use]
        if part.empty:
            continue
        face = colour if use == "calibrate" else "white"
        ax.plot(
            part["x"], part["value"] * factor, "o", color=colour, markerfacecolor=face, markersize=5,
            label=label,
        )  # fmt: skip


def _axis_label(panel: Comparison, typical: float) -> tuple[float, str]:
    """(factor from the panel's unit, label) of an axis around *typical*."""
    if panel.metric == "throughput":
        return throughput_label(THROUGHPUT, typical, panel.unit)
    if panel.metric in SHARES:
        return 1.0, f"idle, of all cpus ({panel.unit})"
    factor, unit = time_scale(typical, panel.unit)
    return factor, f"mean {panel.metric} ({unit})"


def _rows(panels: Sequence[Comparison]) -> list[list[Comparison]]:
    """Panels of one machine, metric and unit side by side, at most three, evenly."""
    groups: dict[tuple[str, str, str], list[Comparison]] = {}
    for panel in panels:
        groups.setdefault((panel.machine, panel.metric, panel.unit), []).append(panel)
    rows: list[list[Comparison]] = []
    for group in groups.values():
        width = ceil(len(group) / ceil(len(group) / 3))
        for start in range(0, len(group), width):
            row = group[start : start + width]
            rows.insert(_below(rows, row) if row[0].metric in SHARES else len(rows), row)
    return rows


def _below(rows: Sequence[Sequence[Comparison]], row: Sequence[Comparison]) -> int:
    """The place in *rows* for a *row* of shares: below another one of the same panels, else at the end."""
    panels = [(panel.machine, panel.title) for panel in row]
    same = [
        at for at, other in enumerate(rows) if [(panel.machine, panel.title) for panel in other] == panels
    ]
    return same[-1] + 1 if same else len(rows)


def comparisons(
    points: pd.DataFrame, published: Sequence[Observation], clock_of: Callable[[str], int]
) -> list[Comparison]:
    """What can be compared of a run's `parted` *points*; *clock_of* gives the clock (Hz) of a machine."""
    points = finished(points)
    named = {row.workload for row in published if not row.placement}
    points = in_one_word(points, (points["workload"] + "-" + points["placement"]).isin(named))
    rows = _matching(points, published)
    if rows.empty:
        return []
    found = []
    keys = ["machine", "metric", "unit"]
    for machine, metric, unit in dict.fromkeys(rows[keys].itertuples(index=False, name=None)):
        group = _of(rows, tuple(zip(keys, (machine, metric, unit), strict=True)))
        kind = metric_named(metric)
        factor = kind.factor(unit, clock_of(machine)) if kind else None
        if factor is None:
            continue
        here = points.loc[(points["machine"] == machine) & points["design"].isin(group["design"])]
        curves = _simulated(here, metric, factor)
        if curves.empty:
            continue
        places = list(dict.fromkeys(zip(group["workload"], group["placement"], strict=True)))
        if len(places) > 2 and curves["threads"].nunique() == 1:
            order = [name for name in dict.fromkeys(curves["workload"]) if (group["workload"] == name).any()]
            found.append(_over_workloads((machine, metric, unit), curves, group, order))
        else:
            for workload, placement in places:
                title = ", ".join(filter(None, (workload, placement_title(placement))))
                of = (("workload", workload), ("placement", placement))
                dots = _of(group, of)
                panel = _of(curves, of)
                panel = panel.loc[panel["design"].isin(dots["design"])]
                lines, marks = panel.assign(x=panel["threads"]), dots.assign(x=dots["threads"])
                found.append(Comparison(machine, title, metric, unit, lines, marks))
    return found


def _simulated(points: pd.DataFrame, metric: str, factor: float) -> pd.DataFrame:
    """The curves of *metric*, times *factor*."""
    keys = (*POINT_KEYS, "variant")
    if metric == "throughput":
        curves = throughput_curves(points, THROUGHPUT, keys)
    else:
        column = _COLUMNS[metric]
        known = points if column in points else points.assign(**{column: float("nan")})
        curves = averaged(known, column, keys).assign(other=float("nan"))
    return curves.assign(**{name: curves[name] * factor for name in ("mean", "low", "high", "other")})


def _matching(points: pd.DataFrame, published: Sequence[Observation]) -> pd.DataFrame:
    """The published rows of the places in *points*, whatever their thread counts, one row each.

    A row without a placement is the workload's only one.
    """
    placements: dict[tuple[str, str, str], set[str]] = {}
    for machine, design, workload, placement in points[
        ["machine", "design", "workload", "placement"]
    ].itertuples(index=False, name=None):
        placements.setdefault((machine, design, workload), set()).add(placement)
    rows = []
    for row in published:
        known = placements.get((row.machine, row.system, row.workload), set())
        if row.metric in _COLUMNS and known and (row.placement in known or not row.placement):
            rows.append(
                {
                    "machine": row.machine,
                    "design": row.system,
                    "workload": row.workload,
                    "placement": row.placement or next(iter(known)),
                    "threads": row.tasks,
                    "metric": row.metric,
                    "unit": row.unit,
                    "value": row.value,
                    "use": row.use,
                }
            )
    return pd.DataFrame(rows)


def _over_workloads(
    place: tuple[str, str, str], curves: pd.DataFrame, rows: pd.DataFrame, workloads: list[str]
) -> Comparison:
    """One panel with the workloads on the x axis: at the number that each counts, else in their order."""
    machine, metric, unit = place
    rows = rows.loc[rows["threads"].isin(curves["threads"]) & rows["workload"].isin(workloads)]
    curves = curves.loc[curves["workload"].isin(workloads)]
    threads = thread_count(int(curves["threads"].iloc[0]))
    series, names = series_of(workloads), list[str]()
    if series is not None:
        common, at, axis = series.title, series.values, series.label
    else:
        common, names = told_apart(workloads)
        at, axis = {name: float(number) for number, name in enumerate(workloads)}, ""
    return Comparison(
        machine,
        ", ".join(filter(None, (common, threads))),
        metric,
        unit,
        curves.assign(x=curves["workload"].map(at)),
        rows.assign(x=rows["workload"].map(at)),
        axis,
        tuple(names),
    )


def _of(frame: pd.DataFrame, where: Sequence[tuple[str, str]]) -> pd.DataFrame:
    for column, value in where:
        frame = frame.loc[frame[column] == value]
    return frame
