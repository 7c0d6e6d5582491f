"""Figures of sweeps: curves over a swept value, or over threads with a line for each value.

A sweep of numbers (pages, bytes, ceilings) that has more values than thread counts is the x axis. Otherwise
threads are, and each combination of swept values is a line. The machine, workload and placement that a value
belongs to make a panel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from sim.analysis.style import (
    LABEL_SIZE,
    SPARE_STYLES,
    TICK_SIZE,
    dress,
    log_threads_axis,
    log_throughput_axis,
    spread_ticks,
)
from sim.analysis.tables import finished, swept_columns
from sim.analysis.wording import design_title, plain_number, thread_count

LATENCY, THROUGHPUT = "latency_p50_ns", "throughput_ops_per_us"
_LABELS = {LATENCY: "median latency (ns)", THROUGHPUT: "throughput (ops/µs)"}
_NUMBER = re.compile(r"\s*([-+]?\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?)\s*([A-Za-zµ/]*)\s*\Z")
_FACTORS = {
    "": 1.0, "ps": 1e-3, "ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "cycles": 1.0,
    "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
    "MB/s": 1e-3, "GB/s": 1.0, "MHz": 1e-3, "GHz": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """How a run's points are drawn: *axis* is the swept column on the x axis, or `threads`.

    *points* has the columns machine, workload, placement (without swept values in their names), x, label, y.
    """

    axis: str
    axis_label: str
    ticks: dict[float, str]
    quantity: str
    points: pd.DataFrame


def sweep_of(points: pd.DataFrame) -> Sweep | None:
    """The sweep in a run's finished *points*; None where nothing was swept."""
    done = finished(points)
    varied = [column for column in swept_columns(done) if done[column].nunique() > 1]
    if not varied or done.empty:
        return None
    numbers = {column: done[column].map(_number) for column in varied}
    numeric = [column for column in varied if numbers[column].notna().all()]
    most = max(numeric, key=lambda column: done[column].nunique(), default=None)
    threads = done["threads"].astype(int)
    over_threads = most is None or done[most].nunique() <= max(2, threads.nunique())
    axis = "threads" if over_threads or most is None else most
    x = threads.astype(float) if axis == "threads" else numbers[axis]
    written = threads.astype(str) if axis == "threads" else done[axis].astype(str)
    others = [column for column in varied if column != axis]
    base = {name: done[name].str.partition(", ")[0] for name in ("machine", "workload", "design")}
    several_designs, several_threads = base["design"].nunique() > 1, threads.nunique() > 1
    labels = []
    for index in done.index:
        parts = [design_title(base["design"][index])] if several_designs else []
        parts += [f"{column.rpartition('.')[2]} {done[column][index]}" for column in others]
        if axis != "threads" and several_threads:
            parts.append(thread_count(int(threads[index])))
        labels.append(", ".join(parts) or design_title(base["design"][index]))
    quantity = THROUGHPUT if axis == "threads" else LATENCY
    frame = pd.DataFrame(
        {
            "machine": base["machine"],
            "workload": base["workload"],
            "placement": done["placement"],
            "x": x,
            "label": labels,
            "y": done[quantity],
        }
    )
    ticks = {float(at): str(text) for at, text in zip(x, written, strict=True)}
    label = "threads" if axis == "threads" else f"{axis.rpartition('.')[2].replace('_', ' ')} ({axis})"
    return Sweep(axis, label, ticks, _LABELS[quantity], frame.dropna(subset=["y"]))


def panels_of(sweep: Sweep) -> list[tuple[str, str, str]]:
    """(machine, workload, placement) of each panel, in order of appearance."""
    keys = sweep.points[["machine", "workload", "placement"]]
    return list(dict.fromkeys(keys.itertuples(index=False, name=None)))


def draw_sweep(ax: Axes, sweep: Sweep, panel: tuple[str, str, str], *, machine_in_title: bool) -> None:
    """Draw one panel, a line for each label, in the same colours in every panel of the figure."""
    machine, workload, placement = panel
    title = f"{workload}, {placement}" if placement else workload
    dress(ax, f"{title}\n{machine}" if machine_in_title else title)
    here = sweep.points
    here = here.loc[
        (here["machine"] == machine) & (here["workload"] == workload) & (here["placement"] == placement)
    ]
    for number, label in enumerate(dict.fromkeys(sweep.points["label"])):
        line = here.loc[here["label"] == label].groupby("x", sort=True)["y"].mean()
        if line.empty:
            continue
        style = SPARE_STYLES[number % len(SPARE_STYLES)]
        dashes = "-" if number < len(SPARE_STYLES) else "--"
        ax.plot(
            line.index, line, dashes, color=style.colour, marker=style.marker, markersize=4.5, label=label
        )
    _x_axis(ax, sweep, sorted(set(here["x"])))
    if here["y"].max() > 8 * here["y"].min():
        ax.set_yscale("log")
        log_throughput_axis(ax)
    else:
        ax.set_ylim(0, 1.08 * here["y"].max())
    ax.set_xlabel(sweep.axis_label, fontsize=LABEL_SIZE)
    ax.set_ylabel(sweep.quantity, fontsize=LABEL_SIZE)


def _x_axis(ax: Axes, sweep: Sweep, places: Sequence[float]) -> None:
    if sweep.axis == "threads":
        log_threads_axis(ax, [int(place) for place in places])
        return
    wide = places[0] > 0 and places[-1] > 8 * places[0]
    if wide:
        ax.set_xscale("log", base=2)
    shown = spread_ticks([int(place) for place in places]) if wide and places[0] >= 1 else places
    ax.set_xticks(shown, [sweep.ticks.get(float(at), plain_number(at)) for at in shown], fontsize=TICK_SIZE)
    ax.minorticks_off()


def _number(value: object) -> float | None:
    """The number in a swept value such as `4 KiB`, comparable with others of its kind; None for a word."""
    if isinstance(value, bool):
        return None
    match = _NUMBER.match(str(value))
    factor = _FACTORS.get(match[2]) if match else None
    return float(match[1].replace("_", "")) * factor if match and factor is not None else None
