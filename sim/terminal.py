"""Tables and styled lines for people, on a terminal or in a file.

rich takes a plain string for markup: `[bold]` is a style, `[/]` an error, `:smile:` a picture. Here a
string is text, in cells, titles and headings alike. Nothing else in the program builds rich's own classes;
a test sees to it.
"""

from __future__ import annotations

from typing import IO, Any

from rich import progress as rich_progress
from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from sim.plaintext import plain

__all__ = ["Console", "Group", "RenderableType", "TextTable", "bar", "console", "styled"]

_PLAIN_WIDTH = 160


class TextConsole(Console):
    """Prints strings as they are, wherever they stand."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(
            plain(text), **options | {"markup": False, "emoji": False, "highlight": False}
        )


class TextTable(Table):
    """A table whose cells, headings and title are text, on any console."""

    def __init__(self, *headings: str, title: str | None = None, **options: Any) -> None:
        shown = None if title is None else styled(title, "table.title")
        if shown:
            shown.no_wrap, shown.overflow = True, "ignore"  # a narrow table does not fold its title
        super().__init__(*headings, title=shown, **options)

    def add_column(self, header: RenderableType = "", *others: Any, **options: Any) -> None:
        super().add_column(_text(header), *others, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        super().add_row(*map(_text, cells), **options)


def console(stream: IO[str]) -> Console:
    """A console on *stream*; what goes to a file or a pipe is not folded at 80 columns."""
    made = TextConsole(file=stream, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = _PLAIN_WIDTH
    return made


def styled(text: object, style: str = "") -> Text:
    """A line of text in a style of rich's, such as `bold` or `dim`."""
    return Text(plain(text), style=style)


def bar(console: Console) -> rich_progress.Progress:
    """A progress display of points, with the fields `state` and `label` behind its bar."""

    def column(template: str, style: str = "none", ratio: int | None = None) -> rich_progress.TextColumn:
        place = Column(no_wrap=True, ratio=ratio)
        return rich_progress.TextColumn(template, style=style, markup=False, table_column=place)

    columns = (
        column("{task.completed}/{task.total} points"),
        rich_progress.BarColumn(bar_width=20),
        column("{task.fields[state]}"),
        column("{task.fields[label]}", "dim", 1),
    )
    return rich_progress.Progress(*columns, console=console, transient=True, expand=True)


def _text(cell: Any) -> Any:
    return styled(cell) if isinstance(cell, str) else cell
