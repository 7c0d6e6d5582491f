"""Markdown as the generated pages need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """*text* as code."""
    written = str(text)
    return f"`` {written} ``" if "`" in written else f"`{written}`"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]], look: str = "") -> str:
    """A table, whose cells are Markdown. Its *look* is a class of docs/site/style.css."""
    lines = [heading, ["---"] * len(heading), *rows]
    before = f"```{{rst-class}} {look}\n```\n\n" if look else ""
    return before + "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
