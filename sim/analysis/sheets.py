"""CSV files as people and other programs write them: rows with the line where each starts, cells with rules.

Nothing is guessed: a file that is no text or no CSV, a row of another length and a cell that breaks its
column's rule are each one `Fault` with file, line, column and value.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from sim.errors import Fault, InputError
from sim.files import read_input

LONGEST_NAME = 200
"""Letters of a name: what a figure can still show."""
MAX_BYTES = 1 << 26
"""Of a file of measurements: hundreds of thousands of rows."""
_WHOLE = re.compile(r"[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\Z")


def decoded(data: bytes, file: str) -> str:
    """*data* as text, without a byte order mark. Raises `InputError` with the place of what is no text."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Fault(f"not UTF-8 text (byte {error.start})", file)) from None
    if (at := text.find("\0")) >= 0:
        raise InputError(Fault("not a text file: it has a NUL", file, text.count("\n", 0, at) + 1))
    return text


def read_text(path: Path) -> str:
    """The text of the file at *path*. Raises `InputError`, for a pipe or a device too."""
    file = str(path)
    data = read_input(path, file, MAX_BYTES)
    if isinstance(data, Fault):
        raise InputError(data)
    return decoded(data, file)


def rows_of(text: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV text, the header first, each with the line where it starts; empty lines are none.

    Raises `InputError` when it comes to something that is no CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1  # a quoted cell may span lines
    try:
        for row in reader:
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(Fault(f"not CSV: {error}", file, line)) from None


def row_length_fault(row: Sequence[str], header: Sized, file: str, line: int) -> Fault | None:
    """What is wrong with a row that has more or fewer cells than the header, if it has."""
    if len(row) == len(header):
        return None
    return Fault(f"{len(row)} cells where the header has {len(header)}", file, line)


@dataclass(frozen=True)
class Rule:
    """What a cell may hold. *parse* raises `ValueError` for anything else; *allowed* says it in words."""

    parse: Callable[[str], object]
    allowed: str


def whole(least: int) -> Rule:
    """A whole number from *least*."""

    def parse(text: str) -> int:
        if not _WHOLE.match(text) or int(text) < least:
            raise ValueError(text)
        return int(text)

    return Rule(parse, f"a whole number from {least}")


def finite(least: float = -math.inf, above: float = -math.inf) -> Callable[[str], float]:
    """A parser of plain decimal numbers that are finite, at least *least* and more than *above*."""

    def parse(text: str) -> float:
        value = float(text) if _NUMBER.match(text) else math.nan
        if not (math.isfinite(value) and value >= least and value > above):
            raise ValueError(text)
        return value

    return parse


def one_of(words: Sequence[str]) -> Rule:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return Rule(parse, ", ".join(words))


def name(may_be_empty: bool = False) -> Rule:
    """A name that a figure can show."""

    def parse(text: str) -> str:
        if not text.isprintable() or len(text) > LONGEST_NAME or not (text or may_be_empty):
            raise ValueError(text)
        return text

    return Rule(parse, f"a printable name of up to {LONGEST_NAME} letters")


def shortened(cell: str) -> str:
    """A cell as a message shows it."""
    return cell if len(cell) <= 60 else cell[:57] + "..."
