"""Pieces of SVG that our own pictures share: text, legends, round ticks, and which ink is seen on a colour.

Matplotlib draws the figures; these are the pictures of thousands of boxes that tell more on hover.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape

from sim.analysis.activities import group_colour
from sim.plaintext import plain

WIDTH, MARGIN = 1200, 20
TEXT, SMALL, HEAD, TITLE = 11, 10, 13, 15
GLYPH: Final = 0.56
"""Mean width of a glyph, as a part of the text's size."""
INK, FAINT = "#222222", "#6b6b6b"
FONT: Final = "DejaVu Sans, Verdana, Helvetica, sans-serif"
ROOT, ASKED, HELD, WAITED = "all", "what is asked for", "holding a lock", "waiting for a lock"
OWN: Final = {ROOT: "#e8e8e8", ASKED: "#ffe3c2", HELD: "#e8c3b5", WAITED: "#f7dfe6"}
"""Colours of what is no activity."""
_COLUMNS: Final = 4


def picture(body: Iterable[str], height: float) -> str:
    """A file with *body* on white, `WIDTH` wide."""
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}">'
    ground = f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>'
    return "\n".join([start, ground, *body, "</svg>", ""])


def label(
    x: float,
    y: float,
    text: str,
    size: int,
    *,
    fill: str = INK,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{written(text)}</text>'
    )


def box(
    left: float,
    top: float,
    width: float,
    height: float,
    kind: str,
    name: str,
    hover: str,
    *,
    pale: bool = False,
) -> str:
    """A rectangle in the colour of *kind* with as much of *name* as fits, and what it says on *hover*."""
    colour = colour_of(kind)
    paler = ' fill-opacity="0.7"' if pale else ""
    drawn = (
        f'<g><title>{written(hover)}</title><rect x="{left:.2f}" y="{top:.2f}" width="{width:.2f}" '
        f'height="{height:.2f}" fill="{colour}"{paler} stroke="#ffffff" stroke-width="0.4"/>'
    )
    letters = int((width - 6) / (TEXT * GLYPH))
    if letters >= 4 and height >= TEXT:
        shown = name if len(name) <= letters else name[: letters - 1] + "\u2026"
        ink = "#ffffff" if _is_dark(colour) and not pale else INK
        drawn += label(left + 3, top + height / 2 + 4, shown, TEXT, fill=ink)
    return drawn + "</g>"


def line(x1: float, y1: float, x2: float, y2: float, *, dashed: bool = False, colour: str = FAINT) -> str:
    dashes = ' stroke-dasharray="3 3"' if dashed else ""
    return (
        f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="{colour}"{dashes} '
        'stroke-width="0.7"/>'
    )


def axis(left: float, y: float, total: float, scale: float, *, first: float = 0.0) -> list[str]:
    """Ticks at round times from *first* on, *total* ns of it, at *scale* px a ns."""
    drawn = [line(left, y, left + total * scale, y)]
    step = _step(total, total * scale)
    tick = step * -(-first // step) if step else first
    while tick <= first + total and (step or tick == first):
        x = left + (tick - first) * scale
        drawn.append(line(x, y, x, y + 4))
        at_edge = x < left + 10
        drawn.append(
            label(x, y + 15, time_of(tick), SMALL, fill=FAINT, anchor="start" if at_edge else "middle")
        )
        tick += step or total + 1
    return drawn


def legend(kinds: Iterable[str], top: float) -> tuple[list[str], float]:
    """What the colours say, our own first, then the groups by name; and how high that is."""
    known = dict.fromkeys(kinds)
    own = [kind for kind in OWN if kind in known and kind != ROOT]
    drawn, column = [], (WIDTH - 2 * MARGIN) / _COLUMNS
    shown = [*own, *sorted(kind for kind in known if kind not in OWN)]
    for number, kind in enumerate(shown):
        x, y = MARGIN + column * (number % _COLUMNS), top + 18 * (number // _COLUMNS)
        drawn.append(f'<rect x="{x:.2f}" y="{y - 10:.2f}" width="12" height="12" fill="{colour_of(kind)}"/>')
        drawn.append(label(x + 18, y, kind, TEXT))
    return drawn, 18 * -(-len(shown) // _COLUMNS)


def colour_of(kind: str) -> str:
    """Of a group of activities, or of what is none."""
    return OWN[kind] if kind in OWN else group_colour(kind)


def written(text: str) -> str:
    """*text* as the file has it."""
    return escape(plain(text))


def time_of(time: float) -> str:
    """A time (ns) in the unit that a person reads it in: 480 ns, 3.12 us, 1.5 ms."""
    for unit, length in (("ms", 1e6), ("us", 1e3)):
        if time >= length:
            return f"{time / length:.4g} {unit}"
    return f"{time:.3g} ns"


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


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 130
