"""What memory management takes of memory for itself, at the peak: bars of tables, metadata and VMAs."""

from __future__ import annotations

from typing import Final

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.layout import Panel, finish, grid, label_last_row, panel_rows, row_headings, text_inches
from sim.analysis.panels import draw_nothing, line_label
from sim.analysis.style import TICK_SIZE, dress
from sim.analysis.tables import finished
from sim.analysis.variants import parted

PEAKS: Final = {
    "page_table_bytes_peak": ("page tables", "#4c78a8"),
    "metadata_bytes_peak": ("metadata of entries", "#f58518"),
    "vma_bytes_peak": ("VMAs", "#54a24b"),
}
"""Column -> what it is called, and its colour."""

NOTE: Final = "the most that each ever had, at the largest thread count; descriptors of frames come on top"
_BAR: Final = 0.22
"""Height of a bar, in inches."""


def memory_figure(points: pd.DataFrame, title: str = "") -> Figure | None:
    """A stacked bar for each design and swept value; None where no point says what it took."""
    if not set(PEAKS) <= set(points) or finished(points)[list(PEAKS)].isna().all(axis=None):
        return None
    points = parted(finished(points))
    rows = panel_rows(points)
    tables = [[panel_bytes(points, panel) for panel in row] for row in rows]
    names = [line_label(*map(str, entry)) for row in tables for table in row for entry in table.index]
    figure, axes = grid(
        2.9,
        [max(max(1.1, _BAR * (len(table) + 1)) for table in row) for row in tables],
        [[panel.workload for panel in row] for row in rows],
        headings=row_headings(rows),
        least_width=8.0,
        side=0.6 + max((text_inches(name, TICK_SIZE) for name in names), default=0),
    )
    for row, places in zip(tables, axes, strict=True):
        for ax, table in zip(places, row, strict=True):
            _draw(ax, table)
    label_last_row(axes, "KiB")
    finish(figure, title, [NOTE])
    return figure


def panel_bytes(points: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """The bytes of one panel at its largest thread count, indexed (design, variant), in order."""
    here = panel.of(points)
    here = here.loc[here["threads"] == here["threads"].max()].dropna(subset=list(PEAKS))
    table: pd.DataFrame = here.groupby(["design", "variant"], sort=False)[list(PEAKS)].mean()
    return table


def _draw(ax: Axes, table: pd.DataFrame) -> None:
    dress(ax)
    ax.grid(visible=False, axis="y")
    if table.empty:
        draw_nothing(ax)
        return
    places, start = range(len(table)), pd.Series(0.0, index=table.index)
    for column, (label, colour) in PEAKS.items():
        size = table[column].astype(float) / 1024
        ax.barh(
            places, size, left=start, height=0.8, color=colour, edgecolor="white", linewidth=0.4, label=label
        )
        start += size
    ax.set_yticks(places, [line_label(*map(str, entry)) for entry in table.index], fontsize=TICK_SIZE)
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
