"""What each cpu does when, as a picture of all cpus: the timeline of one point, a row a cpu.

Time is cut into columns; a column of a cpu has the colour of the group of activities that took most of its
time there. So a picture of 384 cpus is as large as one of four, and what is shorter than a column may not be
seen. `cortensim trace` has every slice.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sim.analysis.activities import group_colour, group_of, in_order
from sim.analysis.layout import finish
from sim.analysis.style import FAINT, INK, LABEL_SIZE, TICK_SIZE
from sim.analysis.wording import duration, plain_number
from sim.quantities import PS_PER_NS, PS_PER_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sim.timeline import Shown, Track

COLUMNS = 900
MOST_SLICES = 400_000
"""Slices after which a timeline for this is cut: some 100 MB of them."""
_WIDTH = 8.5
_ROW, _LOWEST, _HIGHEST = 0.2, 1.2, 7.0
"""Inches: a cpu's row where few are shown, the least and the most of all rows."""
_LABELS = 24
_LONG = 10_000
"""From so many µs on an axis is in ms."""


def occupancy_figure(shown: Shown, title: str = "", columns: int = COLUMNS) -> Figure | None:
    """The tracks of *shown* by socket, cluster and number; None where nothing is drawn."""
    tracks = sorted(shown.tracks, key=lambda track: (track.socket, track.cluster, track.number))
    if not tracks or shown.end <= shown.begin:
        return None
    groups, cells = dominant(tracks, shown.begin, shown.end, columns)
    palette = np.array([to_rgb(group_colour(group)) for group in groups] + [(1.0, 1.0, 1.0)])
    figure = Figure(layout="constrained")
    figure.set_size_inches(_WIDTH, 0.6 + min(max(_ROW * len(tracks), _LOWEST), _HIGHEST))
    ax = figure.subplots()
    unit, ps = ("ms", 1000 * PS_PER_US) if shown.end > _LONG * PS_PER_US else ("µs", PS_PER_US)
    begin, end = shown.begin / ps, shown.end / ps
    ax.imshow(palette[cells], extent=(begin, end, len(tracks), 0), aspect="auto", interpolation="nearest")
    ax.set_xlabel(f"simulated time since the measured part began ({unit})", fontsize=LABEL_SIZE)
    ax.xaxis.set_major_formatter(lambda value, _: plain_number(value))
    _label_cpus(ax, tracks)
    ax.tick_params(labelsize=TICK_SIZE, colors=INK, length=2)
    for side in ax.spines.values():
        side.set_color(FAINT)
    seen = [group for number, group in enumerate(groups) if (cells == number).any()]
    entries = {group: Patch(facecolor=group_colour(group), edgecolor=FAINT, linewidth=0.4) for group in seen}
    width = duration((shown.end - shown.begin) / columns / PS_PER_NS)
    notes = [f"each of the {columns} columns, {width}, has the colour of what took most of it"]
    if len(tracks) < shown.cpus:
        notes.append(f"{len(tracks)} of {shown.cpus} cpus are shown")
    if shown.cut:
        notes.append("the drawing was cut here: there would have been too many slices")
    finish(figure, title, notes, entries)
    return figure


def dominant(tracks: list[Track], begin: int, end: int, columns: int) -> tuple[list[str], NDArray[np.intp]]:
    """(groups, cells): the number of the group that took most of each track's time in each column.

    A cell is the number of groups, one more than the last, where no time is drawn. Times are in ps.
    """
    each = [_by_group(track, begin, end, columns) for track in tracks]
    groups = in_order({group for found in each for group in found})
    cells = np.full((len(tracks), columns), len(groups), dtype=np.intp)
    for row, found in enumerate(each):
        if found:
            mine = list(found)
            times = np.stack([found[group] for group in mine])
            numbers = np.array([groups.index(group) for group in mine])
            chosen = numbers[times.argmax(axis=0)]
            cells[row] = np.where(times.max(axis=0) > 0, chosen, len(groups))
    return groups, cells


def _by_group(track: Track, begin: int, end: int, columns: int) -> dict[str, NDArray[np.float64]]:
    """Group -> its time in each column, in columns."""
    found: defaultdict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(columns))
    width = (end - begin) / columns
    for activity, since, until in _pieces(track):
        first, last = max(0.0, (since - begin) / width), min(float(columns), (until - begin) / width)
        if last <= first:
            continue
        own = found[group_of(activity)]
        left, right = int(first), min(ceil(last), columns) - 1
        if left == right:
            own[left] += last - first
            continue
        own[left] += left + 1 - first
        own[left + 1 : right] += 1
        own[right] += last - right
    return dict(found)


def _pieces(track: Track) -> Iterator[tuple[str, int, int]]:
    """(activity, begin, end) of all time on a track; a handler has its time, not what it interrupts."""
    from sim.timeline import Leaf, Moment

    stack: list[str] = []
    at = 0
    for event in track.events:
        if isinstance(event.opens, Moment):
            continue
        if stack and stack[-1] and event.time > at:
            yield stack[-1], at, event.time
        at = event.time
        if event.opens is None:
            stack.pop()
        else:
            stack.append(event.opens.activity if isinstance(event.opens, Leaf) else "")


def _label_cpus(ax: Axes, tracks: list[Track]) -> None:
    """Rows are named as cpus where they are few, else as clusters, or as sockets where these are many."""
    numbers = [track.number for track in tracks]
    clusters = [track.cluster for track in tracks]
    sockets = [track.socket for track in tracks]
    for row in range(1, len(tracks)):
        if sockets[row] != sockets[row - 1]:
            ax.axhline(row, color=INK, linewidth=1.2)
        elif clusters[row] != clusters[row - 1]:
            ax.axhline(row, color="white", linewidth=0.8)
    if len(tracks) <= _LABELS:
        names = [f"cpu {number}" for number in numbers]
        ax.set_yticks([row + 0.5 for row in range(len(names))], names)
        return
    word, keys = ("cluster", clusters) if len(set(clusters)) <= _LABELS else ("socket", sockets)
    places = {key: [row for row, one in enumerate(keys) if one == key] for key in dict.fromkeys(keys)}
    middles = [(rows[0] + rows[-1] + 1) / 2 for rows in places.values()]
    ax.set_yticks(middles, [f"{word} {key}" for key in places])
