"""Is a forgotten `yield from` found?"""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

PLUGIN = Path(__file__).parents[2] / "tools" / "loud_steps.py"

MODULE = """\
from collections.abc import Generator


def steps() -> Generator[int, None, bool]:
    yield 1
    return True


def plain() -> bool:
    return True


def outer() -> Generator[int, None, None]:
    {line}
    {after}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy has learnt of the standard library."""
    return tmp_path_factory.mktemp("cache")


def complaints(tmp_path: Path, cache: Path, line: str, after: str = "yield 2") -> str:
    """What mypy says of a module with *line* in a generator."""
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nplugins = {PLUGIN}\n")
    (tmp_path / "module.py").write_text(MODULE.format(line=line, after=after))
    arguments = ["--config-file", "mypy.ini", "--no-site-packages", f"--cache-dir={cache}", "module.py"]
    return api.run(arguments)[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("steps()", "Steps are made and not driven"),
        ("if steps(): yield 3", "Steps are always true"),
        ("yield 0 if not steps() else 1", "Steps are always true"),
        ("taken = steps()", "Steps are kept in `taken`, which nobody reads"),
        ("yield steps()", "hands steps out and does not drive them"),
    ],
)
def test_which_steps_are_refused(
    line: str, said: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in complaints(tmp_path, cache, line)


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("yield from steps()", "yield 2"),
        ("if (yield from steps()): yield 3", "yield 2"),
        ("later = steps()", "yield from later"),
        ("plain()", "yield 2"),
    ],
)
def test_which_steps_are_fine(
    line: str, after: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaints(tmp_path, cache, line, after) == "Success: no issues found in 1 source file\n"
