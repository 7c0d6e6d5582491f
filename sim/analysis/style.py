"""One look for all figures: a design keeps its colour and marker everywhere, ticks are readable.

Colours are Okabe and Ito's, safe for colour-blind readers; markers and line styles say the same again in
grey print. Nothing here reads or changes matplotlib's global state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal
from zlib import crc32

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from sim.analysis.wording import plain_number

INK = "#222222"
FAINT = "#8a8a8a"
GRID = "#e3e3e3"
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 11, 10, 9


Dashes = Literal["-", "--", "-."] | tuple[float, tuple[int, ...]]


@dataclass(frozen=True)
class DesignStyle:
    """How a design is drawn: its lines in *colour* with *marker* and *dashes*, its bars hatched if dashed."""

    colour: str
    marker: str
    dashes: Dashes = "-"

    @property
    def hatch(self) -> str:
        return "" if self.dashes == "-" else "///"


_KNOWN = {
    "linux-6.13": DesignStyle("#333333", "o"),
    "cortenmm-rw": DesignStyle("#E69F00", "s"),
    "cortenmm-adv": DesignStyle("#0072B2", "^"),
    "nros": DesignStyle("#009E73", "D"),
    "radixvm": DesignStyle("#CC79A7", "v"),
}
_SPARE_LOOKS = (
    ("#D55E00", "P"),
    ("#56B4E9", "X"),
    ("#8C6BB1", "p"),
    ("#7A5C00", "*"),
    ("#004D40", "h"),
    ("#B0005A", "<"),
    ("#6B8E23", ">"),
    ("#999999", "d"),
)
_DASHES: tuple[Dashes, ...] = ("-", "--", "-.", (0, (1, 1)))
SPARE_STYLES = tuple(DesignStyle(*look, dashes) for dashes in _DASHES[:3] for look in _SPARE_LOOKS)
"""Styles of strangers: when all colours are taken they come again, dashed."""
_MARKERS = "o^sDvPX*"
_PALEST = 0.6
"""How far towards white the last of several swept values is drawn."""
_FEW_TICKS = 10
"""Below this ratio of the largest to the smallest value a logarithmic axis is widened to its next ticks."""


@dataclass(frozen=True)
class LineStyle:
    """How one line is drawn: that of a design, or of a design at a swept value."""

    colour: str
    marker: str
    dashes: Dashes = "-"


def design_styles(designs: Iterable[str]) -> dict[str, DesignStyle]:
    """A style for each of *designs*.

    Known designs have theirs. Another takes the place that its name's checksum says, or the next free one,
    so it looks the same in every figure unless two strangers in one figure claim the same place.
    """
    styles: dict[str, DesignStyle] = {}
    taken: set[int] = set()
    for name in dict.fromkeys(designs):
        if name in _KNOWN:
            styles[name] = _KNOWN[name]
            continue
        colours = len(_SPARE_LOOKS)
        first = crc32(name.encode()) % colours
        turn = len(taken) // colours * colours
        free = [turn + (first + step) % colours for step in range(colours)]
        place = next((at for at in free if at not in taken), first) % len(SPARE_STYLES)
        taken.add(place)
        styles[name] = SPARE_STYLES[place]
    return styles


def line_styles(
    styles: Mapping[str, DesignStyle], variants: Sequence[str]
) -> dict[tuple[str, str], LineStyle]:
    """(design, variant) -> its look: the design's colour, paler and dashed otherwise from value to value.

    The marker is the design's, or, where there is one design only, the value's.
    """
    return {
        (design, variant): variant_style(style, number, len(variants), own_marker=len(styles) == 1)
        for number, variant in enumerate(variants)
        for design, style in styles.items()
    }


def variant_style(style: DesignStyle, number: int, count: int, *, own_marker: bool = False) -> LineStyle:
    """The look of a design at the value *number* of *count* swept ones."""
    if count == 1:
        return LineStyle(style.colour, style.marker, style.dashes)
    return LineStyle(
        _paler(style.colour, _PALEST * number / (count - 1)),
        _MARKERS[number % len(_MARKERS)] if own_marker else style.marker,
        _DASHES[number % len(_DASHES)],
    )


def _paler(colour: str, share: float) -> str:
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)


def dress(ax: Axes, title: str = "") -> None:
    """The plain look every panel shares: two spines, quiet ticks, a light grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(labelsize=TICK_SIZE, colors=INK, width=0.6, length=3)
    ax.grid(color=GRID, linewidth=0.7)
    ax.set_axisbelow(True)
    if title:
        ax.set_title(title, fontsize=TITLE_SIZE, color=INK)


def log_threads_axis(ax: Axes, threads: Sequence[int]) -> None:
    """A base-2 axis over all of *threads*, its ticks a few of them: always the first and the last."""
    first, last = min(threads), max(threads)
    margin = max((last / first) ** 0.05, 1.05) if last > first else 2.0
    ax.set_xscale("log", base=2)
    ax.set_xlim(first / margin, last * margin)
    ax.set_xticks(spread_ticks(threads))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())


def value_axis(axes: Iterable[Axes], low: float, high: float, *, log: bool) -> None:
    """One y scale for *axes*, on which values from *low* to *high* fit: their heights compare.

    A logarithmic axis has ticks at decades, and at 2 and 5 between when there are few; a linear one starts
    at 0.
    """
    for ax in axes:
        if log:
            ax.set_yscale("log")
            low_end, high_end = low / 1.2, high * 1.2
            if high / low < _FEW_TICKS:
                low_end, high_end = min(low_end, _step_below(low)), max(high_end, _step_above(high))
            ax.set_ylim(low_end, high_end)
            steps = (1.0,) if high_end / low_end > 300 else (1.0, 2.0, 5.0)
            ax.yaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
        else:
            ax.set_ylim(0, 1.08 * high)
            ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
        ax.yaxis.set_minor_locator(NullLocator())


def _step_below(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ... not above *value*."""
    decade = 10.0 ** floor(log10(value))
    return decade * max(step for step in (1, 2, 5) if step * decade <= value * 1.0001)


def _step_above(value: float) -> float:
    decade = 10.0 ** floor(log10(value))
    return decade * min(step for step in (1, 2, 5, 10) if step * decade >= value * 0.9999)


def spread_ticks(threads: Sequence[int]) -> list[int]:
    """Thread counts at least a sixth of a logarithmic axis apart, keeping the first and the last."""
    ordered = sorted(set(threads))
    kept = [ordered[0]]
    apart = max((ordered[-1] / ordered[0]) ** (1 / 6), 1.1)
    for count in ordered[1:-1]:
        if count >= apart * kept[-1] and apart * count <= ordered[-1]:
            kept.append(count)
    return kept if ordered[-1] == kept[-1] else [*kept, ordered[-1]]
