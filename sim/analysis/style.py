"""One look for all figures: a design keeps its colour and marker everywhere, ticks are readable.

Colours are Okabe and Ito's, safe for colour-blind readers; markers and line styles say the same again in
grey print. Nothing here reads or changes matplotlib's global state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from zlib import crc32

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from sim.analysis.wording import plain_number

INK = "#222222"
FAINT = "#8a8a8a"
GRID = "#e3e3e3"
TITLE_SIZE, LABEL_SIZE, TICK_SIZE = 11, 10, 9


@dataclass(frozen=True)
class DesignStyle:
    """How a design is drawn."""

    colour: str
    marker: str


_KNOWN = {
    "linux-6.13": DesignStyle("#333333", "o"),
    "cortenmm-rw": DesignStyle("#E69F00", "s"),
    "cortenmm-adv": DesignStyle("#0072B2", "^"),
    "nros": DesignStyle("#009E73", "D"),
    "radixvm": DesignStyle("#CC79A7", "v"),
}
SPARE_STYLES = (
    DesignStyle("#D55E00", "P"),
    DesignStyle("#56B4E9", "X"),
    DesignStyle("#8C6BB1", "p"),
    DesignStyle("#7A5C00", "*"),
    DesignStyle("#004D40", "h"),
    DesignStyle("#B0005A", "<"),
    DesignStyle("#6B8E23", ">"),
    DesignStyle("#999999", "d"),
)


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
        place = crc32(name.encode()) % len(SPARE_STYLES)
        while place in taken and len(taken) < len(SPARE_STYLES):
            place = (place + 1) % len(SPARE_STYLES)
        taken.add(place)
        styles[name] = SPARE_STYLES[place]
    return styles


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
    """A base-2 axis whose ticks are thread counts that were run: about six, always the first and the last."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(spread_ticks(threads))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    ax.xaxis.set_minor_locator(NullLocator())


def log_throughput_axis(ax: Axes) -> None:
    """Ticks and plain numbers on a logarithmic y axis: decades, and 2 and 5 between when there are few."""
    low, high = ax.get_ylim()
    steps = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
    ax.yaxis.set_major_locator(LogLocator(base=10, subs=steps, numticks=12))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    ax.yaxis.set_minor_locator(NullLocator())


def spread_ticks(threads: Sequence[int]) -> list[int]:
    """Thread counts at least a factor of about three apart, keeping the first and the last."""
    ordered = sorted(set(threads))
    kept = [ordered[0]]
    for count in ordered[1:-1]:
        if count >= 3 * kept[-1] and 3 * count <= ordered[-1]:
            kept.append(count)
    return kept if ordered[-1] == kept[-1] else [*kept, ordered[-1]]
