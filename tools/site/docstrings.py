"""Docstrings as reStructuredText, for autodoc.

In this repository they are plain text in which `code` stands between backticks, *names* of parameters between
asterisks, and blocks of code are indented.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CODE = re.compile(r"`([^`]+)`")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_SPECIAL = re.compile(r"\\|(?<=\w)_(?![\w`])|\||(?<![\w*])\*\*?(?=\w+(?:[\s,.)]|$)(?![^*]*\*))")


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring, of which names in backticks become references to what is documented."""
    return list(_converted(lines))


def _converted(lines: list[str]) -> Iterator[str]:
    block = False
    for number, line in enumerate(lines):
        indented = line.startswith("    ")
        if indented and not block and (number == 0 or not lines[number - 1].strip()):
            block = True
            yield from (".. code-block:: text", "")
        elif line.strip() and not indented:
            block = False
        yield line if block else _prose(line)


def _prose(line: str) -> str:
    parts = _CODE.split(line)
    prose = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
    return "".join(
        text + (_reference(word) if word else "")
        for text, word in zip(prose, [*parts[1::2], ""], strict=True)
    )


def _reference(word: str) -> str:
    return f"\\ :py:obj:`{word}`\\ " if _NAME.fullmatch(word) else f"\\ ``{word}``\\ "
