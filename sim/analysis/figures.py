"""The figures of a run: the scalability grid, the one-thread bars, where the time goes.

Each `*_figure` function takes tidy frames and returns a `matplotlib.figure.Figure` made without pyplot, so
that nothing global changes and nothing leaks. `plot_run` writes all of them for a run directory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, log
from pathlib import Path
from textwrap import wrap

import pandas as pd
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.analysis.activities import grouped
from sim.analysis.beside import FILLED_LABEL, OPEN_LABEL, comparisons, draw_beside
from sim.analysis.coverage import FileCatalogue
from sim.analysis.metrics import ratio_metric
from sim.analysis.panels import (
    IDEAL_LABEL,
    LATENCY_LABEL,
    PUBLISHED_LABEL,
    SHARE_LABEL,
    THREADS_LABEL,
    THROUGHPUT_LABEL,
    draw_breakdown,
    draw_relative,
    draw_scalability,
)
from sim.analysis.published import Observation, default_files, read_published
from sim.analysis.style import (
    INK,
    LABEL_SIZE,
    TITLE_SIZE,
    design_styles,
    log_throughput_axis,
)
from sim.analysis.sweeping import draw_sweep, panels_of, sweep_of
from sim.analysis.tables import POINT_KEYS, averaged, default_baseline, finished, ratio_to, read_run
from sim.analysis.wording import design_title, placement_title, thread_count
from sim.errors import Fault, InputError

WIDEST = 5
"""Panels side by side before a row wraps."""
THREADS_SHOWN = (1, 64, 384)
"""Thread counts of the time chart, each replaced by the nearest one that was run."""
_PNG_DPI = 150
_TITLE_INCHES_A_LETTER = 0.095
_LEGEND_ROW_INCHES = 0.22


@dataclass(frozen=True)
class Panel:
    """A place in a grid: the curves of one machine, placement and workload."""

    machine: str
    placement: str
    workload: str

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of *frame* that belong here."""
        return frame.loc[
            (frame["machine"] == self.machine)
            & (frame["placement"] == self.placement)
            & (frame["workload"] == self.workload)
        ]


def panel_rows(frame: pd.DataFrame) -> list[list[Panel]]:
    """The grid of a frame: rows are machine and placement, columns workloads in order of appearance.

    A row of more than `WIDEST` workloads wraps into even rows.
    """
    workloads = list(dict.fromkeys(frame["workload"]))
    rows = ceil(len(workloads) / WIDEST)
    width = ceil(len(workloads) / rows) if rows else 0
    return [
        [Panel(machine, placement, workload) for workload in workloads[start : start + width]]
        for machine in dict.fromkeys(frame["machine"])
        for start in range(0, len(workloads), width or 1)
        for placement in dict.fromkeys(frame.loc[frame["machine"] == machine, "placement"])
    ]


def nearest_threads(available: Iterable[int], wanted: Sequence[int]) -> list[int]:
    """For each wanted thread count the nearest available one (by ratio), each once, ascending."""
    counts = sorted({int(count) for count in available})
    return sorted({min(counts, key=lambda count: abs(log(count / target))) for target in wanted})


def scalability_figure(points: pd.DataFrame, title: str = "", figure: Figure | None = None) -> Figure:
    """The paper's grid: throughput over threads, a row a placement, a column a workload.

    This and the other figures fill an empty *figure* if one is given, else they make their own.
    """
    return _over_threads(points, averaged(finished(points)), title, THROUGHPUT_LABEL, figure)


def latency_figure(points: pd.DataFrame, title: str = "", figure: Figure | None = None) -> Figure:
    """The same grid with the median latency of a request over threads."""
    return _over_threads(points, averaged(finished(points), "latency_p50_ns"), title, LATENCY_LABEL, figure)


