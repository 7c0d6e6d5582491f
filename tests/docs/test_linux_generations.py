"""Does the table of kernel generations in docs/linux.md say what their files do?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sim.files import load_spec, presets

PAGE = (Path(__file__).parents[2] / "docs/linux.md").read_text()
HEAD, *ROWS = [
    [cell.strip(" `") for cell in line.strip("|").split("|")]
    for line in PAGE[PAGE.index("| design |") :].split("\n\n")[0].splitlines()
    if not line.startswith("|---")
]
LAYOUTS = [
    tuple(tuple(group.split(", ")) for group in re.findall(r"- \[(.*)\]", block))
    for block in re.findall(r"```yaml\n# \d: .*?\nlayout:(.*?)```", PAGE, re.DOTALL)
]
"""The numbered blocks of section 1."""


def values(design: str) -> dict[str, Any]:
    """What the file says, by the last part of each key."""
    said = load_spec("design", design).spec.model_dump()
    flat = {**said, **said["switches"], **said["limits"], **said["flush"]}
    flat["layout"] = str(LAYOUTS.index(said["layout"]["mm_struct"]) + 1)
    return {key: {True: "yes", False: "no"}.get(value, value) for key, value in flat.items() if key in HEAD}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_does_a_row_say_what_the_file_does(row: list[str]) -> None:
    design, *cells = row
    said = values(design)
    assert cells == [str(said[key]) for key in HEAD[1:]]


def test_is_every_generation_named_on_the_page() -> None:
    known = [name for name in presets.names("design") if re.fullmatch(r"linux-\d+(\.\d+)+(-[a-z].*)?", name)]
    told = {row[0] for row in ROWS} | set(re.findall(r"`(linux-[\w.-]+)`", PAGE))
    assert len(ROWS) > 10
    assert [name for name in known if name not in told] == []
