"""The figures of a run: which there are, and their files.

Each `*_figure` function takes tidy frames and returns a `matplotlib.figure.Figure` made without pyplot, so
that nothing global changes and nothing leaks. `plot_run` writes all of them for a run directory:

- `swept`: throughput and latency over a swept value, where one can be an axis;
- `scalability` and `latency` over threads, or, where there is one thread count, `workloads`;
- `measured`: beside what others measured at the same places;
- `one-thread`: work done relative to the baseline design at the smallest thread count;
- `ratio`, the same over threads, `efficiency` with the law fitted to each curve, `latency-percentiles`;
- `where-time-goes` at a few thread counts, and `time-over-threads` at all of them;
- `lock-waits` of a run with a profile;
- `memory`, what memory management takes for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sim.analysis.beside import measured_figure
from sim.analysis.curves import (
    LATENCY,
    latency_figure,
    scalability_figure,
    swept_figure,
    workloads_figure,
)
from sim.analysis.lock_waits import lock_figure
from sim.analysis.memory import memory_figure
from sim.analysis.published import Observation, default_files, read_published
from sim.analysis.ratios import one_thread_figure
from sim.analysis.scaling_figures import (
    ENOUGH_COUNTS,
    efficiency_figure,
    percentiles_figure,
    ratio_figure,
)
from sim.analysis.stacks import stack_figure
from sim.analysis.tables import RunTables, default_baseline, finished, read_locks, read_run
from sim.analysis.times import time_figure
from sim.analysis.variants import parted
from sim.errors import Fault, InputError

__all__ = [
    "latency_figure",
    "measured_figure",
    "memory_figure",
    "one_thread_figure",
    "plot_run",
    "run_figures",
    "scalability_figure",
    "swept_figure",
    "time_figure",
    "workloads_figure",
]

_PNG_DPI = 150


def plot_run(run_dir: Path, out: Path | None = None, *, as_is: bool = False) -> list[Path]:
    """Write the figures of a run as PNG and SVG into *out* (by default `run_dir/plots`), the main one first.

    With *as_is* tables that were changed after the run are drawn, and the titles say so. Raises
    `InputError` when the run cannot be read or none of its points finished.
    """
    run = read_run(run_dir, as_is=as_is)
    if finished(run.points).empty:
        raise InputError(
            Fault("no point of this run finished: nothing to draw", file=str(run_dir / "points.csv"))
        )
    folder = out or run_dir / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    locks = read_locks(run_dir, run, as_is=as_is)
    figures = run_figures(run, read_published(default_files()), locks)
    return [path for name, figure in figures for path in write_figure(figure, folder, name)]


def run_figures(
    run: RunTables, published: list[Observation], locks: pd.DataFrame | None = None
) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of all that can be drawn of *run*, the main one first; *locks* are its `locks.csv`."""
    points, title = run.points, run.title
    if (swept := swept_figure(points, title)) is not None:
        yield "swept", swept
    if points["threads"].nunique() > 1:
        yield "scalability", scalability_figure(points, title)
        if _has_latency(points):
            yield "latency", latency_figure(points, title)
    elif swept is None:
        yield "workloads", workloads_figure(points, title)
    if (measured := measured_figure(points, published, title)) is not None:
        yield "measured", measured
    designs = list(dict.fromkeys(parted(points)["design"]))
    if len(designs) > 1:
        yield "one-thread", one_thread_figure(points, default_baseline(designs), published, title)
    over_threads = points["threads"].nunique() >= ENOUGH_COUNTS
    if over_threads:
        yield from _scaling_figures(points, designs, title)
    if not run.breakdown.empty:
        yield "where-time-goes", time_figure(run.breakdown, f"{title}: where the time goes")
        if over_threads:
            yield "time-over-threads", stack_figure(run.breakdown, f"{title}: where the time goes")
    if locks is not None:
        waits = lock_figure(points, locks, f"{title}: who waits for which lock")
        if waits is not None:
            yield "lock-waits", waits
    if (memory := memory_figure(points, f"{title}: memory of memory management")) is not None:
        yield "memory", memory


def _scaling_figures(
    points: pd.DataFrame, designs: Sequence[str], title: str
) -> Iterator[tuple[str, Figure]]:
    if len(designs) > 1:
        ratio = ratio_figure(points, default_baseline(designs), title)
        if ratio is not None:
            yield "ratio", ratio
    for name, figure in (
        ("efficiency", efficiency_figure(points, title)),
        ("latency-percentiles", percentiles_figure(points, title)),
    ):
        if figure is not None:
            yield name, figure


def _has_latency(points: pd.DataFrame) -> bool:
    """Benches without a measured role have none."""
    return LATENCY in points and bool(finished(points)[LATENCY].notna().any())


def write_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """PNG and SVG, the same bytes every time: no date, and ids salted with the figure's name."""
    FigureCanvasAgg(figure)
    paths = [folder / f"{name}.png", folder / f"{name}.svg"]
    # A `$` that somebody wrote is a dollar, not the begin of a formula.
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "path", "text.parse_math": False}):
        figure.savefig(paths[0], dpi=_PNG_DPI, metadata={"Software": None})
        figure.set_layout_engine("none")  # all is in its place, and finding that takes as long as drawing
        figure.savefig(paths[1], metadata={"Date": None})
    return paths
