"""Figures on paper: grids of panels with headings, and the title and legend around them.

Sizes are inches. What is written is measured before it is placed (`text_inches`), so that titles wrap, ticks
keep apart, and a figure grows by the lines of its title and the rows of its legend instead of squeezing its
panels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import ceil

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from sim.analysis.style import INK, LABEL_SIZE, TICK_SIZE, TITLE_SIZE
from sim.analysis.wording import placement_title

WIDEST = 5
"""Panels side by side before a row wraps."""
_LINE = 0.2
"""Height of a line of a title, a label or a legend."""
_KEY = 0.72
"""Width of a legend entry without its words: its sample and the gaps."""
_BOLD = 0.88
"""How much of the width of bold letters the plain ones take that are measured."""
_SIDE = 1.0
"""Width of what stands left and right of the panels: y label, ticks, margins."""


@dataclass(frozen=True)
class Panel:
    """A place in a grid: the curves of one machine, placement and workload."""

    machine: str
    placement: str
    workload: str

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of *frame* that belong here."""
        return frame.loc[
            (frame["machine"] == self.machine)
            & (frame["placement"] == self.placement)
            & (frame["workload"] == self.workload)
        ]


def panel_rows(frame: pd.DataFrame) -> list[list[Panel]]:
    """The grid of a frame: rows are machine and placement, columns workloads in order of appearance.

    Only what is in the frame has a panel. A row of more than `WIDEST` workloads wraps into even rows.
    """
    rows = []
    places = frame[["machine", "placement"]].drop_duplicates()
    for machine in dict.fromkeys(frame["machine"]):
        here = frame.loc[frame["machine"] == machine]
        workloads = list(dict.fromkeys(here["workload"]))
        width = ceil(len(workloads) / ceil(len(workloads) / WIDEST))
        for start in range(0, len(workloads), width):
            for placement in places.loc[places["machine"] == machine, "placement"]:
                known = set(here.loc[here["placement"] == placement, "workload"])
                chosen = [name for name in workloads[start : start + width] if name in known]
                if chosen:
                    rows.append([Panel(machine, placement, workload) for workload in chosen])
    return rows


def row_headings(rows: Sequence[Sequence[Panel]]) -> list[str]:
    """What the panels of each row have in common: the machine, if there are several, and the placement."""
    several = len({row[0].machine for row in rows}) > 1
    return [place_title(row[0], several) for row in rows]


def place_title(panel: Panel, several_machines: bool, *, workload: bool = False) -> str:
    """What a *panel* is: its workload, if asked, its machine, if it is one of several, and its placement."""
    parts = (
        panel.workload if workload else "",
        panel.machine if several_machines else "",
        placement_title(panel.placement),
    )
    return ", ".join(filter(None, parts))


