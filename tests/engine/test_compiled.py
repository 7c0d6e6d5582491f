"""When do compiled modules run in place of the sources?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sim import compiled
from tools.compile_model import INTERPRETED, PARTS, modules
from tools.narrowings import narrowings


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of one source, compiled as far as the list says."""
    monkeypatch.delenv(compiled.SWITCH, raising=False)
    monkeypatch.setattr(compiled, "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text("x = 1\n")
    listed = {"sources": {"a.py": compiled.checksum(tmp_path / "a.py")}, "modules": {"sim.a": "sim/a.so"}}
    (tmp_path / compiled.LIST).write_text(json.dumps(listed))
    return tmp_path


def test_do_modules_run_that_were_made_from_these_sources(package: Path) -> None:
    assert compiled.why_not(package) == ""


def test_is_the_model_interpreted_once_a_source_has_changed(package: Path) -> None:
    (package / "a.py").write_text("x = 2\n")
    assert compiled.why_not(package) == "sim/a.py has changed since it was compiled"
    (package / "a.py").unlink()
    assert compiled.why_not(package) == "sim/a.py has changed since it was compiled"


def test_is_the_model_interpreted_where_nothing_was_compiled(tmp_path: Path, package: Path) -> None:
    assert compiled.why_not(tmp_path / "elsewhere") == "not compiled for this Python"


def test_can_the_interpreter_be_chosen(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.SWITCH, "0")
    assert compiled.why_not(package) == f"{compiled.SWITCH}=0"


def test_is_a_module_found_where_it_was_compiled_to(package: Path) -> None:
    finder = compiled.Finder({"sim.a": package / "sim/a.so"})
    spec = finder.find_spec("sim.a", None)
    assert spec is not None
    assert spec.origin == str(package / "sim/a.so")
    assert finder.find_spec("sim.b", None) is None


def test_what_is_compiled() -> None:
    root = Path(__file__).parents[2]
    names = modules(root)
    assert {
        "engine/core.py",
        "hardware/line.py",
        "designs/linux/kernel.py",
        "designs/cortenmm/cursor.py",
    } <= set(names)
    assert not INTERPRETED & set(names)
    assert all((root / "sim" / name).exists() for name in INTERPRETED)
    assert not [name for name in names if "pydantic" in (root / "sim" / name).read_text().split("class ")[0]]


@pytest.mark.ci
def test_is_no_attribute_believed_in_while_others_run() -> None:
    """Compiled code would raise a TypeError there, on paths that are rare."""
    paths = [f"sim/{part}" for part in (*PARTS, "workload")]
    assert list(narrowings([*paths, "sim/errors.py", "sim/quantities.py"])) == []


@pytest.mark.ci
def test_are_such_places_found(tmp_path: Path) -> None:
    text = """\
from collections.abc import Iterator

class Lock:
    def __init__(self) -> None:
        self.owner: str | None = None

    def take(self) -> Iterator[int]:
        if self.owner is None:
            yield 1
            if self.owner is None:
                self.owner = "me"
                yield 2
                if self.owner is None:
                    yield 3
"""
    (tmp_path / "lock.py").write_text(text)
    places = [place.removeprefix(str(tmp_path)) for place in narrowings([str(tmp_path / "lock.py")])]
    assert places == ["/lock.py:10: owner", "/lock.py:13: owner"]
