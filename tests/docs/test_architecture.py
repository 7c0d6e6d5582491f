"""Does docs/architecture.md describe the house that stands: its rooms, its files and what is in them?"""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")

_NAMED = re.compile(r"`((?:sim|tools|tests|configs|workloads)/[\w./-]*)(?:: ([\w.]+))?`")


def rooms_of_the_contract() -> list[str]:
    """The floors of `.importlinter`, from the top."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter")
    layers = contract["importlinter:contract:floors"]["layers"]
    return [room for room in re.findall(r"\w+", layers) if room != "__main__"]


def has(file: Path, name: str) -> bool:
    """Whether *file* defines *name*, a class, a function or a method `Class.method`."""
    scope: ast.AST = ast.parse(file.read_text(encoding="utf-8"))
    for part in name.split("."):
        found = [
            node
            for node in ast.iter_child_nodes(scope)
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == part
        ]
        if not found:
            return False
        scope = found[0]
    return True


def missing(text: str) -> list[str]:
    """The files, and names in files, that *text* names and that do not exist."""
    faults = []
    for path, name in _NAMED.findall(text):
        if not (ROOT / path).exists():
            faults.append(path)
        elif name and not has(ROOT / path, name):
            faults.append(f"{path}: {name}")
    return faults


def test_are_the_rooms_drawn_in_the_order_of_the_contract() -> None:
    drawing = PAGE.split("```")[1]
    drawn = re.findall(r"^   ([a-z]\w*(?:, \w+)*)  ", drawing, re.MULTILINE)
    assert [room for line in drawn for room in line.split(", ")] == rooms_of_the_contract()


def test_is_everything_that_the_page_names_there() -> None:
    assert missing(PAGE) == []
    assert len(_NAMED.findall(PAGE)) > 40


@pytest.mark.parametrize(
    "text", ["`sim/nowhere.py`", "`sim/engine/core.py: Motor`", "`sim/engine/core.py: Engine.fly`"]
)
def test_is_a_name_that_leads_nowhere_found(text: str) -> None:
    assert len(missing(text)) == 1
