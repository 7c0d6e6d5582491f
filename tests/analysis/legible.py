"""What a reader would stumble over in any figure, found in the figure as it is drawn.

`stumbles(figure)` draws a figure, takes the boxes of all its texts, and names texts that overlap or leave the
paper, panels too small to read, and legends taller than what they explain.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

SMALLEST_PANEL = 0.9
"""Inches: the least width and height of a panel."""
TOUCH = 1.0
"""Points by which boxes may reach into each other or over the edge: a box is larger than its ink."""


def stumbles(figure: Figure) -> list[str]:
    """One line for each fault; an empty list is a figure that can be read."""
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    pixel = figure.dpi / 72
    texts = [(text, _box(text, canvas)) for text in _texts(figure)]
    paper = figure.bbox.padded(TOUCH * pixel)
    faults = [
        f"leaves the paper: {_name(text)}"
        for text, box in texts
        if not (paper.contains(box.x0, box.y0) and paper.contains(box.x1, box.y1))
    ]
    faults += [
        f"overlap: {_name(one)} and {_name(other)}"
        for (one, box), (other, beside) in combinations(texts, 2)
        if box.padded(-TOUCH * pixel).overlaps(beside.padded(-TOUCH * pixel))
    ]
    panels = [ax.get_window_extent() for ax in figure.axes]
    faults += [
        f"a panel of {box.width / figure.dpi:.2f} x {box.height / figure.dpi:.2f} inches"
        for box in panels
        if min(box.width, box.height) < SMALLEST_PANEL * figure.dpi
    ]
    for legend in figure.legends:
        box = legend.get_window_extent()
        height = sum(high - low for low, high in _union([(panel.y0, panel.y1) for panel in panels]))
        if box.height > height:
            faults.append(f"a legend of {box.height:.0f} pixels under {height:.0f} pixels of panels")
        faults += ["the legend covers a panel" for panel in panels if box.overlaps(panel)]
    return faults


def _texts(figure: Figure) -> Iterator[Text]:
    """All texts that are drawn: those of hidden and far-off ticks are not."""
    for ax in figure.axes:
        yield from _tick_labels(ax)
    ticks = {id(text) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for text in axis.findobj(Text)}
    labels = {id(axis.label) for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip() and (id(text) in labels or id(text) not in ticks):
            yield text


def _tick_labels(ax: Axes) -> Iterator[Text]:
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if low <= tick.get_loc() <= high and tick.label1.get_visible() and tick.label1.get_text():
                yield tick.label1


def _box(text: Text, canvas: FigureCanvasAgg) -> Bbox:
    """The box of what is written: blank lines before it hold a place for something else."""
    box = text.get_window_extent(canvas.get_renderer())
    lines = text.get_text().split("\n")
    written = len("\n".join(lines).lstrip("\n").split("\n"))
    return Bbox.from_extents(box.x0, box.y0, box.x1, box.y0 + box.height * written / len(lines))


def _name(text: Text) -> str:
    return repr(text.get_text().strip()[:60])


def _union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """*spans* with those that overlap made one."""
    merged: list[tuple[float, float]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(high, merged[-1][1])
        else:
            merged.append((low, high))
    return merged
