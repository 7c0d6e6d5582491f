"""Draw docs/figures/hardware-*.png: run each experiment of that name and draw what it shows best.

PYTHONPATH=. python docs/figures/hardware.py docs/figures [EXPERIMENT ...]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import sim
from sim.analysis.curves import LATENCY, quantity_of
from sim.analysis.figures import measured_figure, scalability_figure, swept_figure
from sim.analysis.layout import finish, grid, label_last_row, label_values
from sim.analysis.panels import THREADS_LABEL, draw_over_threads
from sim.analysis.published import default_files, read_published
from sim.analysis.style import SPARE_STYLES, LineStyle
from sim.analysis.tables import THROUGHPUT, finished, labelled
from sim.files import presets

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


def by_workload(points: pd.DataFrame, groups: dict[str, list[str]], title: str) -> Figure:
    """Throughput: a panel for each machine and group of workloads, a line a workload."""
    machines = list(dict.fromkeys(points["machine"]))
    panels = [
        (f"{name}, {machine}" if len(machines) > 1 else name, points["machine"] == machine, workloads)
        for machine in machines
        for name, workloads in groups.items()
    ]
    return panels_of_lines(
        {name: points.loc[here & points["workload"].isin(workloads)] for name, here, workloads in panels},
        points["workload"],
        THROUGHPUT,
        title,
    )


def by_machine(points: pd.DataFrame, title: str) -> Figure:
    """Median latency: a panel a workload, a line for each machine and design."""
    if points["machine"].nunique() > 1:  # enough lines: the first design alone
        points = points.loc[points["design"] == points["design"].iloc[0]]
    names = points["machine"]
    if points["design"].nunique() > 1:
        names = names + ", " + points["design"]
    workloads = dict.fromkeys(points["workload"])
    return panels_of_lines(
        {workload: points.loc[points["workload"] == workload] for workload in workloads},
        names,
        LATENCY,
        title,
    )


def panels_of_lines(panels: Mapping[str, pd.DataFrame], names: pd.Series, column: str, title: str) -> Figure:
    """*column* over threads on one scale, a panel for each of *panels*, a line for each of its *names*."""
    drawn = {
        panel: points.assign(design=names, variant="", placement=panel) for panel, points in panels.items()
    }
    quantity = quantity_of(pd.concat(drawn.values()), column)
    assert quantity is not None, f"no point of {title} has a {column}"
    figure, axes = grid(3.6, [2.5], [list(panels)])
    for ax, (panel, points) in zip(axes[0], drawn.items(), strict=True):
        looks = {
            (name, ""): LineStyle(style.colour, style.marker)
            for style, name in zip(SPARE_STYLES, dict.fromkeys(points["design"]), strict=False)
        }
        curves = quantity.curves.loc[quantity.curves["placement"] == panel]
        draw_over_threads(ax, curves, looks, sorted({int(count) for count in points["threads"]}))
        for line, name in zip(ax.lines, dict.fromkeys(points["design"]), strict=True):
            line.set_label(name)  # no name of a design
        ax.legend(frameon=False, fontsize=8)
        ax.tick_params(labelleft=ax is axes[0][0])
    quantity.scale(axes[0])
    label_values(axes[0][0], quantity.label, 2.5)
    label_last_row(axes, THREADS_LABEL)
    finish(figure, title, entries={})
    return figure


def figure_of(name: str, points: pd.DataFrame, title: str) -> Figure:
    """What the finished and `labelled` *points* of an experiment show best."""
    if name in TOGETHER:
        return by_workload(points, TOGETHER[name], title)
    if name.startswith(OF_LATENCY):
        return by_machine(points, title)
    if measured := measured_figure(points, read_published(default_files()), title):
        return measured
    few = points["threads"].nunique() <= 2
    swept = swept_figure(points, title, columns=(LATENCY,)) if few else None
    return swept or scalability_figure(points, title)


def main(folder: Path, names: list[str]) -> None:
    known = [name for name in presets.names("experiment") if name.startswith("hardware-")]
    for name in names or [name for name in known if name not in WITHOUT]:
        experiment = sim.load(name)
        points = finished(labelled(sim.run(experiment, workers=2)))
        figure_of(name, points, experiment.spec.title).savefig(folder / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
