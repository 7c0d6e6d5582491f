"""How work and waiting are spread: fairness over threads, latencies in full, where cache lines went.

All are of the tables that a run with a profile has besides `points.csv`.
"""

from __future__ import annotations

from math import ceil, floor, log10, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sim.analysis.curves import KEYS, Quantity, over_threads_figure
from sim.analysis.design_panels import DesignPanel, design_grid, titles
from sim.analysis.distributions import percentile_table
from sim.analysis.fairness import fairness_table
from sim.analysis.layout import Panel, finish, grid, label_last_row, label_values, panel_rows, row_headings
from sim.analysis.panels import draw_nothing, line_label
from sim.analysis.style import (
    FAINT,
    INK,
    LABEL_SIZE,
    TICK_SIZE,
    LineStyle,
    design_styles,
    dress,
    line_styles,
)
from sim.analysis.tables import labelled
from sim.analysis.variants import parted
from sim.analysis.wording import plain_number, thread_count, time_scale
from sim.profile.requests import ALL

if TYPE_CHECKING:
    from matplotlib.image import AxesImage

ONE_DOES_ALL = "one cpu does all"
TAIL_LABEL = "share that takes longer"
SHARE_LABEL = "share that takes no longer"
MEMORY = "memory"
_SIDE = 2.3
_HEIGHT = 1.7
_DRAWN = (1, 2.5, *range(5, 100, 5), 97.5, 98, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 100)
"""Percentiles that are joined to a line: those that the table has of many latencies."""
_TAIL_END = 1e-3
_MARKED = {50: "p50", 99: "p99"}
_FAINTEST = 1e-4
"""Fewer transfers than this share of the most have the colour of it."""
_MOST_ROWS = 4
_TICKS = 8


def fairness_figure(cpus: pd.DataFrame, title: str = "") -> Figure | None:
    """Jain's index of the operations of the cpus over threads; None where no cpu did any.

    The dotted line is what it would be if one cpu did all.
    """
    table = fairness_table(cpus).rename(columns={"jain": "mean", "jain_low": "low", "jain_high": "high"})
    table = table.loc[table["mean"] > 0].assign(other=nan)
    if table.empty:
        return None
    quantity = Quantity(table, "fairness (Jain's index)", 0.0, 1.0, log=False)

    def worst(ax: Axes, panel: Panel) -> None:
        here = panel.of(table).groupby("threads")["cpus"].max()
        if len(here) > 1:
            ax.plot(here.index, 1 / here, color=FAINT, linestyle=":", linewidth=1.2, label=ONE_DOES_ALL)

    note = "1: every cpu completes as many operations as any other"
    return over_threads_figure(table, quantity, title, [note], extra=worst, last=[ONE_DOES_ALL])


# -- latencies --------------------------------------------------------------------------------------------


def distribution_figure(latencies: pd.DataFrame, title: str = "") -> Figure | None:
    """The latencies of all measured operations at the most threads of each panel: a line a design.

    Above: the share of operations that take no longer. Below: the share that takes longer, whose logarithm
    shows the tail. None without latencies.
    """
    named = parted(labelled(latencies))
    named = named.loc[(named["of"] == ALL) & (named["latency_ns"] > 0)]
    if named.empty:
        return None
    most = named.groupby(["machine", "placement", "workload"])["threads"].transform("max")
    table = percentile_table(named.loc[named["threads"] == most], _DRAWN)
    factor, unit = time_scale(float(table["ns"].median()))
    table = table.assign(time=table["ns"] * factor)
    looks = line_styles(design_styles(named["design"]), list(dict.fromkeys(named["variant"])))
    rows = panel_rows(table)
    names = [[_at(panel, table) for panel in row] for row in rows]
    blank = [[" "] * len(row) for row in rows]
    figure, axes = grid(
        2.4,
        [_HEIGHT] * (2 * len(rows)),
        [each for pair in zip(names, blank, strict=True) for each in pair],
        headings=[each for heading in row_headings(rows) for each in (heading, "")],
    )
    for number, row in enumerate(rows):
        above, below = axes[2 * number], axes[2 * number + 1]
        for ax, tail, panel in zip(above, below, row, strict=True):
            _draw_distribution(ax, tail, panel.of(table), looks)
        for places, label in ((above, SHARE_LABEL), (below, TAIL_LABEL)):
            label_values(places[0], label, _HEIGHT)
            for ax in places[1:]:
                ax.tick_params(labelleft=False)
    label_last_row(axes, f"latency of an operation ({unit})", 2.4)
    finish(
        figure, title, ["marked: p50 and p99; straight between percentiles that are known; below: the tail"]
    )
    return figure


