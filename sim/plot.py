"""Charts for notebooks: a tidy frame in, matplotlib Axes out.

    points = sim.run(sim.load("quickstart"))
    sim.plot.scalability(points)                                # every panel of the experiment
    sim.plot.scalability(points.query("workload == 'pf' and placement == 'low'"), ax=my_axes)

Without *ax* a pyplot figure is made for all machines, placements and workloads of the frame, so that a
notebook shows it, and the first panel's Axes is returned; its `figure` holds the rest. With *ax* the frame
must hold one panel, which is drawn there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis import figures, panels
from sim.analysis.published import Observation
from sim.analysis.style import LABEL_SIZE, design_styles
from sim.analysis.tables import averaged, finished, labelled
from sim.experiment import KEY

__all__ = ["breakdown", "relative", "scalability"]


def scalability(points: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Throughput over threads, one line a design; *points* is what `sim.run` returns."""
    points = labelled(points)
    if ax is None:
        return _shown(lambda figure: figures.scalability_figure(points, figure=figure))
    panel = _only_panel(points)
    panels.draw_scalability(ax, averaged(finished(points)), design_styles(points["design"]), panel.workload)
    ax.set_xlabel(panels.THREADS_LABEL, fontsize=LABEL_SIZE)
    ax.set_ylabel(panels.THROUGHPUT_LABEL, fontsize=LABEL_SIZE)
    ax.legend(frameon=False)
    return ax


def relative(
    points: pd.DataFrame,
    ax: Axes | None = None,
    *,
    baseline: str | None = None,
    published: Sequence[Observation] = (),
) -> Axes:
    """Each design's throughput over the *baseline*'s (by default Linux) at the smallest thread count.

    *published* rows (`sim.analysis.read_published`) of the same places are marked.
    """
    points = labelled(points)
    if ax is None:
        return _shown(lambda figure: figures.one_thread_figure(points, baseline, published, figure=figure))
    baseline = baseline or figures.one_thread_baseline(points)
    ratios = figures.one_thread_ratios(points, baseline)
    if ratios["machine"].nunique() > 1:
        raise ValueError("the frame holds several machines and ax one: choose one with df.query(...)")
    marks = figures.published_marks(published, ratios, baseline)
    panels.draw_relative(ax, ratios, design_styles(points["design"]), baseline, marks)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return ax


def breakdown(
    frame: pd.DataFrame, ax: Axes | None = None, *, threads: Sequence[int] = figures.THREADS_SHOWN
) -> Axes:
    """Where the time goes, at the thread counts nearest to *threads*.

    *frame* is what `sim.run` returns (filtered or not), or a breakdown table itself.
    """
    table = labelled(_breakdown_of(frame))
    if ax is None:
        return _shown(lambda figure: figures.time_figure(table, wanted=threads, figure=figure))
    panel = _only_panel(table)
    shares = figures.panel_shares(figures.time_table(table, threads), panel)
    panels.draw_breakdown(ax, shares, panel.workload)
    ax.set_xlabel(panels.SHARE_LABEL, fontsize=LABEL_SIZE)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.2, 1))
    return ax


def _shown(draw: Callable[[Figure], Figure]) -> Axes:
    """Draw into a figure that pyplot knows, and so a notebook shows."""
    from matplotlib import pyplot

    return draw(pyplot.figure()).axes[0]


def _only_panel(frame: pd.DataFrame) -> figures.Panel:
    found = [panel for row in figures.panel_rows(frame) for panel in row]
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
