"""Figures of a sensitivity study: a tornado for each answer, and the curves with their bands."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.analysis.curves import Quantity, over_threads_figure
from sim.analysis.layout import finish, grid, label_last_row, text_inches
from sim.analysis.sensitivity import Finding, Study
from sim.analysis.style import INK, TICK_SIZE, dress
from sim.analysis.tables import THROUGHPUT, labelled
from sim.analysis.throughput import throughput_label
from sim.analysis.variants import parted

LOW, HIGH = "#56B4E9", "#D55E00"
_BARS = 12
"""Costs that a tornado shows."""
_PANELS = 6
"""Answers that have a tornado; the tables have all."""
_LEAST = 1e-4
"""Smaller effects have no bar."""
_BAR = 0.24


def tornado_figure(study: Study, title: str, figure: Figure | None = None) -> Figure | None:
    """What each cost does to an answer at its low and high end, the largest on top; None where none moves."""
    shown = []
    for number, answer in enumerate(study.answers):
        moving = [(one, number) for one in study.findings if one.ends[number].size > _LEAST]
        if moving:
            ranked = sorted(moving, key=lambda pair: -pair[0].ends[pair[1]].size)
            shown.append((answer.name, ranked[:_BARS]))
    if not shown:
        return None
    panels = shown[:_PANELS]
    names = [_name(finding) for _, ranked in panels for finding, _ in ranked]
    side = 0.7 + max(text_inches(name, TICK_SIZE) for name in names)
    figure, axes = grid(
        4.5, [max(0.9, _BAR * (len(ranked) + 1)) for _, ranked in panels], [[name] for name, _ in panels],
        side=side, figure=figure,
    )  # fmt: skip
    for (ax,), (_, ranked) in zip(axes, panels, strict=True):
        _draw(ax, ranked)
    label_last_row(axes, "change of the answer (%)", 4.5)
    more = f"{len(panels)} of {len(shown)} answers are shown" if len(shown) > len(panels) else ""
    finish(
        figure,
        title,
        [
            "one cost at a time, from the low to the high end of its interval; all others as in the files",
            more,
        ],
    )
    return figure


def band_figure(study: Study, title: str, figure: Figure | None = None) -> Figure | None:
    """Throughput over threads with a band from the quality of all costs; None without two thread counts."""
    bands = parted(labelled(study.bands))
    if bands["threads"].nunique() < 2:
        return None
    factor, label = throughput_label(THROUGHPUT, float(bands[THROUGHPUT].median()))
    scaled = bands.rename(columns={THROUGHPUT: "mean"})
    scaled = scaled.assign(
        **{name: scaled[name] * factor for name in ("mean", "low", "high")}, other=float("nan")
    )
    low, high = float(scaled["low"].min()), float(scaled["high"].max())
    quantity = Quantity(scaled, label, low, high, log=True)
    samples = int(bands["samples"].max())
    note = f"bands: all costs drawn {samples} times from what their quality allows; least to greatest"
    return over_threads_figure(bands, quantity, title, [note], figure=figure)


def _draw(ax: Axes, ranked: Sequence[tuple[Finding, int]]) -> None:
    dress(ax)
    ax.grid(visible=False, axis="y")
    for place, (finding, answer) in enumerate(ranked):
        ends = finding.ends[answer]
        for end, colour, label in ((ends.low, LOW, "low end of the cost"), (ends.high, HIGH, "high end")):
            # two bars of one direction would hide each other: the shorter is on top
            shorter = abs(end) <= min(abs(ends.low), abs(ends.high))
            ax.barh(place, _change(end), height=0.72, color=colour, zorder=3 if shorter else 2,
                    label=label if place == 0 else "_nolegend_")  # fmt: skip
    ax.axvline(0, color=INK, linewidth=0.8, zorder=4)
    ax.set_yticks(range(len(ranked)), [_name(finding) for finding, _ in ranked], fontsize=TICK_SIZE)
    ax.set_ylim(len(ranked) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.06)


def _name(finding: Finding) -> str:
    return f"{finding.cost.name} ({finding.cost.quality})"


def _change(logarithm: float) -> float:
    return 0.0 if pd.isna(logarithm) else 100 * (exp(logarithm) - 1)
