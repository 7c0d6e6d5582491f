"""The one table: rows of numbers over the number of processes, targets or cpus, and their Markdown.

It stands in docs/performance.md between two markers. Only what stands between them is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

SIZES: Final = (1, 8, 64, 384, 1024)
"""Processes, targets or cpus: the columns."""
BEGIN: Final = "<!-- measured: begin (python -m benchmarks --write) -->"
END: Final = "<!-- measured: end -->"
_HEAD: Final = ("measured", "unit", "", *map(str, SIZES))


@dataclass(frozen=True)
class Row:
    """One line: *whole* is a number that depends on no size, *at* those that do."""

    what: str
    unit: str
    at: Mapping[int, float] = field(default_factory=dict)
    whole: float | None = None
    digits: int = 0

    def cells(self) -> list[str]:
        values = [self.whole, *(self.at.get(size) for size in SIZES)]
        return [self.what, self.unit, *("" if v is None else f"{v:,.{self.digits}f}" for v in values)]


@dataclass
class Table:
    """What was measured on one *host*: the lines of each part, by its title, in order."""

    host: str
    parts: dict[str, list[list[str]]] = field(default_factory=dict)

    def add(self, title: str, rows: Iterable[Row]) -> None:
        self.parts[title] = [row.cells() for row in rows]

    def markdown(self) -> str:
        lines = [f"Measured on: {self.host}.", "", _line(_HEAD), _line(["---", "---", *["---:"] * 6])]
        for title, rows in self.parts.items():
            lines.append(_line([f"**{title}**", *[""] * 7]))
            lines += map(_line, rows)
        return "\n".join(lines)

    def text(self) -> str:
        """For a terminal, in columns."""
        body = [list(_HEAD)]
        for title, rows in self.parts.items():
            body += [[f"-- {title}", *[""] * 7], *rows]
        shown = [row for row in body if not row[0].startswith("-- ")]
        widths = [max(len(row[column]) for row in shown) for column in range(8)]
        lines = []
        for row in body:
            if row[0].startswith("-- "):
                lines.append(row[0])
            else:
                left = f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}"
                cells = zip(row[2:], widths[2:], strict=True)
                lines.append(" ".join([left, *(f"{cell:>{width + 1}}" for cell, width in cells)]).rstrip())
        return "\n".join([self.host, "", *lines])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def read(page: str) -> Table:
    """The table that stands in *page*."""
    _, _, rest = page.partition(BEGIN)
    block, end, _ = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no place for the table: {BEGIN} and {END}")
    table, rows = Table(""), None
    for line in block.strip().splitlines():
        if line.startswith("Measured on: "):
            table.host = line.removeprefix("Measured on: ").removesuffix(".")
        elif line.startswith("| **"):
            rows = table.parts.setdefault(line.split("**")[1], [])
        elif line.startswith("| ") and rows is not None:
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def merged(page: str, new: Table, order: Sequence[str]) -> str:
    """*page* with the parts of *new* in its table, and those that it has of the same host; titles in *order*.

    Numbers of two hosts do not stand in one table: of another host's, `ValueError` names what is missing.
    """
    old = read(page)
    kept = {title: rows for title, rows in old.parts.items() if title not in new.parts}
    if kept and old.host != new.host:
        raise ValueError(
            f"the page was measured on: {old.host}\nthis is: {new.host}\n"
            f"so measure these parts, too: {', '.join(kept)}"
        )
    parts = {**kept, **new.parts}
    table = Table(new.host, {title: parts[title] for title in order if title in parts})
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table.markdown()}\n{END}{rest.partition(END)[2]}"
