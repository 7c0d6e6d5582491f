"""Draw docs/figures/hardware-*.png: run each experiment of that name and draw what it shows best.

PYTHONPATH=. python docs/figures/hardware.py docs/figures [EXPERIMENT ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import sim
from sim.analysis.figures import measured_figure, scalability_figure, swept_figure
from sim.analysis.published import default_files, read_published
from sim.analysis.style import LABEL_SIZE, SPARE_STYLES, dress, log_threads_axis, log_throughput_axis
from sim.analysis.tables import labelled
from sim.experiment import presets

OF_LATENCY = ("hardware-shootdown", "hardware-broadcast", "hardware-guest-ipi")
"""Beginnings of the names of experiments that are about latency: a line for each machine and design."""
WITHOUT = ("hardware-nodes", "hardware-flush-refill", "hardware-ping-pong")
"""Experiments of a few numbers: a sentence says more than a figure."""
SPIN = ("tas", "ttas", "ticket", "mcs", "qspinlock", "cna", "mutex")
SHARED = ("rwsem", "phase-fair", "bravo", "percpu-rwsem", "seqlock")
TOGETHER = {
    "hardware-locks": {
        "a critical section": [f"{kind}-lock2" for kind in SPIN],
        "nearly all readers": [f"{kind}-read-mostly" for kind in SHARED],
    },
    "hardware-memory": {
        "zeroing and copying": ["page-clear", "page-clear-remote", "page-copy", "page-migrate"]
    },
}
"""Experiments whose workloads belong into one panel: its title, and which."""


def lines(ax: Axes, curves: dict[str, pd.DataFrame], column: str, label: str) -> None:
    """*column* over threads, both logarithmic, a line for each of *curves*."""
    for style, (name, points) in zip(SPARE_STYLES, curves.items(), strict=False):
        line = points.sort_values("threads")
        ax.plot(line["threads"], line[column], color=style.colour, marker=style.marker, ms=4, label=name)
    log_threads_axis(ax, sorted({int(count) for points in curves.values() for count in points["threads"]}))
    values = [value for points in curves.values() for value in points[column]]
    if max(values) > 3 * min(values):
        ax.set_yscale("log")
        log_throughput_axis(ax)
    else:
        ax.set_ylim(0, 1.2 * max(values))
    ax.set_xlabel("threads", fontsize=LABEL_SIZE)
    ax.set_ylabel(label, fontsize=LABEL_SIZE)
    ax.legend(frameon=False, fontsize=8)


def by_workload(points: pd.DataFrame, panels: dict[str, list[str]], title: str) -> Figure:
    """Throughput: a panel for each machine and group of workloads, a line a workload."""
    machines = list(dict.fromkeys(points["machine"]))
    figure, axes = row_of(len(machines) * len(panels), title)
    for machine in machines:
        here = points.loc[points["machine"] == machine]
        for name, workloads in panels.items():
            ax = axes.pop(0)
            dress(ax, f"{name}\n{machine}" if len(machines) > 1 else name)
            curves = {workload: here.loc[here["workload"] == workload] for workload in workloads}
            lines(ax, curves, "throughput_ops_per_us", "throughput (ops/µs)")
    return figure


def by_machine(points: pd.DataFrame, title: str) -> Figure:
    """Median latency: a panel a workload, a line for each machine and design."""
    if points["machine"].nunique() > 1:  # enough lines: the first design alone
        points = points.loc[points["design"] == points["design"].iloc[0]]
    workloads = list(dict.fromkeys(points["workload"]))
    figure, axes = row_of(len(workloads), title)
    for ax, workload in zip(axes, workloads, strict=True):
        dress(ax, workload)
        here = points.loc[points["workload"] == workload]
        several = here["design"].nunique() > 1
        curves = {
            f"{machine}, {design}" if several else str(machine): group
            for (machine, design), group in here.groupby(["machine", "design"], sort=False)
        }
        lines(ax, curves, "latency_p50_ns", "median latency (ns)")
    return figure


def row_of(panels: int, title: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(max(6.0, 4.3 * panels), 3.6), layout="constrained")
    figure.suptitle(title)
    return figure, list(figure.subplots(1, panels, squeeze=False).flat)


def main(folder: Path, names: list[str]) -> None:
    published = read_published(default_files())
    known = [name for name in presets.names("experiment") if name.startswith("hardware-")]
    for name in names or [name for name in known if name not in WITHOUT]:
        experiment = sim.load(name)
        points = labelled(sim.run(experiment, workers=2))
        title = experiment.spec.title
        if name in TOGETHER:
            figure = by_workload(points, TOGETHER[name], title)
        elif name.startswith(OF_LATENCY):
            figure = by_machine(points, title)
        else:
            found = measured_figure(points, published, title) or swept_figure(points, title)
            figure = found or scalability_figure(points, title)
        figure.savefig(folder / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