def _at(panel: Panel, table: pd.DataFrame) -> str:
    threads = int(panel.of(table)["threads"].iloc[0])
    return f"{panel.workload}, {thread_count(threads)}"


def _draw_distribution(
    ax: Axes, tail: Axes, table: pd.DataFrame, looks: dict[tuple[str, str], LineStyle]
) -> None:
    low, high = float(table["time"].min()), float(table["time"].max())
    for place in (ax, tail):
        dress(place)
        _time_axis(place, low, high)
    ax.set_ylim(0, 1.04)
    tail.set_yscale("log")
    tail.set_ylim(_TAIL_END, 1.2)
    tail.yaxis.set_major_locator(LogLocator(numticks=8))
    for axis in (ax.yaxis, tail.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g}%"))
    tail.yaxis.set_minor_locator(NullLocator())
    for (design, variant), look in looks.items():
        line = table.loc[(table["design"] == design) & (table["variant"] == variant)]
        if line.empty:
            continue
        line = line.sort_values("percentile")
        share = line["percentile"] / 100
        drawn: dict[str, Any] = {"color": look.colour, "linestyle": look.dashes, "linewidth": 1.5}
        ax.plot(line["time"], share, **drawn, label=line_label(design, variant), marker=look.marker,
                markevery=_places(line), markersize=4.5)  # fmt: skip
        tail.plot(line["time"], (1 - share).clip(lower=_TAIL_END / 10), **drawn, marker=look.marker,
                  markevery=_places(line), markersize=4.5)  # fmt: skip


def _places(line: pd.DataFrame) -> list[int]:
    percentiles = list(line["percentile"])
    return [percentiles.index(each) for each in _MARKED if each in percentiles]


def _time_axis(ax: Axes, low: float, high: float) -> None:
    """A logarithmic x axis of times with few ticks; those that are hardly apart get a wider one."""
    low, high = (low / 1.15, high * 1.15) if high > 2 * low else (low / 1.6, high * 1.6)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    decades = log10(high / low)
    if decades > 2:
        step = 10.0 ** ceil(decades / 4)
        places = [10.0 ** floor(log10(low)) * step**number for number in range(6)]
    else:
        steps = (1, 2, 5) if decades > 0.7 else (1, 1.5, 2, 3, 4, 5, 7)
        places = [step * 10.0**n for n in range(floor(log10(low)), ceil(log10(high)) + 1) for step in steps]
    shown = [place for place in places if low <= place <= high]
    while len(shown) > 5:
        shown = shown[::2]
    ax.set_xticks(shown)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    ax.xaxis.set_minor_locator(NullLocator())


# -- transfers --------------------------------------------------------------------------------------------


