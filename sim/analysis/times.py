"""Where the time goes: shares of an operation's cpu time as bars."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from sim.analysis.activities import grouped
from sim.analysis.curves import KEYS, THREADS_SHOWN, nearest_threads
from sim.analysis.layout import Panel, finish, grid, label_last_row, panel_rows, row_headings, text_inches
from sim.analysis.panels import SHARE_LABEL, bar_places, draw_breakdown, group_title
from sim.analysis.style import TICK_SIZE
from sim.analysis.variants import parted
from sim.analysis.wording import design_title

NOTE = "shares of the cpu time of an operation; the whole of it stands at the end of each bar"
_VALUES = 6
"""Most swept values that have bars: the first, the last and some between."""
_BAR = 0.22
"""Height of a bar, in inches."""


def time_figure(
    breakdown: pd.DataFrame,
    title: str = "",
    wanted: Sequence[int] = THREADS_SHOWN,
    figure: Figure | None = None,
) -> Figure:
    """Shares of an operation's cpu time for each design at a few thread counts and swept values."""
    breakdown = parted(breakdown)
    rows = panel_rows(breakdown)
    table = time_table(breakdown, wanted)
    shares = [[panel_shares(table, panel) for panel in row] for row in rows]
    index = [entry for row in shares for share in row for entry in share.index]
    names = max(text_inches(design_title(str(design)), TICK_SIZE) for *_, design in index)
    words = max(text_inches(group_title(int(count), str(value)), TICK_SIZE) for count, value, _ in index)
    figure, axes = grid(
        max(2.9, words + 0.7),
        [max(_inches(share) for share in row) for row in shares],
        [[panel.workload for panel in row] for row in rows],
        headings=row_headings(rows),
        least_width=8.0,
        side=0.6 + names,
        figure=figure,
    )
    for row, places in zip(shares, axes, strict=True):
        for number, (ax, share) in enumerate(zip(places, row, strict=True)):
            draw_breakdown(ax, share)
            if number and share.index.equals(row[0].index):
                ax.set_yticklabels([])
    label_last_row(axes, SHARE_LABEL)
    values = breakdown["variant"].nunique()
    left_out = f"{_VALUES} of {values} swept values are shown" if values > _VALUES else ""
    finish(figure, title, [NOTE, left_out])
    return figure


def time_table(breakdown: pd.DataFrame, wanted: Sequence[int]) -> pd.DataFrame:
    """The groups of activities (ns per operation) at each machine's nearest of *wanted* threads, in order.

    Groups are chosen over all panels, so that all of a figure show the same ones.
    """
    values = list(dict.fromkeys(breakdown["variant"]))
    step = (len(values) - 1) / (_VALUES - 1)
    shown = values if len(values) <= _VALUES else [values[round(step * at)] for at in range(_VALUES)]
    chosen = breakdown.loc[breakdown["variant"].isin(shown)]
    parts = [
        here.loc[here["threads"].isin(nearest_threads(here["threads"], wanted))]
        for _, here in chosen.groupby("machine", sort=False)
    ]
    table = grouped(pd.concat(parts), KEYS)
    designs = list(dict.fromkeys(breakdown["design"]))
    order = {name: place for names in (shown, designs) for place, name in enumerate(names)}
    return table.sort_index(
        level=["threads", "variant", "design"],
        sort_remaining=False,
        key=lambda level: level.map(lambda name: order.get(name, name)),
    )


def panel_shares(table: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """The rows of a `time_table` for one panel, indexed (threads, variant, design)."""
    here = panel.of(table.reset_index())
    return here.set_index(["threads", "variant", "design"])[list(table.columns)]


def _inches(shares: pd.DataFrame) -> float:
    """The height that the bars of a panel want, at least that of a legend."""
    places = bar_places([group_title(int(count), str(value)) for count, value, _ in shares.index])
    return max(1.1, _BAR * (places[-1] + 1.9)) if places else 1.1