def _over_threads(
    points: pd.DataFrame, curves: pd.DataFrame, title: str, quantity: str, figure: Figure | None
) -> Figure:
    rows = panel_rows(points)
    styles = design_styles(points["design"])
    figure, axes = _grid(rows, panel_width=2.6, panel_height=2.55, figure=figure)
    ideal = quantity == THROUGHPUT_LABEL
    for number, row in enumerate(rows):
        for ax, panel in zip(axes[number], row, strict=True):
            draw_scalability(ax, panel.of(curves), styles, title=panel.workload, ideal=ideal)
            ax.tick_params(labelleft=ax is axes[number][0])
        axes[number][0].set_ylabel(_row_label(row[0], rows, quantity), fontsize=LABEL_SIZE)
    _share_limits([ax for row in axes for ax in row if ax.lines])
    _label_last_row(axes, THREADS_LABEL)
    _finish(figure, title, note=_failures(points))
    return figure


def one_thread_figure(
    points: pd.DataFrame,
    baseline: str | None = None,
    published: Sequence[Observation] = (),
    title: str = "",
    figure: Figure | None = None,
) -> Figure:
    """Each design's throughput over the *baseline*'s at the smallest thread count, one panel a machine.

    *published* ratios of the same places are marked. Raises `InputError` for an unknown baseline.
    """
    baseline = baseline or one_thread_baseline(points)
    ratios = one_thread_ratios(points, baseline)
    styles = design_styles(points["design"])
    machines = list(dict.fromkeys(ratios["machine"]))
    bars = len(ratios.groupby(["machine", "design", "workload"])) / len(machines)
    figure = _blank(figure, min(16.0, max(5.5, 1.6 + 0.5 * bars)), 3.9 * len(machines))
    axes = figure.subplots(len(machines), 1, squeeze=False)[:, 0]
    for ax, machine in zip(axes, machines, strict=True):
        here = ratios.loc[ratios["machine"] == machine]
        name = machine if len(machines) > 1 else ""
        draw_relative(ax, here, styles, baseline, published_marks(published, here, baseline), title=name)
    threads, placement = int(ratios["threads"].iloc[0]), str(ratios["placement"].iloc[0])
    parts = [title, thread_count(threads), placement_title(placement)]
    missing = len(_at_fewest_threads(points)) - len(_paired(points, baseline))
    lack = f"not drawn: {missing} of the points, for {design_title(baseline)} has none at their place"
    _finish(figure, ", ".join(part for part in parts if part), lack if missing else "")
    return figure


