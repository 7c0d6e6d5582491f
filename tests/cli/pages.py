"""What tests read out of a page of the documentation: blocks, their commands, the numbers of its prose."""

from __future__ import annotations

import re
import shlex


def block(text: str, kind: str) -> str:
    """The one block of this *kind* in *text*."""
    (found,) = re.findall(rf"^```{kind}\n(.*?)^```", text, re.S | re.M)
    return str(found)


def commands(text: str) -> list[list[str]]:
    """The commands of the one console block in *text*: of the program, and those that look into a table."""
    found = [shlex.split(line[2:]) for line in block(text, "console").splitlines() if line.startswith("$ ")]
    assert {words[0] for words in found} <= {"cortensim", "cut", "grep"}
    return found


def untold(prose: str, told: str) -> list[str]:
    """The bold numbers of *prose* that do not stand in *told* (whole numbers may be cut there)."""
    numbers = [
        number
        for bold in re.findall(r"\*\*(.+?)\*\*", prose)
        for number in re.findall(r"\d[\d.]*\d|\d", bold)
    ]
    assert numbers
    return [number for number in numbers if not re.search(rf"(?<![\d.]){re.escape(number)}(?!\d)", told)]