def transfer_figure(
    points: pd.DataFrame, transfers: pd.DataFrame, cpus: pd.DataFrame | None = None, title: str = ""
) -> Figure | None:
    """How many cache lines an operation moves from each cluster to each, at the most threads of a panel.

    Clusters stand in the order of the machine, lines part its sockets where *cpus* (`cpus.csv`) says which
    has which. None where no line moved.
    """
    table = transfer_table(points, transfers)
    if table.empty:
        return None
    most = table.groupby(["machine", "placement", "workload"])["threads"].transform("max")
    table = table.loc[table["threads"] == most]
    drawn = design_grid(table, _MOST_ROWS)
    named = [[f"{words}, {thread_count(_threads(place, table))}" for words, place in zip(*pair, strict=True)]
             for pair in zip(titles(drawn.rows), drawn.rows, strict=True)]  # fmt: skip
    figure, axes = grid(_SIDE, [_SIDE] * len(drawn.rows), named, headings=drawn.headings)
    highest = float(table["each"].max())
    norm = LogNorm(max(_FAINTEST * highest, float(table["each"].min()) / 2), highest)
    images = []
    for row, places in zip(drawn.rows, axes, strict=True):
        for ax, place in zip(places, row, strict=True):
            images.append(_draw_matrix(ax, place, table, cpus, norm))
        places[0].set_ylabel("from cluster", fontsize=LABEL_SIZE)
    label_last_row(axes, "to cluster", _SIDE)
    every = [ax for row in axes for ax in row]
    bar = figure.colorbar(images[0], ax=every, shrink=0.9 if len(axes) == 1 else 0.5, aspect=25, pad=0.02)
    bar.set_label("cache lines moved per operation", fontsize=LABEL_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    figure.set_figwidth(figure.get_figwidth() + 0.9)
    note = "a cluster: the cores that share an L3; mem: lines that no cache had; white: none"
    finish(figure, title, [note, drawn.note])
    return figure


def transfer_table(points: pd.DataFrame, transfers: pd.DataFrame) -> pd.DataFrame:
    """Transfers of an operation: a row a place, thread count and pair of clusters, over all distances.

    Columns: those of a curve, `threads`, `variant`, `from_cluster`, `to_cluster` (text; `memory`), `each`:
    transfers over operations, of all replicates together.
    """
    points, transfers = parted(labelled(points)), parted(labelled(transfers))
    done = points.loc[points["operations"] > 0].groupby(list(KEYS), sort=False)["operations"].sum()
    pair = ["from_cluster", "to_cluster"]
    named = transfers.assign(**{name: transfers[name].astype(str) for name in pair})
    moved = named.groupby([*KEYS, *pair], sort=False)["transfers"].sum().reset_index()
    table = moved.merge(done.reset_index(), on=list(KEYS), validate="m:1")
    return table.assign(each=table["transfers"] / table["operations"]).drop(
        columns=["transfers", "operations"]
    )


def _threads(place: DesignPanel, table: pd.DataFrame) -> int:
    return int(place.of(table)["threads"].iloc[0])


def _draw_matrix(
    ax: Axes, place: DesignPanel, table: pd.DataFrame, cpus: pd.DataFrame | None, norm: LogNorm
) -> AxesImage:
    own = place.of(table)
    sockets = _sockets(cpus, place)
    names = ({*own["from_cluster"], *own["to_cluster"]} - {MEMORY}) | set(sockets)
    clusters = sorted(names, key=lambda name: (sockets.get(name, 0), int(name)))
    wide = own.pivot_table(index="from_cluster", columns="to_cluster", values="each", aggfunc="sum")
    cells = wide.reindex(index=[*clusters, MEMORY], columns=clusters).to_numpy(dtype=float)
    image = ax.imshow(np.ma.masked_invalid(cells), cmap=colormaps["YlGnBu"], norm=norm, aspect="auto")
    step = ceil(len(clusters) / _TICKS)
    ticks = range(0, len(clusters), step)
    ax.set_xticks(list(ticks), [clusters[at] for at in ticks], fontsize=TICK_SIZE)
    kept = [at for at in ticks if len(clusters) - at >= step]
    ax.set_yticks([*kept, len(clusters)], [*(clusters[at] for at in kept), "mem"], fontsize=TICK_SIZE)
    ax.tick_params(length=0, colors=INK)
    for side in ax.spines.values():
        side.set_color(FAINT)
    ax.axhline(len(clusters) - 0.5, color=FAINT, linewidth=0.8)
    for at in range(1, len(clusters)):
        if sockets.get(clusters[at]) != sockets.get(clusters[at - 1]):
            ax.axhline(at - 0.5, color=INK, linewidth=0.9)
            ax.axvline(at - 0.5, color=INK, linewidth=0.9)
    if not np.isfinite(cells).any():
        draw_nothing(ax, "no transfer")
    return image


def _sockets(cpus: pd.DataFrame | None, place: DesignPanel) -> dict[str, int]:
    """Cluster -> socket of the clusters that were online."""
    if cpus is None or cpus.empty:
        return {}
    own = place.of(parted(labelled(cpus)))
    own = own.loc[own["threads"] == own["threads"].max()]
    return {str(cluster): int(socket) for cluster, socket in zip(own["cluster"], own["socket"], strict=True)}
