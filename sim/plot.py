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

from sim.analysis import curves, panels, ratios, times
from sim.analysis.curves import THREADS_SHOWN
from sim.analysis.layout import Panel, panel_rows
from sim.analysis.published import Observation
from sim.analysis.style import LABEL_SIZE, TITLE_SIZE, design_styles
from sim.analysis.tables import THROUGHPUT, default_baseline, labelled
from sim.analysis.throughput import OTHER_LABELS
from sim.analysis.variants import parted
from sim.experiment import KEY

__all__ = ["breakdown", "relative", "scalability"]


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


def _shown(draw: Callable[[Figure], Figure]) -> Axes:
    """Draw into a figure that pyplot knows, and so a notebook shows."""
    from matplotlib import pyplot

    return draw(pyplot.figure()).axes[0]


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
