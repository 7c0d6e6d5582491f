"""The figures of a run: which there are, and their files.

Each `*_figure` function takes tidy frames and returns a `matplotlib.figure.Figure` made without pyplot, so
that nothing global changes and nothing leaks. `plot_run` writes all of them for a run directory:

- `swept`: throughput and latency over a swept value, where one can be an axis;
- `scalability` and `latency` over threads, or, where there is one thread count, `workloads`;
- `measured`: beside what others measured at the same places;
- `one-thread`: work done relative to the baseline design at the smallest thread count;
- `ratio`, the same over threads, `efficiency` with the law fitted to each curve, `latency-percentiles`;
- `where-time-goes` at a few thread counts, and `time-over-threads` at all of them;
- `lock-waits`, `fairness`, `distribution` and `transfers` of a run with a profile;
- `memory`, what memory management takes for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
from sim.analysis.spread_figures import distribution_figure, fairness_figure, transfer_figure
from sim.analysis.stacks import stack_figure
from sim.analysis.sweeping import sweep_of
from sim.analysis.tables import (
    REPORT_COLUMNS,
    RunTables,
    default_baseline,
    finished,
    read_report,
    read_run,
)
from sim.analysis.times import time_figure
from sim.analysis.variants import parted
from sim.errors import Fault, InputError, nearest

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


@dataclass(frozen=True)
class _Kind:
    """A figure that a run may have; *needs* says in words what it takes.

    *draw* is only called where it is *possible*, and still gives None where nothing is left to draw. *wanted*
    says whether it is drawn unasked: figures over threads are not where the table says as much.
    """

    needs: str
    draw: Callable[[], Figure | None]
    possible: bool = True
    wanted: bool = True


def plot_run(
    run_dir: Path, out: Path | None = None, *, as_is: bool = False, names: Sequence[str] = ()
) -> list[Path]:
    """Write the figures of a run as PNG and SVG into *out* (by default `run_dir/plots`), the main one first.

    With *names* only these, else all that make sense. With *as_is* tables that were changed after the run are
    drawn, and the titles say so. Raises `InputError` when the run cannot be read, none of its points
    finished, a name is unknown, or the run cannot have that figure.
    """
    refuse_unknown(names)
    run = read_run(run_dir, as_is=as_is)
    if finished(run.points).empty:
        raise InputError(
            Fault("no point of this run finished: nothing to draw", file=str(run_dir / "points.csv"))
        )
    report = read_report(run_dir, run, as_is=as_is)
    figures = list(run_figures(run, read_published(default_files()), report, names))
    drawn = {name for name, _ in figures}
    if missing := [name for name in dict.fromkeys(names) if name not in drawn]:
        kinds = _kinds(run, [], report)
        there = ", ".join(name for name, kind in kinds.items() if kind.possible and name not in missing)
        raise InputError(
            [
                Fault(
                    f"this run cannot have it: it needs {kinds[name].needs}",
                    f"--figure {name}",
                    allowed=there,
                )
                for name in missing
            ]
        )
    folder = out or run_dir / "plots"
    folder.mkdir(parents=True, exist_ok=True)
    return [path for name, figure in figures for path in write_figure(figure, folder, name)]


def refuse_unknown(names: Sequence[str], others: Sequence[str] = ()) -> None:
    """Raise `InputError` for each of *names* that is no figure of a run, and none of *others*."""
    known = (*NAMES, *others)
    faults = [
        Fault(
            "no such figure of a run",
            f"--figure {name}",
            allowed=", ".join(known),
            suggestion=nearest(name, known),
        )
        for name in names
        if name not in known
    ]
    if faults:
        raise InputError(faults)


def run_figures(
    run: RunTables,
    published: list[Observation],
    report: Mapping[str, pd.DataFrame] | None = None,
    names: Sequence[str] = (),
) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of all that can be drawn of *run*, the main one first, or of those of *names* that can.

    *report* has the tables of a run with a profile.
    """
    for name, kind in _kinds(run, published, report or {}).items():
        asked = name in names if names else kind.wanted
        if asked and kind.possible and (figure := kind.draw()) is not None:
            yield name, figure


def _kinds(
    run: RunTables, published: list[Observation], report: Mapping[str, pd.DataFrame]
) -> dict[str, _Kind]:
    """All figures by name; drawing is left to whoever wants one."""
    points, title = run.points, run.title
    designs = list(dict.fromkeys(parted(points)["design"]))
    counts = points["threads"].nunique()
    several, enough, swept = counts > 1, counts >= ENOUGH_COUNTS, sweep_of(points) is not None
    pair, latency = len(designs) > 1, _has_latency(points)
    base = default_baseline(designs)
    where = f"{title}: where the time goes"
    none = pd.DataFrame()
    locks, cpus, latencies, transfers = (report.get(name, none) for name in REPORT_COLUMNS)
    profile = "a run with --profile"
    return {
        "swept": _Kind(
            "a swept value that can be an axis", lambda: swept_figure(points, title), possible=swept
        ),
        "scalability": _Kind(
            "two thread counts", lambda: scalability_figure(points, title), possible=several
        ),
        "latency": _Kind(
            "two thread counts, and latencies",
            lambda: latency_figure(points, title),
            possible=several and latency,
        ),
        "workloads": _Kind(
            "no more than one thread count",
            lambda: workloads_figure(points, title),
            possible=not several,
            wanted=not swept,
        ),
        "measured": _Kind("measurements at its places", lambda: measured_figure(points, published, title)),
        "one-thread": _Kind(
            "two designs", lambda: one_thread_figure(points, base, published, title), possible=pair
        ),
        "ratio": _Kind(
            "two designs and two thread counts",
            lambda: ratio_figure(points, base, title),
            possible=pair and several,
            wanted=enough,
        ),
        "efficiency": _Kind(
            "two thread counts", lambda: efficiency_figure(points, title), possible=several, wanted=enough
        ),
        "latency-percentiles": _Kind(
            "two thread counts, and latencies",
            lambda: percentiles_figure(points, title),
            possible=several and latency,
            wanted=enough,
        ),
        "where-time-goes": _Kind(
            "a breakdown", lambda: time_figure(run.breakdown, where), possible=not run.breakdown.empty
        ),
        "time-over-threads": _Kind(
            "two thread counts, and a breakdown",
            lambda: stack_figure(run.breakdown, where),
            possible=several and not run.breakdown.empty,
            wanted=enough,
        ),
        "lock-waits": _Kind(
            f"{profile}, and locks that are waited for",
            lambda: lock_figure(points, locks, f"{title}: who waits for which lock"),
            possible=not locks.empty,
        ),
        "fairness": _Kind(
            f"{profile}, and two thread counts",
            lambda: fairness_figure(cpus, title),
            possible=several and not cpus.empty,
        ),
        "distribution": _Kind(
            f"{profile}, and latencies",
            lambda: distribution_figure(latencies, f"{title}: how long operations take"),
            possible=not latencies.empty,
        ),
        "transfers": _Kind(
            f"{profile}, and cache lines that move",
            lambda: transfer_figure(points, transfers, cpus, f"{title}: from where to where cache lines go"),
            possible=not transfers.empty,
        ),
        "memory": _Kind(
            "sizes of page tables", lambda: memory_figure(points, f"{title}: memory of memory management")
        ),
    }


NAMES: Final = (
    "swept", "scalability", "latency", "workloads", "measured", "one-thread", "ratio", "efficiency",
    "latency-percentiles", "where-time-goes", "time-over-threads", "lock-waits", "fairness", "distribution",
    "transfers", "memory",
)  # fmt: skip
"""The figures of a run, in the order in which they are drawn."""


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
