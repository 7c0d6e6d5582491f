"""A picture of a short part of a timeline: one shootdown, one hand-over of a lock, on paper.

Each cpu has three rows, time goes from left to right:

    what is asked for  |            munmap                       |
    its locks          |     holds mmap_lock      |   wait for ..|
    its activity       |vma| ipi send | ipi wait  |lock: mmap_lock|       a handler covers what it interrupts
                             \\ arrows: an interrupt to its target, a lock to its next owner

It is drawn from the same slices as the trace file, where there are few enough to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sim.analysis.activities import group_of
from sim.analysis.svg import (
    ASKED,
    FAINT,
    HELD,
    MARGIN,
    SMALL,
    TEXT,
    TITLE,
    WAITED,
    WIDTH,
    axis,
    box,
    label,
    legend,
    line,
    picture,
    time_of,
)
from sim.quantities import PS_PER_NS

if TYPE_CHECKING:
    from sim.timeline import Shown, Track

MOST_TRACKS, MOST_SLICES = 40, 6000
"""What is more is for Perfetto."""
_SIDE: Final = 110
"""Room for the names of tracks (px)."""
_ROWS: Final = (14, 13, 14)
_BETWEEN: Final = 6
_NARROWEST: Final = 0.2
_LOCK: Final = {"lock hold": HELD, "lock wait": WAITED}


@dataclass(slots=True)
class _Box:
    """A slice in *row* of a track, from *begin* to *end* (ps)."""

    row: int
    kind: str
    name: str
    begin: int
    end: int
    flows: tuple[int, ...]


def fits(shown: Shown) -> bool:
    """Whether a picture of it could be read."""
    return 0 < len(shown.tracks) <= MOST_TRACKS and shown.slices <= MOST_SLICES and shown.end > shown.begin


def tracks_picture(shown: Shown, title: str) -> str:
    """The SVG of all that is *shown*."""
    left, first = MARGIN + _SIDE, shown.begin / PS_PER_NS
    total = (shown.end - shown.begin) / PS_PER_NS
    scale = (WIDTH - MARGIN - left) / total
    note = "Rows of a cpu: what is asked for, its locks, its activity. Time since the measured part began."
    body = [label(MARGIN, 24, title, TITLE, weight="bold"), label(MARGIN, 42, note, SMALL, fill=FAINT)]
    top = 56.0
    kinds: dict[str, None] = {}
    ends: dict[int, list[tuple[int, float, float]]] = {}
    for track in shown.tracks:
        body.append(label(MARGIN, top + _ROWS[0] + _ROWS[1], track.name, TEXT))
        for each in _boxes(track):
            x = left + (each.begin / PS_PER_NS - first) * scale
            width = (each.end - each.begin) / PS_PER_NS * scale
            y = top + sum(_ROWS[: each.row])
            for flow in each.flows:
                ends.setdefault(flow, []).append((each.begin, x, y + _ROWS[each.row] / 2))
            if width >= _NARROWEST:
                kinds[each.kind] = None
                time = time_of((each.end - each.begin) / PS_PER_NS)
                hover = f"{each.name}: {time} from {time_of(each.begin / PS_PER_NS)} on"
                body.append(box(x, y, width, _ROWS[each.row] - 1, each.kind, each.name, hover))
        top += sum(_ROWS) + _BETWEEN
    for pair in ends.values():
        if len(pair) == 2:
            (_, x1, y1), (_, x2, y2) = sorted(pair)
            body.append(line(x1, y1, x2, y2, colour="#444444"))
            body.append(f'<circle cx="{x2:.2f}" cy="{y2:.2f}" r="2" fill="#444444"/>')
    body += axis(left, top, total, scale, first=first)
    keys, height = legend(kinds, top + 42)
    return picture([*body, *keys], top + 42 + height)


def _boxes(track: Track) -> list[_Box]:
    """The slices of *track*, those inside others behind these."""
    from sim.timeline import Frame, Leaf

    found: list[_Box] = []
    opened: list[_Box] = []
    for event in track.events:
        opens = event.opens
        if opens is None:
            opened.pop().end = event.time
            continue
        if isinstance(opens, Frame):
            row, kind = (1, _LOCK[opens.category]) if opens.category in _LOCK else (0, ASKED)
            flows = () if event.again else opens.flows
            new = _Box(row, kind, opens.name, event.time, event.time, flows)
        elif isinstance(opens, Leaf):
            new = _Box(2, group_of(opens.activity), opens.name, event.time, event.time, opens.flows)
        else:
            continue
        opened.append(new)
        found.append(new)
    return found
