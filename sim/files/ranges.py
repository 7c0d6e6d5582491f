"""Ranges, the short way to write a list of whole numbers.

    1..384 x2     doubling: 1, 2, 4, ... 256, 384       (any factor)
    1..64 +8      steps of eight: 1, 9, 17, ... 57, 64
    1..8          each

The end always belongs to the range: the largest machine is what a study is about.
"""

from __future__ import annotations

import re

from sim.errors import Fault
from sim.files.document import Document, KeyPath, Position

MAX_VALUES = 10_000
FORMS = "a range such as 1..384 x2, 1..64 +8 or 1..8"
PATTERN = r"^\s*\d{1,12}\s*\.\.\s*\d{1,12}(\s+[x+]\s*\d{1,12})?\s*$"

_RANGE = re.compile(r"\s*(\d{1,12})\s*\.\.\s*(\d{1,12})(?:\s+([x+])\s*(\d{1,12}))?\s*\Z")


class RangeError(ValueError):
    """Text that looks like a range and is none; the message says why."""


def parse_range(text: str) -> tuple[int, ...]:
    """`'1..12 x2'` -> (1, 2, 4, 8, 12). Raises `RangeError`."""
    match = _RANGE.match(text)
    if match is None:
        raise RangeError("not a range")
    first, last, rule, step = int(match[1]), int(match[2]), match[3] or "+", int(match[4] or 1)
    if first > last:
        raise RangeError("a range must not end before it begins")
    if (rule == "x" and (step < 2 or first == 0)) or step == 0:
        raise RangeError("a range must grow with every step")
    values: list[int] = []
    value = first
    while value < last:
        values.append(value)
        if len(values) >= MAX_VALUES:
            raise RangeError(f"a range of more than {MAX_VALUES} values")
        value = value * step if rule == "x" else value + step
    return (*values, last)


def expand(document: Document, path: KeyPath) -> tuple[Document, list[tuple[KeyPath, RangeError]]]:
    """The document with each range in the list at *path* (or in its place) written out, and what is wrong.

    Items keep their positions: a message about the third value of a range points at the range.
    """
    written = document.at(path)
    single = isinstance(written, str)
    if not single and not isinstance(written, list):
        return document, []
    items: list[object] = []
    positions: list[Position] = []
    wrong: list[tuple[KeyPath, RangeError]] = []
    for index, item in enumerate([written] if single else written):
        place = path if single else (*path, index)
        values: tuple[object, ...] = (item,)
        if isinstance(item, str) and ".." in item:
            try:
                values = parse_range(item)
            except RangeError as error:
                wrong.append((place, error))
        items += values
        positions += [document.position(place)] * len(values)
    if wrong or items == written or (single and items == [written]):
        return document, wrong
    return document.with_items(path, items, positions), []


def expand_ranges(document: Document, faults: list[Fault]) -> Document:
    """The experiment with the ranges in `threads`, `sweep` and `zip` written out as lists."""
    places: list[KeyPath] = [("threads",)]
    for key in ("sweep", "zip"):
        values = document.tree.get(key)
        places += [(key, path) for path in values] if isinstance(values, dict) else []
    for place in places:
        document, wrong = expand(document, place)
        faults += [
            document.fault(at, str(error), value=document.at(at), allowed=FORMS) for at, error in wrong
        ]
    return document
