"""One panel of each chart: a tidy frame drawn on one Axes.

These functions draw and label; they make no figure and no legend and leave the scale of values to the figure,
so that panels can share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sim.analysis.activities import group_colour
from sim.analysis.style import (
    FAINT,
    INK,
    LABEL_SIZE,
    TICK_SIZE,
    DesignStyle,
    LineStyle,
    dress,
    log_threads_axis,
    variant_style,
)
from sim.analysis.wording import design_title, duration, plain_number, thread_count

THREADS_LABEL = "threads"
SHARE_LABEL = "share of cpu time (%)"
IDEAL_LABEL = "ideal: linear scaling"
PUBLISHED_LABEL = "published"

Looks = Mapping[tuple[str, str], LineStyle]
"""(design, variant) -> how its line is drawn."""


def draw_over_threads(
    ax: Axes,
    curves: pd.DataFrame,
    looks: Looks,
    threads: Sequence[int],
    *,
    ideal: bool = False,
    other: str = "",
) -> None:
    """Lines over an axis that reaches all of *threads*; *curves* as for `draw_lines`.

    The *ideal* line starts at the best value a thread has at the smallest thread count of the curves.
    """
    dress(ax)
    if curves.empty:
        draw_nothing(ax)
        return
    log_threads_axis(ax, threads)
    first = int(curves["threads"].min())
    if ideal and max(threads) > first:
        best = float(curves.loc[curves["threads"] == first, "mean"].max())
        ends = np.array([first, max(threads)])
        ax.plot(
            ends,
            best * ends / first,
            linestyle=":",
            linewidth=1.2,
            color=FAINT,
            label=IDEAL_LABEL,
            zorder=1.5,
        )
    draw_lines(ax, curves, looks, "threads", other=other)


def draw_lines(
    ax: Axes, curves: pd.DataFrame, looks: Looks, x: str, *, other: str = "", connect: bool = True
) -> None:
    """A line for each of *looks* over the column *x*.

    *curves* has the columns of `tables.averaged` and design, variant, and may have `other`: a second value of
    the same quantity, marked where it is not NaN and named *other* in the legend. Where replicates give a
    confidence interval it is a band, or without *connect* a bar.
    """
    for (design, variant), look in looks.items():
        line = curves.loc[(curves["design"] == design) & (curves["variant"] == variant)].sort_values(x)
        if line.empty:
            continue
        ax.plot(
            line[x],
            line["mean"],
            linestyle=look.dashes if connect else "none",
            color=look.colour,
            marker=look.marker,
            markersize=4.5,
            linewidth=1.6,
            label=line_label(design, variant),
        )
        known = line.loc[line["low"].notna()]
        # An interval may reach below zero, a log axis not.
        floor = known["low"].clip(lower=1e-3 * known["mean"])
        if connect and len(known):
            ax.fill_between(known[x], floor, known["high"], color=look.colour, alpha=0.2, linewidth=0)
        elif len(known):
            spread = [known["mean"] - floor, known["high"] - known["mean"]]
            ax.errorbar(known[x], known["mean"], yerr=spread, fmt="none", ecolor=look.colour, capsize=2)
        if other:
            mark_other(ax, line.dropna(subset=["other"]), x, look.colour, other)


def mark_other(ax: Axes, points: pd.DataFrame, x: str, colour: str, label: str) -> None:
    """A small hollow circle at `other` of each of *points*, hung by a hairline on its `mean`."""
    if points.empty:
        return
    hollow: dict[str, Any] = {
        "marker": "o",
        "markersize": 3.2,
        "markerfacecolor": "white",
        "markeredgewidth": 0.7,
        "zorder": 1.9,
    }
    ax.vlines(points[x], points["mean"], points["other"], color=colour, linewidth=0.6, alpha=0.8, zorder=1.8)
    ax.plot(points[x], points["other"], linestyle="none", color=colour, label="_nolegend_", **hollow)
    if label not in ax.get_legend_handles_labels()[1]:
        ax.plot([], [], linestyle="none", color=FAINT, label=label, **hollow)


def line_label(design: str, variant: str) -> str:
    """`Linux 6.13, cross_socket 240 ns`."""
    return ", ".join(filter(None, (design_title(design), variant)))


def look_entries(styles: Mapping[str, DesignStyle], variants: Sequence[str]) -> dict[str, Artist]:
    """Legend entries of a figure with several designs at several values: the designs, then the values."""
    entries: dict[str, Artist] = {
        design_title(name): Line2D([], [], color=style.colour, marker=style.marker, markersize=4.5)
        for name, style in styles.items()
    }
    grey = DesignStyle(INK, "")
    for number, variant in enumerate(variants):
        look = variant_style(grey, number, len(variants))
        entries[variant] = Line2D([], [], color=look.colour, linestyle=look.dashes, linewidth=1.6)
    return entries


def draw_relative(
    ax: Axes,
    ratios: pd.DataFrame,
    styles: Mapping[str, DesignStyle],
    baseline: str,
    names: Sequence[str],
    *,
    published: Mapping[tuple[str, str], float] | None = None,
    other: str = "",
) -> None:
    """A group of bars for each of *names*, one bar a design, the baseline as a line at 1.

    *ratios* has columns design, name, mean, low, high and other (one row a bar); *published* maps (design,
    name) to a measured ratio, drawn as a diamond on its bar. The ticks are left to the figure.
    """
    dress(ax)
    ax.grid(visible=False, axis="x")
    designs = [name for name in styles if name != baseline and (ratios["design"] == name).any()]
    if not designs:
        draw_nothing(ax, f"no finished point beside one of {design_title(baseline)}")
        return
    width = min(0.8 / len(designs), 0.4)
    marks = published or {}
    highest = max(1.0, *ratios["mean"], *ratios["high"].dropna(), *ratios["other"].dropna(), *marks.values())
    for number, design in enumerate(designs):
        style = styles[design]
        bars = ratios.loc[ratios["design"] == design].set_index("name").reindex(list(names))
        places = np.arange(len(names)) + (number - (len(designs) - 1) / 2) * width
        ax.bar(
            places, bars["mean"], 0.92 * width, color=style.colour, hatch=style.hatch, edgecolor="white",
            linewidth=0, label=design_title(design),
        )  # fmt: skip
        known = bars["low"].notna().to_numpy()
        if known.any():
            spread = [(bars["mean"] - bars["low"])[known], (bars["high"] - bars["mean"])[known]]
            ax.errorbar(
                places[known], bars["mean"][known], spread, fmt="none", ecolor=INK, elinewidth=1, capsize=2
            )
        if other:
            mark_other(ax, bars.assign(place=places).dropna(subset=["other"]), "place", INK, other)
        for place, name, ratio, high in zip(places, names, bars["mean"], bars["high"], strict=True):
            measured = marks.get((design, name))
            if np.isfinite(ratio):
                tops = [ratio, *(top for top in (high, measured) if top is not None and np.isfinite(top))]
                _write_ratio(ax, place, ratio, max(tops), highest, style)
            if measured is not None:
                ax.plot(
                    place, measured, linestyle="none", marker="D", markersize=6, color="white",
                    markeredgecolor=INK, zorder=4, label=PUBLISHED_LABEL,
                )  # fmt: skip
    ax.axhline(1.0, color=styles[baseline].colour if baseline in styles else INK, linewidth=1.4, zorder=3)
    ax.set_xlim(-0.55, len(names) - 0.45)
    ax.tick_params(axis="x", length=0)


def _write_ratio(
    ax: Axes, place: float, ratio: float, top: float, highest: float, style: DesignStyle
) -> None:
    """The ratio upright in its bar, or above it where the bar is too short or hatched."""
    inside = ratio > 0.3 * highest and not style.hatch
    ax.annotate(
        f"{ratio:.2f}×" if ratio < 10 else f"{plain_number(ratio)}×",
        (place, 0.02 * highest if inside else top),
        xytext=(0, 0 if inside else 5),
        textcoords="offset points",
        ha="center",
        va="bottom",
        rotation=90,
        fontsize=TICK_SIZE,
        color="white" if inside and _dark(style.colour) else INK,
        zorder=5,
    )


def draw_breakdown(ax: Axes, shares: pd.DataFrame) -> None:
    """Where the time goes: a horizontal bar for each row of *shares*, 100 % long, its total at the end.

    *shares* has an index (threads, variant, design), a column a group, values ns per operation. Bars of a
    thread count and swept value stand together under a line that says which, the smallest count on top.
    """
    dress(ax)
    ax.grid(visible=False, axis="y")
    if shares.empty:
        draw_nothing(ax)
        return
    sets = [group_title(int(threads), str(variant)) for threads, variant, _ in shares.index]
    places = bar_places(sets)
    percent = shares.div(shares.sum(axis=1), axis=0) * 100
    start = np.zeros(len(percent))
    for group in percent.columns:
        ax.barh(
            places,
            percent[group],
            left=start,
            height=0.82,
            color=group_colour(str(group)),
            edgecolor="white",
            linewidth=0.4,
            label=str(group),
        )
        start += percent[group].to_numpy()
    for number, (place, words) in enumerate(zip(places, sets, strict=True)):
        if number == 0 or words != sets[number - 1]:
            ax.text(0, place - 0.5, words, va="bottom", fontsize=TICK_SIZE - 1, color=INK, style="italic")
    for place, total in zip(places, shares.sum(axis=1), strict=True):
        ax.annotate(
            duration(total),
            (100, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=TICK_SIZE - 1,
            color=INK,
            annotation_clip=False,
        )
    ax.set_xlim(0, 100)
    ax.set_ylim(max(places) + 0.6, min(places) - 1.3)
    ax.set_yticks(places, [design_title(str(design)) for *_, design in shares.index], fontsize=TICK_SIZE)
    ax.tick_params(axis="y", length=0)


def group_title(threads: int, variant: str) -> str:
    """What the bars of a group have in common."""
    return ", ".join(filter(None, (thread_count(threads), variant)))


def bar_places(groups: Sequence[str]) -> list[float]:
    """Where horizontal bars stand: one apart, with a gap where the group changes."""
    places: list[float] = []
    for number, group in enumerate(groups):
        gap = 0.0 if number == 0 else 1.0 if group == groups[number - 1] else 1.9
        places.append((places[-1] if places else 0.0) + gap)
    return places


def draw_nothing(ax: Axes, words: str = "no finished point") -> None:
    """Say in the panel why it is empty."""
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(
        0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color=FAINT, fontsize=LABEL_SIZE
    )


def _dark(colour: str) -> bool:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 150
