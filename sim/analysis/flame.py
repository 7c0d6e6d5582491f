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
from xml.sax.saxutils import escape

from sim.analysis.activities import group_colour, group_of
from sim.plaintext import plain

WIDTH, MARGIN = 1200, 20
ROW, GAP = 17, 1
_TEXT, _SMALL, _HEAD = 11, 10, 13
_GLYPH: Final = 0.56
"""Mean width of a glyph, as a part of the text's size."""
_NARROWEST: Final = 0.25
"""Frames below this width (px) are left out; what they stand for is part of the frame below."""
_NARROW: Final = 0.4
"""A panel that takes less of the width is drawn once more, wider."""
_INK, _FAINT = "#222222", "#6b6b6b"
ROOT, ASKED, HELD = "all", "what is asked for", "holding a lock"
_OWN: Final = {ROOT: "#e8e8e8", ASKED: "#ffe3c2", HELD: "#e8c3b5"}
_FONT: Final = "DejaVu Sans, Verdana, Helvetica, sans-serif"

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
    body: list[str] = []
    top = 62.0
    for head, root in trees:
        body.append(_label(MARGIN, top, f"{head}: {_ns(root.total)} per operation", _HEAD, weight="bold"))
        height = root.height * ROW
        base = top + 8 + height
        body += _draw(root, root, MARGIN, base, scale)
        body += _axis(MARGIN, base + 3, root.total, scale)
        width = root.total * scale
        if 0 < width < _NARROW * inside:
            body += _wider(root, MARGIN + width, base, width)
        top = base + 52
    body += _legend({kind: None for _, root in trees for kind in root.kinds()}, top - 10)
    bottom = top + 18 * -(-len({kind for _, root in trees for kind in root.kinds()}) // 4)
    note = (
        "Width: simulated time of a cpu per operation, the same scale in all panels. Sideways order: names."
    )
    above = [_label(MARGIN, 24, title, 15, weight="bold"), _label(MARGIN, 42, note, _SMALL, fill=_FAINT)]
    size = f'width="{WIDTH}" height="{bottom:.0f}" viewBox="0 0 {WIDTH} {bottom:.0f}"'
    frame = f'<rect width="{WIDTH}" height="{bottom:.0f}" fill="#ffffff"/>'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}">'
    return "\n".join([start, frame, *above, *body, "</svg>", ""])


def _wider(root: Block, right: float, base: float, width: float) -> list[str]:
    """*root* once more, from right of its narrow self to the margin, with its own scale."""
    left = right + 60
    room = WIDTH - MARGIN - left
    scale = room / root.total
    top = base - root.height * ROW
    corners = ((right, top, left, top), (right, base, left, base))
    drawn = [
        f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" '
        f'stroke="{_FAINT}" stroke-dasharray="3 3" stroke-width="0.7"/>'
        for x1, y1, x2, y2 in corners
    ]
    drawn += _draw(root, root, left, base, scale)
    drawn += _axis(left, base + 3, root.total, scale)
    times = f"the same, {room / width:.3g} times as wide"
    return [*drawn, _label(left, base + 34, times, _SMALL, fill=_FAINT)]


def _draw(block: Block, root: Block, left: float, base: float, scale: float) -> list[str]:
    """*block* with its lower edge at *base*, and what stands upon it."""
    width = block.total * scale
    if width < _NARROWEST:
        return []
    top = base - ROW
    colour = _OWN[block.kind] if block.kind in _OWN else group_colour(block.kind)
    share = 100 * block.total / root.total
    hover = f"{block.name}: {_ns(block.total)} per operation, {share:.1f} %"
    paler = ' fill-opacity="0.7"' if block.name.startswith("[") else ""
    drawn = [
        f'<g><title>{_text(hover)}</title><rect x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" '
        f'height="{ROW - GAP}" fill="{colour}"{paler} stroke="#ffffff" stroke-width="0.4"/>'
    ]
    letters = int((width - 6) / (_TEXT * _GLYPH))
    if letters >= 3:
        shown = block.name if len(block.name) <= letters else block.name[: letters - 1] + "\u2026"
        ink = "#ffffff" if _is_dark(colour) and not paler else _INK
        drawn[0] += (
            f'<text x="{left + 3:.2f}" y="{base - GAP - 4:.2f}" font-size="{_TEXT}" fill="{ink}">'
            f"{_text(shown)}</text>"
        )
    drawn[0] += "</g>"
    for name in sorted(block.upon):
        child = block.upon[name]
        drawn += _draw(child, root, left, top, scale)
        left += child.total * scale
    return drawn


def _axis(left: float, y: float, total: float, scale: float) -> list[str]:
    """Ticks below a panel, from 0 to *total* ns."""
    drawn = [
        f'<line x1="{left:.2f}" y1="{y:.2f}" x2="{left + total * scale:.2f}" y2="{y:.2f}" '
        f'stroke="{_FAINT}" stroke-width="0.7"/>'
    ]
    step = _step(total, total * scale)
    count = int(total / step) if step else 0
    for number in range(count + 1):
        x = left + number * step * scale
        drawn.append(
            f'<line x1="{x:.2f}" y1="{y:.2f}" x2="{x:.2f}" y2="{y + 4:.2f}" '
            f'stroke="{_FAINT}" stroke-width="0.7"/>'
        )
        anchor = "start" if not number else "middle"
        drawn.append(_label(x, y + 15, _ns(number * step), _SMALL, fill=_FAINT, anchor=anchor))
    return drawn


def _step(total: float, width: float) -> float:
    """Distance of ticks (ns): a round one, with some 90 px between two."""
    least = total * 90 / width if width >= 120 else 0.0
    if not least:
        return 0.0
    decade = 1.0
    while decade * 10 <= least:
        decade *= 10
    while decade > least:
        decade /= 10
    return next(factor * decade for factor in (1, 2, 5, 10) if factor * decade >= least)


def _legend(kinds: Mapping[str, None], top: float) -> list[str]:
    """What the colours say, four in a row: our own first, then the groups by name."""
    own = [kind for kind in (ASKED, HELD) if kind in kinds]
    groups = sorted(kind for kind in kinds if kind not in _OWN)
    drawn, column = [], (WIDTH - 2 * MARGIN) / 4
    for number, kind in enumerate([*own, *groups]):
        x, y = MARGIN + column * (number % 4), top + 18 * (number // 4)
        colour = _OWN[kind] if kind in _OWN else group_colour(kind)
        drawn.append(f'<rect x="{x:.2f}" y="{y - 10:.2f}" width="12" height="12" fill="{colour}"/>')
        drawn.append(_label(x + 18, y, kind, _TEXT))
    return drawn


def _label(
    x: float,
    y: float,
    text: str,
    size: int,
    *,
    fill: str = _INK,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{_text(text)}</text>'
    )


def _text(text: str) -> str:
    return escape(plain(text))


def _ns(time: float) -> str:
    """A time in the unit that a person reads it in: 480 ns, 3.12 us, 1.5 ms."""
    for unit, length in (("ms", 1e6), ("us", 1e3)):
        if time >= length:
            return f"{time / length:.3g} {unit}"
    return f"{time:.3g} ns"


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 130
