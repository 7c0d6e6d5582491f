"""Charts for notebooks: a tidy frame in, matplotlib Axes out.

    points = sim.run(sim.load("quickstart"))
    sim.plot.scalability(points)                                # every panel of the experiment
    sim.plot.scalability(points.query("workload == 'pf' and placement == 'low'"), ax=my_axes)

Without *ax* a pyplot figure is made for all machines, placements and workloads of the frame, so that a
notebook shows it, and the first panel's Axes is returned; its `figure` holds the rest. With *ax* the frame
must hold one panel, which is drawn there. What has no *ax* is a figure of its own.

`flame` and `timeline` draw what `sim.trace` returns, as an SVG that a notebook shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis import beside, curves, panels, ratios, scaling_figures, stacks, times
from sim.analysis.curves import THREADS_SHOWN
from sim.analysis.layout import Panel, panel_rows
from sim.analysis.published import Observation
from sim.analysis.style import LABEL_SIZE, TITLE_SIZE, design_styles
from sim.analysis.tables import THROUGHPUT, default_baseline, labelled
from sim.analysis.throughput import OTHER_LABELS
from sim.analysis.variants import parted
from sim.experiment import KEY

if TYPE_CHECKING:
    from sim.analysis.sensitivity import Study
    from sim.analysis.tracing import Traced

__all__ = [
    "Picture",
    "bands",
    "breakdown",
    "flame",
    "measured",
    "ratio",
    "relative",
    "scalability",
    "time_over_threads",
    "timeline",
    "tornado",
]


@dataclass(frozen=True)
class Picture:
    """An SVG, which a notebook shows; `svg` is its text."""

    svg: str = field(repr=False)

    def _repr_svg_(self) -> str:
        return self.svg


def scalability(points: pd.DataFrame, ax: Axes | None = None, *, value: str = THROUGHPUT) -> Axes:
    """Throughput over threads, one line a design; *points* is what `sim.run` returns.

    *value* is the column that is shown: `throughput_ops_per_us`, operations completed over time, or
    `throughput_from_latency_ops_per_us`, threads over mean latency. The other is marked where it differs by
    more than 10 %. Raises ValueError for any other column and where no point has a value.
    """
    if value not in OTHER_LABELS:
        raise ValueError(f"no throughput {value!r}: choose one of {', '.join(OTHER_LABELS)}")
    points = parted(labelled(points))
    if ax is None:
        return _shown(lambda figure: curves.scalability_figure(points, figure=figure, value=value))
    panel = _only_panel(points)
    curves.draw_scalability(ax, points, value)
    ax.set_title(panel.workload, fontsize=TITLE_SIZE)
    ax.legend(frameon=False)
    return ax


def relative(
    points: pd.DataFrame,
    ax: Axes | None = None,
    *,
    baseline: str | None = None,
    published: Sequence[Observation] = (),
) -> Axes:
    """Each design's work done over the *baseline*'s (by default Linux) at the smallest thread count.

    *published* rows (`sim.analysis.read_published`) of the same places are marked.
    """
    points = parted(labelled(points))
    if ax is None:
        return _shown(lambda figure: ratios.one_thread_figure(points, baseline, published, figure=figure))
    baseline = baseline or default_baseline(list(dict.fromkeys(points["design"])))
    places, table = ratios.one_thread_ratios(points, baseline)
    if places["machine"].nunique() > 1:
        raise ValueError("the frame holds several machines and ax one: choose one with df.query(...)")
    width = ax.get_window_extent().width / ax.figure.dpi
    names = list(dict.fromkeys(places["name"]))
    ratios.draw_ratios(ax, table, design_styles(points["design"]), baseline, names, published, width)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return ax


def breakdown(frame: pd.DataFrame, ax: Axes | None = None, *, threads: Sequence[int] = THREADS_SHOWN) -> Axes:
    """Where the time goes, at the thread counts nearest to *threads*.

    *frame* is what `sim.run` returns (filtered or not), or a breakdown table itself.
    """
    table = parted(labelled(_breakdown_of(frame)))
    if ax is None:
        return _shown(lambda figure: times.time_figure(table, wanted=threads, figure=figure))
    panel = _only_panel(table)
    panels.draw_breakdown(ax, times.panel_shares(times.time_table(table, threads), panel))
    ax.set_title(panel.workload, fontsize=TITLE_SIZE)
    ax.set_xlabel(panels.SHARE_LABEL, fontsize=LABEL_SIZE)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.2, 1))
    return ax


def ratio(points: pd.DataFrame, *, baseline: str | None = None) -> Axes:
    """Each design's work done over the *baseline*'s (by default Linux) over threads.

    Raises ValueError where no place has a finished point of both.
    """
    points = parted(labelled(points))
    return _shown(lambda figure: scaling_figures.ratio_figure(points, baseline, figure=figure))


def time_over_threads(frame: pd.DataFrame) -> Axes:
    """Where the time goes at each thread count, a row a design; *frame* as in `breakdown`."""
    table = parted(labelled(_breakdown_of(frame)))
    return _shown(lambda figure: stacks.stack_figure(table, figure=figure))


def measured(points: pd.DataFrame, published: Sequence[Observation]) -> Axes:
    """*points* beside what was measured at the same places (rows of `read_published` or `against`).

    Raises ValueError where nothing was, or values were swept.
    """
    return _shown(lambda figure: beside.measured_figure(labelled(points), published, figure=figure))


def tornado(study: Study) -> Axes:
    """What each cost does to the answers of a `sensitivity_of`, the largest on top.

    Raises ValueError where no cost moves any.
    """
    from sim.analysis.tornado import tornado_figure

    return _shown(lambda figure: tornado_figure(study, "", figure))


def bands(study: Study) -> Axes:
    """Throughput over threads with a band from the quality of all costs, of a `sensitivity_of`.

    Raises ValueError for points of one thread count.
    """
    from sim.analysis.tornado import band_figure

    return _shown(lambda figure: band_figure(study, "", figure))


def flame(*traced: Traced) -> Picture:
    """A flame graph of the time of an operation for each of what `sim.trace` returned, in one scale."""
    from sim.analysis.flame import flame_graph
    from sim.analysis.tracing import panel

    return Picture(flame_graph([panel(each) for each in traced], "Where the time of an operation goes"))


def timeline(traced: Traced) -> Picture:
    """What each cpu does when: a short part of what `sim.trace` returned, chosen by its *window*.

    Raises ValueError for more than a picture can show.
    """
    from sim.analysis.tracks import MOST_SLICES, MOST_TRACKS, fits, tracks_picture

    if not fits(traced.shown):
        most = f"more than {MOST_TRACKS} cpus or {MOST_SLICES} slices"
        raise ValueError(f'{most}: choose a part with sim.trace(..., window="10us..25us")')
    return Picture(tracks_picture(traced.shown, traced.title))


def _shown(draw: Callable[[Figure], Figure | None]) -> Axes:
    """Draw into a figure that pyplot knows, and so a notebook shows. Raises ValueError for no drawing."""
    from matplotlib import pyplot

    figure = pyplot.figure()
    drawn = draw(figure)
    if drawn is None:
        pyplot.close(figure)
        raise ValueError("there is nothing of this kind to draw in these points")
    return drawn.axes[0]


def _only_panel(frame: pd.DataFrame) -> Panel:
    found = [panel for row in panel_rows(frame) for panel in row]
    if len(found) != 1:
        words = f"the frame holds {len(found)} panels (machine, placement, workload) and ax one"
        raise ValueError(f"{words}: choose one with df.query(...), or leave ax out")
    return found[0]


def _breakdown_of(frame: pd.DataFrame) -> pd.DataFrame:
    """The activities of the points in *frame*."""
    if "activity" in frame:
        return frame
    table = frame.attrs.get("breakdown")
    if not isinstance(table, pd.DataFrame):
        raise ValueError(
            'neither a breakdown table nor a frame of sim.run (its attrs["breakdown"] is missing)'
        )
    chosen = pd.MultiIndex.from_frame(frame[list(KEY)])
    return table.loc[pd.MultiIndex.from_frame(table[list(KEY)]).isin(chosen)]
