"""Measured beside simulated: the curves of a run with what others measured at the same places.

Rows of throughput and latency are drawn, in the unit that their source gives. A filled dot is a row that
costs may be fitted to, an open one a prediction. Where the workloads of a machine were run at one thread
count only (a load that grows from one workload to the next) the workloads themselves are the x axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import pandas as pd
from matplotlib.axes import Axes

from sim.analysis.metrics import metric_named
from sim.analysis.published import Observation
from sim.analysis.style import (
    LABEL_SIZE,
    TICK_SIZE,
    DesignStyle,
    dress,
    log_threads_axis,
    log_throughput_axis,
)
from sim.analysis.tables import averaged
from sim.analysis.wording import design_title, thread_count

OPEN_LABEL, FILLED_LABEL = "measured (a prediction)", "measured (open to fitting)"
_COLUMNS = {"throughput": "throughput_ops_per_us", "latency": "latency_mean_ns"}
_WIDE = 20
"""From this ratio of the largest to the smallest value on, a logarithmic axis."""


@dataclass(frozen=True)
class Comparison:
    """One panel: a workload, or several at one thread count, in one metric and unit on one machine.

    *curves* has the columns design, x and value, *dots* design, x, value and use. With *names* an x is the
    place in that list.
    """

    machine: str
    title: str
    quantity: str
    curves: pd.DataFrame
    dots: pd.DataFrame
    names: tuple[str, ...] = ()


def comparisons(
    points: pd.DataFrame, published: Sequence[Observation], clock_of: Callable[[str], int]
) -> list[Comparison]:
    """What can be compared of a run's finished *points*; *clock_of* gives the clock (Hz) of a machine."""
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
        curves = averaged(here, value=_COLUMNS[metric])
        curves = curves.assign(value=curves["mean"] * factor)
        quantity = f"{metric} ({unit})"
        places = list(dict.fromkeys(zip(group["workload"], group["placement"], strict=True)))
        if len(places) > 2 and curves["threads"].nunique() == 1:
            order = [name for name in dict.fromkeys(curves["workload"]) if (group["workload"] == name).any()]
            found.append(_over_workloads(machine, quantity, curves, group, order))
        else:
            for workload, placement in places:
                title = f"{workload}, {placement}" if placement else workload
                of = (("workload", workload), ("placement", placement))
                dots = _of(group, of)
                panel = _of(curves, of)
                panel = panel.loc[panel["design"].isin(dots["design"])]
                found.append(
                    Comparison(
                        machine,
                        title,
                        quantity,
                        panel.assign(x=panel["threads"]),
                        dots.assign(x=dots["threads"]),
                    )
                )
    return found


def draw_beside(ax: Axes, comparison: Comparison, styles: Mapping[str, DesignStyle]) -> None:
    """Draw one panel: a line a design for what was simulated, dots in its colour for what was measured."""
    dress(ax, comparison.title)
    values = pd.concat([comparison.curves["value"], comparison.dots["value"]])
    for design, style in styles.items():
        line = comparison.curves.loc[comparison.curves["design"] == design].sort_values("x")
        if line.empty:
            continue
        marker = style.marker if len(line) == 1 else ""
        ax.plot(
            line["x"],
            line["value"],
            color=style.colour,
            marker=marker,
            linewidth=1.6,
            label=design_title(design),
        )
        dots = comparison.dots.loc[comparison.dots["design"] == design]
        for use, label in (("check", OPEN_LABEL), ("calibrate", FILLED_LABEL)):
            part = dots.loc[dots["use"] == use]
            face = style.colour if use == "calibrate" else "white"
            ax.plot(
                part["x"],
                part["value"],
                "o",
                color=style.colour,
                markerfacecolor=face,
                markersize=5,
                label=label,
            )
    if comparison.names:
        ax.set_xticks(range(len(comparison.names)), comparison.names, rotation=60, fontsize=TICK_SIZE)
    else:
        ax.set_xlabel("threads", fontsize=LABEL_SIZE)
        threads = sorted(set(comparison.curves["x"]) | set(comparison.dots["x"]))
        if threads[-1] > 4:
            log_threads_axis(ax, threads)
        else:
            ax.set_xticks(threads)
    if values.max() > _WIDE * values.min():
        ax.set_yscale("log")
        log_throughput_axis(ax)
    else:
        ax.set_ylim(0, 1.08 * values.max())
    ax.set_ylabel(comparison.quantity, fontsize=LABEL_SIZE)


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
    machine: str, quantity: str, curves: pd.DataFrame, rows: pd.DataFrame, workloads: list[str]
) -> Comparison:
    """One panel with the workloads in their order on the x axis, named by what tells them apart."""
    place = {name: number for number, name in enumerate(workloads)}
    rows = rows.loc[rows["threads"].isin(curves["threads"])]
    curves = curves.loc[curves["workload"].isin(place)]
    common = _common_start(workloads)
    title = f"{common.rstrip('-')}, {thread_count(int(curves['threads'].iloc[0]))}"
    return Comparison(
        machine,
        title,
        quantity,
        curves.assign(x=curves["workload"].map(place)),
        rows.assign(x=rows["workload"].map(place)),
        tuple(name.removeprefix(common) for name in workloads),
    )


def _of(frame: pd.DataFrame, where: Sequence[tuple[str, str]]) -> pd.DataFrame:
    for column, value in where:
        frame = frame.loc[frame[column] == value]
    return frame


def _common_start(names: Sequence[str]) -> str:
    """The letters with which all *names* begin."""
    columns = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in columns)
