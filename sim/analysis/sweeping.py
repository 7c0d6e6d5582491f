"""Sweeps in figures: a swept value is a variant of a design's line (`variants.parted`), or the x axis.

A column of numbers (pages, bytes, ceilings) with enough values can be the axis (`sweep_of`); words are one
where threads do not vary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from sim.analysis.layout import apart, name_axis
from sim.analysis.style import TICK_SIZE
from sim.analysis.tables import swept_columns
from sim.analysis.variants import parted, short_names, written
from sim.analysis.wording import thread_count

_NUMBER = re.compile(r"\s*([-+]?\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?)\s*([A-Za-zµ/]*)\s*\Z")
_FACTORS = {
    "": 1.0, "ps": 1e-3, "ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "cycles": 1.0,
    "B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
    "MB/s": 1e-3, "GB/s": 1.0, "MHz": 1e-3, "GHz": 1.0,
}  # fmt: skip
_ENOUGH = 3
"""Values of a column that make a curve."""
_CROWDED = 0.15
"""A linear axis would crowd values whose median is below this share of the largest."""


@dataclass(frozen=True)
class Sweep:
    """A run's points over the swept column *axis*.

    *points* are `parted` but for the axis, with its numbers as `x`, or of *words* their places 0, 1, ...;
    *ticks* names each x as the experiment wrote it.
    """

    axis: str
    label: str
    ticks: dict[float, str]
    words: bool
    points: pd.DataFrame


def sweep_of(points: pd.DataFrame) -> Sweep | None:
    """The sweep in *points* whose values can be an axis; None where there is none."""
    varied = [column for column in swept_columns(points) if points[column].nunique() > 1]
    several_threads = points["threads"].nunique() > 1
    numbers = {column: points[column].map(_number) for column in varied}
    numeric = [column for column in varied if numbers[column].notna().all()]
    curves = [column for column in numeric if points[column].nunique() >= _ENOUGH]
    usable = curves or ([] if several_threads else numeric or varied)
    if not usable:
        return None
    axis = max(usable, key=lambda column: points[column].nunique())
    words = axis not in numeric
    words_of = points[axis].map(written)
    order = {value: float(number) for number, value in enumerate(dict.fromkeys(words_of))}
    x = words_of.map(order) if words else numbers[axis].astype(float)
    ticks = dict(sorted(zip(x, words_of, strict=True)))
    label = f"{short_names(varied)[axis].replace('_', ' ')} ({axis})"
    return Sweep(axis, label, ticks, words, parted(points, axis).assign(x=x))


def with_threads(points: pd.DataFrame, shown: Sequence[int]) -> pd.DataFrame:
    """The *points* at the *shown* thread counts, which join the variant if they are several."""
    here = points.loc[points["threads"].isin(shown)]
    if len(shown) == 1:
        return here
    counts = here["threads"].map(lambda count: thread_count(int(count)))
    joined = [", ".join(filter(None, pair)) for pair in zip(counts, here["variant"], strict=True)]
    return here.assign(variant=joined)


def sweep_axis(ax: Axes, sweep: Sweep, inches: float) -> int:
    """The x axis of a *sweep* on a panel of *inches*; the lines of text that its ticks are high."""
    if sweep.words:
        ax.set_xlim(-0.5, len(sweep.ticks) - 0.5)
        return name_axis(ax, list(sweep.ticks.values()), inches)
    places = sorted(sweep.ticks)
    low, high = places[0], places[-1]
    if low > 0 and places[len(places) // 2] < _CROWDED * high:
        ax.set_xscale("log", base=2)
        margin = (high / low) ** 0.05
        ax.set_xlim(low / margin, high * margin)
    else:
        margin = 0.05 * (high - low) or 0.5
        ax.set_xlim(low - margin, high + margin)
    ends = ax.transAxes.inverted().transform(ax.transData.transform([(place, 1) for place in places]))
    kept = apart([float(share) for share, _ in ends], [sweep.ticks[place] for place in places], inches)
    shown = [places[at] for at in kept]
    ax.set_xticks(shown, [sweep.ticks[place] for place in shown], fontsize=TICK_SIZE)
    ax.minorticks_off()
    return 1


def _number(value: object) -> float | None:
    """The number in a swept value such as `4 KiB`, comparable with others of its kind; None for a word."""
    if isinstance(value, bool) or str(value) in ("True", "False"):
        return None
    match = _NUMBER.match(str(value))
    factor = _FACTORS.get(match[2]) if match else None
    return float(match[1].replace("_", "")) * factor if match and factor is not None else None
