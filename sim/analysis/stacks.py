"""Where the time goes over threads: shares of an operation's cpu time as stacked areas, a row a design."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.activities import group_colour, grouped
from sim.analysis.curves import KEYS
from sim.analysis.design_panels import design_grid, titles
from sim.analysis.layout import finish, grid, label_last_row, label_values
from sim.analysis.panels import SHARE_LABEL, THREADS_LABEL, draw_nothing
from sim.analysis.style import dress, log_threads_axis
from sim.analysis.variants import parted

_HEIGHT = 1.7


def stack_figure(breakdown: pd.DataFrame, title: str = "", figure: Figure | None = None) -> Figure:
    """Every thread count of a *breakdown*, where the bars of `times.time_figure` show a few."""
    breakdown = parted(breakdown)
    table = grouped(breakdown, KEYS)
    flat = table.reset_index()
    drawn = design_grid(flat)
    figure, axes = grid(
        2.4, [_HEIGHT] * len(drawn.rows), titles(drawn.rows), headings=drawn.headings, figure=figure
    )
    for row, places in zip(drawn.rows, axes, strict=True):
        for ax, place in zip(places, row, strict=True):
            here = place.of(flat).set_index("threads")[list(table.columns)].sort_index()
            _draw(ax, here)
            if ax is not places[0]:
                ax.tick_params(labelleft=False)
        label_values(places[0], SHARE_LABEL, _HEIGHT)
    label_last_row(axes, THREADS_LABEL)
    finish(figure, title, [drawn.note])
    return figure


def _draw(ax: Axes, groups: pd.DataFrame) -> None:
    dress(ax)
    groups = groups.loc[groups.sum(axis=1) > 0]
    if groups.empty:
        draw_nothing(ax)
        return
    shares = groups.div(groups.sum(axis=1), axis=0) * 100
    threads = [int(count) for count in shares.index]
    log_threads_axis(ax, threads)
    if len(threads) > 1:
        ax.set_xlim(min(threads), max(threads))
        ax.stackplot(
            threads, shares.to_numpy().T, colors=[group_colour(str(name)) for name in shares.columns],
            labels=list(map(str, shares.columns)), edgecolor="white", linewidth=0.3,
        )  # fmt: skip
    else:
        draw_nothing(ax, "one thread count only")
    ax.set_ylim(0, 100)
