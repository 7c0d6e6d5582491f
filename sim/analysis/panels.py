"""One panel of each chart: a tidy frame drawn on one Axes.

These functions draw and label; they make no figure and no legend, so that `sim.analysis.figures` can lay
them out on paper and `sim.plot` in a notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sim.analysis.activities import group_colour
from sim.analysis.style import (
    FAINT,
    INK,
    LABEL_SIZE,
    TICK_SIZE,
    DesignStyle,
    dress,
    log_threads_axis,
    log_throughput_axis,
)
from sim.analysis.wording import design_title, duration, plain_number, thread_count

THROUGHPUT_LABEL = "throughput (ops/µs)"
LATENCY_LABEL = "median latency (ns)"
THREADS_LABEL = "threads"
SHARE_LABEL = "share of cpu time (%)"
IDEAL_LABEL = "ideal linear"
PUBLISHED_LABEL = "published"


def draw_scalability(
    ax: Axes,
    curves: pd.DataFrame,
    styles: Mapping[str, DesignStyle],
    title: str = "",
    *,
    ideal: bool = True,
) -> None:
    """Throughput over threads, both logarithmic, one line a design and a dotted line for ideal scaling.

    *curves* is one panel of `tables.averaged`, of throughput or, without *ideal*, of anything else. Where
    replicates give a confidence interval it is a band. The ideal line starts at the best throughput a thread
    has at the smallest thread count.
    """
    dress(ax, title)
    if curves.empty:
        draw_nothing(ax)
        return
    threads = sorted(set(curves["threads"]))
    log_threads_axis(ax, threads)
    ax.set_yscale("log")

    if ideal:
        first = curves.loc[curves["threads"] == threads[0]]
        per_thread = float(first["mean"].max()) / threads[0]
        ax.plot(
            [threads[0], threads[-1]],
            [per_thread * threads[0], per_thread * threads[-1]],
            linestyle=":",
            linewidth=1.2,
            color=FAINT,
            label=IDEAL_LABEL,
        )
    for design, style in styles.items():
        line = curves.loc[curves["design"] == design].sort_values("threads")
        if line.empty:
            continue
        ax.plot(
            line["threads"],
            line["mean"],
            color=style.colour,
            marker=style.marker,
            markersize=4.5,
            linewidth=1.6,
            label=design_title(design),
        )
        if line["low"].notna().any():
            floor = line["low"].clip(
                lower=1e-3 * line["mean"]
            )  # an interval may reach below zero, a log axis not
            ax.fill_between(line["threads"], floor, line["high"], color=style.colour, alpha=0.2, linewidth=0)
    log_throughput_axis(ax)


def draw_relative(
    ax: Axes,
    ratios: pd.DataFrame,
    styles: Mapping[str, DesignStyle],
    baseline: str,
    published: Mapping[tuple[str, str], float] | None = None,
    title: str = "",
) -> None:
    """One group of bars a workload, one bar a design, the baseline as a line at 1.

    *ratios* has columns design, workload, mean, low, high (one row a bar); *published* maps (design,
    workload) to a measured ratio, drawn as a diamond on its bar.
    """
    dress(ax, title)
    ax.grid(visible=False, axis="x")
    workloads = list(dict.fromkeys(ratios["workload"]))
    designs = [name for name in styles if name != baseline and (ratios["design"] == name).any()]
    if not designs:
        draw_nothing(ax, f"no design beside {design_title(baseline)}")
        return
    width = min(0.8 / len(designs), 0.4)
    marks = published or {}
    for number, design in enumerate(designs):
        bars = ratios.loc[ratios["design"] == design].set_index("workload").reindex(workloads)
        places = np.arange(len(workloads)) + (number - (len(designs) - 1) / 2) * width
        colour = styles[design].colour
        ax.bar(places, bars["mean"], width=0.92 * width, color=colour, label=design_title(design))
        if bars["low"].notna().any():
            spread = [bars["mean"] - bars["low"], bars["high"] - bars["mean"]]
            ax.errorbar(places, bars["mean"], yerr=spread, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        for place, workload, ratio in zip(places, workloads, bars["mean"], strict=True):
            if np.isfinite(ratio):
                ax.annotate(
                    f"{ratio:.2f}×" if ratio < 10 else f"{plain_number(ratio)}×",
                    (place, 0.02 * ax.get_ylim()[1]),
                    ha="center",
                    va="bottom",
                    rotation=90,
                    fontsize=TICK_SIZE,
                    color="white" if _dark(colour) else INK,
                )
            measured = marks.get((design, workload))
            if measured is not None:
                ax.plot(
                    place,
                    measured,
                    linestyle="none",
                    marker="D",
                    markersize=6,
                    color="white",
                    markeredgecolor=INK,
                    zorder=4,
                    label=PUBLISHED_LABEL,
                )
    ax.axhline(1.0, color=styles[baseline].colour if baseline in styles else INK, linewidth=1.4, zorder=3)
    ax.set_xticks(range(len(workloads)), workloads, fontsize=LABEL_SIZE)
    ax.set_xlim(-0.55, len(workloads) - 0.45)
    ax.set_ylim(bottom=0)
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel(f"throughput relative to {design_title(baseline)}", fontsize=LABEL_SIZE)


def draw_breakdown(ax: Axes, shares: pd.DataFrame, title: str = "") -> None:
    """Where the time goes: a horizontal bar for each row of *shares*, 100 % long, its total at the end.

    *shares* has a two-level index (threads, design), a column a group, values ns per operation.
    Bars of a thread count stand together, the smallest count on top.
    """
    dress(ax, title)
    ax.grid(visible=False, axis="y")
    if shares.empty:
        draw_nothing(ax)
        return
    places = bar_places([int(threads) for threads, _ in shares.index])
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
    for number, (place, (threads, _)) in enumerate(zip(places, shares.index, strict=True)):
        if number == 0 or threads != shares.index[number - 1][0]:
            ax.text(
                0,
                place - 0.5,
                thread_count(int(threads)),
                va="bottom",
                fontsize=TICK_SIZE - 1,
                color=FAINT,
                style="italic",
            )
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
    ax.set_yticks(places, [design_title(str(design)) for _, design in shares.index], fontsize=TICK_SIZE)
    ax.tick_params(axis="y", length=0)


def bar_places(threads: Sequence[int]) -> list[float]:
    """Where horizontal bars stand: one apart, with a gap where the thread count changes."""
    places: list[float] = []
    for number, count in enumerate(threads):
        gap = 0.0 if number == 0 else 1.0 if count == threads[number - 1] else 1.9
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