def measured_figure(
    points: pd.DataFrame, published: Sequence[Observation], title: str = "", figure: Figure | None = None
) -> Figure | None:
    """Throughput and latency beside what others measured at the same places; None if nobody did."""
    catalogue = FileCatalogue()

    def clock_of(name: str) -> int:
        return catalogue.machine(name).clock if catalogue.name("machine", name) else 0

    panels = comparisons(finished(points), published, clock_of)
    if not panels:
        return None
    columns = min(len(panels), 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 3)
    rows = ceil(len(panels) / columns)
    figure = _blank(figure, max(6.0, 3.9 * columns), 0.9 + 2.9 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    styles = design_styles(points["design"])
    several = len({panel.machine for panel in panels}) > 1
    for ax, panel in zip(axes, panels, strict=False):
        draw_beside(ax, panel, styles)
        if several:
            ax.set_title(f"{panel.title}\n{panel.machine}", fontsize=TITLE_SIZE, color=INK)
    for ax in axes[len(panels) :]:
        ax.remove()
    _finish(figure, title)
    return figure


def swept_figure(points: pd.DataFrame, title: str = "", figure: Figure | None = None) -> Figure | None:
    """Curves over a swept value, or over threads with a line for each value; None where nothing is swept."""
    sweep = sweep_of(points)
    if sweep is None:
        return None
    panels = panels_of(sweep)
    columns = min(len(panels), 3)
    rows = ceil(len(panels) / columns)
    figure = _blank(figure, max(6.0, 3.9 * columns), 0.9 + 3.0 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    several = len({machine for machine, _, _ in panels}) > 1
    for ax, panel in zip(axes, panels, strict=False):
        draw_sweep(ax, sweep, panel, machine_in_title=several)
    for ax in axes[len(panels) :]:
        ax.remove()
    _finish(figure, title, note=_failures(points))
    return figure


def one_thread_ratios(points: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """`averaged` ratios to *baseline* at the smallest thread count and the first placement of *points*.

    One placement is enough: threads cannot contend when there is one.
    """
    return averaged(_paired(points, baseline), value="ratio")


def one_thread_baseline(points: pd.DataFrame) -> str:
    """The default baseline of the designs that are there at the smallest thread count."""
    return default_baseline(list(dict.fromkeys(_at_fewest_threads(points)["design"])))


def _paired(points: pd.DataFrame, baseline: str) -> pd.DataFrame:
    return ratio_to(_at_fewest_threads(points), baseline)


def _at_fewest_threads(points: pd.DataFrame) -> pd.DataFrame:
    """The finished points at the smallest thread count, and there at the first placement."""
    done = finished(points)
    if done.empty:
        raise InputError(Fault("no point of this run finished: nothing to draw"))
    fewest = done.loc[done["threads"] == done["threads"].min()]
    first: pd.DataFrame = fewest.loc[fewest["placement"] == fewest["placement"].iloc[0]]
    return first


def published_marks(
    published: Sequence[Observation], ratios: pd.DataFrame, baseline: str
) -> dict[tuple[str, str], float]:
    """(design, workload) -> the published ratio to *baseline* at the places of *ratios*."""
    places = set(ratios[["machine", "placement", "threads"]].itertuples(index=False, name=None))
    return {
        (row.system, row.workload): row.value
        for row in published
        if row.metric == ratio_metric(baseline) and (row.machine, row.placement, row.tasks) in places
    }


def time_figure(
    breakdown: pd.DataFrame,
    title: str = "",
    wanted: Sequence[int] = THREADS_SHOWN,
    figure: Figure | None = None,
) -> Figure:
    """Where the time goes: shares of an operation's cpu time for each design at a few thread counts."""
    rows = panel_rows(breakdown)
    table = time_table(breakdown, wanted)
    bars = max(len(panel_shares(table, panel)) for row in rows for panel in row)
    figure, axes = _grid(rows, panel_width=3.0, panel_height=0.75 + 0.24 * bars, figure=figure)
    for number, row in enumerate(rows):
        for ax, panel in zip(axes[number], row, strict=True):
            draw_breakdown(ax, panel_shares(table, panel), title=panel.workload)
            if ax is not axes[number][0]:
                ax.set_yticklabels([])
        axes[number][0].set_ylabel(_row_label(row[0], rows), fontsize=LABEL_SIZE, labelpad=12)
    _label_last_row(axes, SHARE_LABEL)
    _finish(
        figure,
        title,
        note="shares of the cpu time of an operation; the whole of it stands at the end of each bar",
    )
    return figure


def time_table(breakdown: pd.DataFrame, wanted: Sequence[int]) -> pd.DataFrame:
    """The groups of activities (ns per operation) at the nearest of *wanted* threads, in drawing order.

    Groups are chosen over all panels, so that all of a figure show the same ones.
    """
    chosen = breakdown.loc[breakdown["threads"].isin(nearest_threads(breakdown["threads"], wanted))]
    table = grouped(chosen, POINT_KEYS)
    designs = {name: place for place, name in enumerate(dict.fromkeys(breakdown["design"]))}
    return table.sort_index(
        level=["threads", "design"],
        sort_remaining=False,
        key=lambda index: index.map(lambda x: designs.get(x, x)),
    )


def panel_shares(table: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """The rows of a `time_table` for one panel, indexed (threads, design)."""
    return panel.of(table.reset_index()).set_index(["threads", "design"])[list(table.columns)]


def plot_run(run_dir: Path, out: Path | None = None) -> list[Path]:
    """Write the figures of a run as PNG and SVG into *out* (by default `run_dir/plots`), the main one first.

    Raises `InputError` when the run cannot be read or none of its points finished.
    """
    run = read_run(run_dir)
    if finished(run.points).empty:
        raise InputError(
            Fault("no point of this run finished: nothing to draw", file=str(run_dir / "points.csv"))
        )
    published = read_published(default_files())
    swept = swept_figure(run.points, run.title)
    figures = {"swept": swept} if swept else {"scalability": scalability_figure(run.points, run.title)}
    if swept is None:
        figures["latency"] = latency_figure(run.points, run.title)
    if (measured := measured_figure(run.points, published, run.title)) is not None:
        figures["measured"] = measured
    figures["one-thread"] = one_thread_figure(run.points, published=published, title=run.title)
    if not run.breakdown.empty:
        figures["where-time-goes"] = time_figure(run.breakdown, f"{run.title}: where the time goes")
    folder = out or run_dir / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    return [path for name, figure in figures.items() for path in _write(figure, folder, name)]


def _write(figure: Figure, folder: Path, name: str) -> list[Path]:
    """PNG and SVG, the same bytes every time: no date, and ids salted with the figure's name."""
    FigureCanvasAgg(figure)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(paths[0], dpi=_PNG_DPI, metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def _blank(figure: Figure | None, width: float, height: float) -> Figure:
    """*figure*, or a new one, of that size in inches and with the layout that makes room for legends."""
    figure = figure or Figure()
    figure.set_size_inches(width, height)
    figure.set_layout_engine("constrained")
    return figure


def _grid(
    rows: list[list[Panel]], panel_width: float, panel_height: float, figure: Figure | None
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with one Axes a panel; places of a short last row stay empty."""
    width = max(len(row) for row in rows)
    figure = _blank(figure, 1.1 + panel_width * width, 1.2 + panel_height * len(rows))
    grid = figure.subplots(len(rows), width, squeeze=False)
    for row, places in zip(rows, grid, strict=True):
        for ax in places[len(row) :]:
            ax.remove()
    return figure, [list(places[: len(row)]) for row, places in zip(rows, grid, strict=True)]


def _row_label(panel: Panel, rows: list[list[Panel]], quantity: str = "") -> str:
    """What a row of panels has in common, then the quantity on its axis."""
    several_machines = len({row[0].machine for row in rows}) > 1
    parts = [panel.machine if several_machines else "", placement_title(panel.placement), quantity]
    return "\n".join(part for part in parts if part)


def _label_last_row(axes: list[list[Axes]], label: str) -> None:
    """The x label under the lowest panel of each column."""
    for column in range(len(axes[0])):
        lowest = [row[column] for row in axes if column < len(row)][-1]
        lowest.set_xlabel(label, fontsize=LABEL_SIZE)


def _share_limits(axes: Sequence[Axes]) -> None:
    """The same limits for all panels, so that heights compare across the grid."""
    if axes:
        low = min(ax.get_ylim()[0] for ax in axes)
        high = max(ax.get_ylim()[1] for ax in axes)
        for ax in axes:
            ax.set_ylim(low, high)
            log_throughput_axis(ax)


def _failures(points: pd.DataFrame) -> str:
    failed = len(points) - len(finished(points))
    if not failed:
        return ""
    return f"{failed} of {len(points)} points failed and are not drawn: see the column `error` of points.csv"


def _finish(figure: Figure, title: str, note: str = "") -> None:
    """Title on top with a note under it, one legend for all panels below them."""
    if title or note:
        columns = int(figure.get_figwidth() / _TITLE_INCHES_A_LETTER)
        lines = [line for part in (title, note) for line in wrap(part, columns)]
        figure.suptitle("\n".join(lines), fontsize=TITLE_SIZE + 1, color=INK)
    entries: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    for label in (IDEAL_LABEL, PUBLISHED_LABEL, OPEN_LABEL, FILLED_LABEL):  # after the designs
        if label in entries:
            entries[label] = entries.pop(label)
    if entries:
        columns = _legend_columns(list(entries), figure.get_figwidth())
        figure.set_figheight(figure.get_figheight() + _LEGEND_ROW_INCHES * (ceil(len(entries) / columns) - 1))
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=LABEL_SIZE,
        )


def _legend_columns(labels: Sequence[str], width_inches: float) -> int:
    """As many columns as fit: a column is as wide as the longest label."""
    column_inches = 0.55 + 0.085 * max(len(label) for label in labels)
    return max(1, min(len(labels), int(width_inches / column_inches)))
