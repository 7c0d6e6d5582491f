"""Flame graphs of simulated time: where an operation's time goes, one panel a point, all in one scale.

A frame is as wide as the time per operation that was spent in it and in what stands upon it. From the bottom:
the point, what is asked for, the locks that are held, the activity, and in brackets how its time was spent.
Neighbours stand in the order of their names, as in every flame graph: from left to right is no time.

    | [spins] |
    | lock: mmap_lock | vma |
    |       munmap              |   touch   |
    | linux-6.13, 64 threads                |

Activities have the colours of their groups, as in the charts of the breakdown. A panel that is narrow beside
the widest is drawn once more, wider, at its right. The picture is SVG without scripts; titles show on hover.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sim.analysis.activities import group_of
from sim.analysis.svg import (
    ASKED,
    FAINT,
    HEAD,
    HELD,
    MARGIN,
    ROOT,
    SMALL,
    TITLE,
    WIDTH,
    axis,
    box,
    label,
    legend,
    line,
    picture,
    time_of,
)

ROW, GAP = 17, 1
_NARROWEST: Final = 0.25
"""Frames below this width (px) are left out; what they stand for is part of the frame below."""
_NARROW: Final = 0.4
"""A panel that takes less of the width is drawn once more, wider."""

Stacks = Mapping[tuple[tuple[str, ...], str, str], float]
"""Open frames, activity, how -> ns per operation."""


@dataclass
class Block:
    """A frame of the graph: *total* ns per operation in it and upon it, *kind* what its colour says."""

    name: str
    kind: str
    total: float = 0.0
    upon: dict[str, Block] = field(default_factory=dict)

    def child(self, name: str, kind: str) -> Block:
        return self.upon.setdefault(name, Block(name, kind))

    @property
    def height(self) -> int:
        """Rows of it and of what stands upon it."""
        return 1 + max((block.height for block in self.upon.values()), default=0)

    def kinds(self) -> Iterator[str]:
        yield self.kind
        for block in self.upon.values():
            yield from block.kinds()


def tree(stacks: Stacks, name: str) -> Block:
    """The graph of *stacks*, its lowest frame called *name*."""
    root = Block(name, ROOT)
    for (path, activity, how), time in sorted(stacks.items()):
        if time <= 0:
            continue
        block = root
        block.total += time
        for frame in path:
            block = block.child(frame, HELD if frame.startswith("holding ") else ASKED)
            block.total += time
        group = group_of(activity)
        for frame in (activity, f"[{how}]") if how else (activity,):
            block = block.child(frame, group)
            block.total += time
    return root


def flame_graph(panels: Sequence[tuple[str, str, Stacks]], title: str) -> str:
    """The SVG of *panels*: a headline, the lowest frame's name, and ns per operation of each stack."""
    trees = [(head, tree(stacks, name)) for head, name, stacks in panels]
    widest = max((root.total for _, root in trees), default=0.0) or 1.0
    inside = WIDTH - 2 * MARGIN
    scale = inside / widest
    note = (
        "Width: simulated time of a cpu per operation, the same scale in all panels. Sideways order: names."
    )
    body = [label(MARGIN, 24, title, TITLE, weight="bold"), label(MARGIN, 42, note, SMALL, fill=FAINT)]
    top = 66.0
    for head, root in trees:
        body.append(label(MARGIN, top, f"{head}: {time_of(root.total)} per operation", HEAD, weight="bold"))
        base = top + 8 + root.height * ROW
        width = root.total * scale
        body += _draw(root, root, MARGIN, base, scale)
        body += axis(MARGIN, base + 3, root.total, scale)
        if 0 < width < _NARROW * inside:
            body += _wider(root, MARGIN + width, base, width)
        top = base + 56
    keys, height = legend([kind for _, root in trees for kind in root.kinds()], top - 10)
    return picture([*body, *keys], top + height)


def _wider(root: Block, right: float, base: float, width: float) -> list[str]:
    """*root* once more, from right of its narrow self to the margin, with its own scale."""
    left = right + 60
    room = WIDTH - MARGIN - left
    scale = room / root.total
    top = base - root.height * ROW
    return [
        line(right, top, left, top, dashed=True),
        line(right, base, left, base, dashed=True),
        *_draw(root, root, left, base, scale),
        *axis(left, base + 3, root.total, scale),
        label(left, base + 34, f"the same, {room / width:.3g} times as wide", SMALL, fill=FAINT),
    ]


def _draw(block: Block, root: Block, left: float, base: float, scale: float) -> list[str]:
    """*block* with its lower edge at *base*, and what stands upon it."""
    width = block.total * scale
    if width < _NARROWEST:
        return []
    top = base - ROW
    share = 100 * block.total / root.total
    hover = f"{block.name}: {time_of(block.total)} per operation, {share:.1f} %"
    drawn = [box(left, top, width, ROW - GAP, block.kind, block.name, hover, pale=block.name.startswith("["))]
    for name in sorted(block.upon):
        child = block.upon[name]
        drawn += _draw(child, root, left, top, scale)
        left += child.total * scale
    return drawn