def grid(
    width: float,
    heights: Sequence[float],
    titles: Sequence[Sequence[str]],
    *,
    headings: Sequence[str] = (),
    least_width: float = 5.5,
    side: float = _SIDE,
    figure: Figure | None = None,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure, or *figure*, with a panel for each of *titles*; places of a short row stay empty.

    *width*, and *heights* of the rows, are those of a panel without its labels. *headings* has a line for
    each row, which stands at the left above the titles of its panels.
    """
    widest = max(len(row) for row in titles)
    figure = figure or Figure()
    total = max(least_width, side + width * widest)
    wrapped = [wrap_to(heading, _BOLD * (total - side), TITLE_SIZE) for heading in headings] or [""] * len(
        titles
    )
    room = (total - side) / widest - 0.1
    named = [[wrap_to(title, room, TITLE_SIZE) for title in row] for row in titles]
    over = [
        _lines(heading) + max(_lines(title) for title in row)
        for heading, row in zip(wrapped, named, strict=True)
    ]
    figure.set_size_inches(total, sum(heights) + sum(0.35 + _LINE * lines for lines in over) + _LINE)
    figure.set_layout_engine("constrained")
    places = figure.subplots(len(titles), widest, squeeze=False, height_ratios=heights)
    axes = []
    for number, names in enumerate(named):
        for ax in places[number][len(names) :]:
            ax.remove()
        row = list(places[number][: len(names)])
        blank = "\n" * _lines(wrapped[number])
        for ax, title in zip(row, names, strict=True):
            ax.set_title(blank + title, fontsize=TITLE_SIZE, color=INK)
        if wrapped[number]:
            _head(row[0], wrapped[number])
        axes.append(row)
    return figure, axes


def _head(ax: Axes, heading: str) -> None:
    """Write *heading* into the lines that the title of *ax* keeps free; it may reach over the next panels."""
    text = ax.annotate(
        heading,
        (0, 1),
        xycoords=(ax.transAxes, ax.title),
        va="top",
        fontsize=TITLE_SIZE,
        color=INK,
        weight="bold",
        annotation_clip=False,
    )
    text.set_in_layout(False)


def label_last_row(axes: Sequence[Sequence[Axes]], label: str, inches: float = 9.0) -> None:
    """The x label under the lowest panel, *inches* wide, of each column."""
    label = _before_parentheses(label, inches)
    for column in range(max(len(row) for row in axes)):
        lowest = [row[column] for row in axes if column < len(row)][-1]
        lowest.set_xlabel(label, fontsize=LABEL_SIZE)


def label_values(ax: Axes, label: str, inches: float) -> None:
    """The y label of a panel that is *inches* high; a long one breaks before its parentheses."""
    ax.set_ylabel(_before_parentheses(label, inches), fontsize=LABEL_SIZE)


def _before_parentheses(label: str, inches: float) -> str:
    if text_inches(label, LABEL_SIZE) <= inches:
        return label
    return "\n".join(wrap_to(part, inches, LABEL_SIZE) for part in label.replace(" (", "\n(").split("\n"))


def finish(
    figure: Figure,
    title: str,
    notes: Sequence[str] = (),
    entries: Mapping[str, Artist] | None = None,
    last: Sequence[str] = (),
) -> None:
    """Title on top with *notes* under it, one legend for all panels below them.

    *entries* of the legend are by default what the panels label; those in *last* come after the others.
    """
    width = figure.get_figwidth()
    head = wrap_to(title, width - 0.2, TITLE_SIZE + 1)
    tail = "\n".join(wrap_to(note, width - 0.2, TITLE_SIZE + 1) for note in notes if note)
    words = "\n".join(filter(None, (head, tail)))
    if words:
        figure.suptitle(words, fontsize=TITLE_SIZE + 1, color=INK)
    found = dict(entries) if entries is not None else panel_entries(figure)
    for label in last:
        if label in found:
            found[label] = found.pop(label)
    rows = 0
    if found:
        columns = _legend_columns(list(found), width - 0.2)
        rows = ceil(len(found) / columns)
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=LABEL_SIZE,
        )
    taller = 1.1 * _LINE * _lines(words) + 1.2 * _LINE * rows + 0.1
    figure.set_figheight(figure.get_figheight() + taller)


def _legend_columns(labels: Sequence[str], inches: float) -> int:
    """As many columns as fit; each is as wide as its longest label, and the first ones are the longest."""
    for columns in range(len(labels), 1, -1):
        rows, longer = divmod(len(labels), columns)
        ends = list(accumulate(rows + (column < longer) for column in range(columns)))
        parts = [labels[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        if sum(_KEY + max(text_inches(label, LABEL_SIZE) for label in part) for part in parts) <= inches:
            return columns
    return 1


def panel_entries(figure: Figure) -> dict[str, Artist]:
    """Label -> artist of what the panels of *figure* label, each once."""
    entries: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    return entries


def wrap_to(text: str, inches: float, size: float) -> str:
    """*text* broken at spaces, hyphens and dots of paths into lines of at most *inches*, where it can be."""
    lines = [""]
    for word in _breakable(text):
        if lines[-1] and text_inches(lines[-1] + word.rstrip(), size) > inches:
            lines.append("")
        lines[-1] += word
    return "\n".join(line.strip() for line in lines)


def _breakable(text: str) -> list[str]:
    """The parts of *text* after which a line may end: spaces, hyphens, and the dots of a path."""
    return re.findall(r".+?(?:[ -]|\.(?=[A-Za-z])|\Z)", text)


@lru_cache(maxsize=4096)
def text_inches(text: str, size: float) -> float:
    """How wide *text* is written in the default font at *size* points."""
    longest = max(text.split("\n"), key=len)
    return float(TextPath((0, 0), longest, size=size).get_extents().width) / 72 if longest.strip() else 0.0


def name_axis(ax: Axes, names: Sequence[str], inches: float) -> int:
    """Ticks 0, 1, ... named *names* on an x axis of *inches*: wrapped, or upright where that is too little.

    Returns the lines of text that the names are high.
    """
    room = inches / max(len(names), 1) - 0.08
    wrapped = [wrap_to(name, room, TICK_SIZE) for name in names]
    if all(text_inches(line, TICK_SIZE) <= room for name in wrapped for line in name.split("\n")):
        ax.set_xticks(range(len(names)), wrapped, fontsize=TICK_SIZE)
        return max(_lines(name) for name in wrapped)
    ax.set_xticks(range(len(names)), names, fontsize=TICK_SIZE, rotation=90)
    return ceil(max(text_inches(name, TICK_SIZE) for name in names) / _LINE)


def apart(places: Sequence[float], labels: Sequence[str], inches: float) -> list[int]:
    """Which of the ascending *places*, shares of an axis of *inches*, can be labelled without touching.

    The first and the last always are.
    """
    widths = [text_inches(label, TICK_SIZE) for label in labels]

    def touch(left: int, right: int) -> bool:
        gap = (places[right] - places[left]) * inches
        return gap < (widths[left] + widths[right]) / 2 + 0.1

    kept = [0]
    last = len(places) - 1
    for place in range(1, last):
        if not touch(kept[-1], place) and not touch(place, last):
            kept.append(place)
    return [*kept, last] if last > 0 else kept


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0
