"""Which locks are waited for over threads, as a heat map: `locks.csv` of a run with a profile."""

from __future__ import annotations

import re
from math import ceil, log10

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from sim.analysis.curves import KEYS
from sim.analysis.design_panels import DesignPanel, design_grid
from sim.analysis.layout import finish, grid, text_inches
from sim.analysis.panels import THREADS_LABEL
from sim.analysis.style import FAINT, INK, LABEL_SIZE, TICK_SIZE
from sim.analysis.tables import labelled
from sim.analysis.variants import parted
from sim.analysis.wording import duration

NOTE = (
    "time an operation waits, from asking for the lock to having it; "
    "locks that differ in an address alone are one row; blank: not among the point's 40 longest waits"
)
_ADDRESS = re.compile(r"0x[0-9a-f]+")
_LOCKS = 8
"""Locks that a panel shows, those with the longest waits at any thread count."""
_PANELS = 12
_CELL, _ROW = 0.62, 0.24
"""Width and height of a cell in inches."""
_FAINTEST = 1e-3
"""Shorter waits than this share of the longest have the colour of it."""


def lock_figure(points: pd.DataFrame, locks: pd.DataFrame, title: str = "") -> Figure | None:
    """A panel for each design and place, a row a lock, a column a thread count; None without waits."""
    waits = lock_waits(points, locks)
    if waits.empty:
        return None
    drawn = design_grid(waits, _PANELS)
    every = [(place, name) for row, name in zip(drawn.rows, drawn.headings, strict=True) for place in row]
    panels = every[:_PANELS]
    tables = [_table(place, waits) for place, _ in panels]
    names = max(text_inches(str(name), TICK_SIZE) for table in tables for name in table.index)
    columns = max(len(table.columns) for table in tables)
    figure, axes = grid(
        max(_CELL * columns, 3.0), [_ROW * len(table) for table in tables],
        [[f"{place.panel.workload}, {name}"] for place, name in panels], side=0.5 + names,
    )  # fmt: skip
    most = float(waits["ns"].max())
    norm = LogNorm(max(_FAINTEST * most, 1e-3), most)
    for (ax,), table in zip(axes, tables, strict=True):
        _draw(ax, table, norm)
    axes[-1][0].set_xlabel(THREADS_LABEL, fontsize=LABEL_SIZE)
    note = f"{len(panels)} of {len(every)} panels are shown" if len(every) > len(panels) else drawn.note
    finish(figure, title, [NOTE, note])
    return figure


def lock_waits(points: pd.DataFrame, locks: pd.DataFrame) -> pd.DataFrame:
    """Nanoseconds of waiting an operation: a row a place, thread count, lock and mode (as `name`)."""
    points, locks = parted(labelled(points)), parted(labelled(locks))
    keys = [*KEYS, "replicate"]
    done = points.loc[points["operations"] > 0, [*keys, "operations"]]
    single = locks.loc[(locks["locks"] == 1) & (locks["wait_ns"] > 0)]
    paired = single.merge(done, on=keys, validate="m:1")
    paired = paired.assign(
        name=paired["lock"].str.replace(_ADDRESS, "*", regex=True) + " (" + paired["mode"] + ")",
        ns=paired["wait_ns"] / paired["operations"],
    )
    each = paired.groupby([*keys, "name"], sort=False)["ns"].sum().reset_index()
    table = each.groupby([*KEYS, "name"], sort=False)["ns"].mean().reset_index()
    return table.astype({"threads": int, "ns": float})


def _table(place: DesignPanel, waits: pd.DataFrame) -> pd.DataFrame:
    wide = place.of(waits).pivot_table(index="name", columns="threads", values="ns")
    longest = wide.max(axis=1).sort_values(ascending=False, kind="stable").index[:_LOCKS]
    return wide.loc[longest]


def _draw(ax: Axes, table: pd.DataFrame, norm: LogNorm) -> None:
    cells = table.to_numpy(dtype=float)
    colours = colormaps["YlGnBu"]
    ax.imshow(np.ma.masked_invalid(cells), cmap=colours, norm=norm, aspect="auto")
    ax.set_xticks(range(len(table.columns)), [str(count) for count in table.columns], fontsize=TICK_SIZE)
    ax.set_yticks(range(len(table)), [str(name) for name in table.index], fontsize=TICK_SIZE)
    ax.tick_params(length=0, colors=INK)
    for side in ax.spines.values():
        side.set_color(FAINT)
    for row, line in enumerate(cells):
        for column, ns in enumerate(line):
            if not np.isnan(ns):
                dark = float(norm(ns)) > 0.55
                ax.text(column, row, _short(ns), ha="center", va="center", fontsize=TICK_SIZE - 2,
                        color="white" if dark else INK)  # fmt: skip


def _short(ns: float) -> str:
    """A duration in few characters, two digits."""
    if ns < 0.1:
        return "0"
    digits = ceil(log10(ns)) - 2 if ns > 1 else -1
    return duration(round(ns, -digits))
