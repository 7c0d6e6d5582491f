"""Is the documentation site built without a warning, and does it show what the program and the pages have?"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from sim.cli import parser
from sim.files import KINDS, presets

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/site"
Tool = Callable[[str], ModuleType]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Imports a module of the tool."""
    monkeypatch.syspath_prepend(str(TOOL))
    return importlib.import_module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, TOOL, "--out", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def text_of(page: Path) -> str:
    """The words of a page of the site, without its marks."""
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_has_the_site_every_page_command_preset_and_kind_of_file(site: Path) -> None:
    """The build itself refuses warnings, links that lead nowhere, and what comes from elsewhere."""
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT).with_suffix(".html").as_posix()
        assert (site / name.removeprefix("docs/site/")).is_file(), name
    [commands] = [action.choices for action in parser()._actions if isinstance(action.choices, dict)]
    for name, command in commands.items():
        shown = text_of(site / f"reference/commands/{name}.html")
        for action in command._actions:
            assert all(option in shown for option in action.option_strings if option not in ("-h", "--help"))
    for kind in KINDS:
        listed = text_of(site / f"reference/presets/{kind}s.html")
        assert [name for name in presets.names(kind) if name not in listed] == []
        assert "needed" in text_of(site / f"reference/files/{kind}.html")
    assert "cross_socket" in text_of(site / "reference/files/machine.html")
    assert 'href="#sim.analysis.Estimate"' in (site / "reference/python/sim.analysis.html").read_text()


@pytest.mark.parametrize(
    ("docstring", "rst"),
    [
        ("The `cost` of *n* lines.", r"The \ :py:obj:`cost`\  of *n* lines."),
        ("Say `a + b` of it.", r"Say \ ``a + b``\  of it."),
        ("a trailing_ word | and more", r"a trailing\_ word \| and more"),
        ("Use it:\n\n    import sim\n\nDone.", "Use it:\n\n.. code-block:: text\n\n    import sim\n\nDone."),
    ],
)
def test_are_docstrings_turned_into_what_sphinx_reads(tool: Tool, docstring: str, rst: str) -> None:
    assert "\n".join(tool("docstrings").as_rst(docstring.splitlines())) == rst


def test_is_what_a_page_would_load_from_elsewhere_found(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        '<a href="https://example.org/link">a link</a> <img src="figures/here.png">'
        '<script src="https://example.org/a.js"></script><link href="//example.org/b.css" rel="stylesheet">'
    )
    (tmp_path / "style.css").write_text(
        "@import 'https://example.org/c.css'; a { src: url(//example.org/d) }"
    )
    found = tool("outside").loaded_from_outside(tmp_path)
    assert [address.rpartition("/")[2] for _, address in found] == ["a.js", "b.css", "c.css", "d"]


def test_are_contents_that_name_no_page_refused(tool: Tool) -> None:
    sections = yaml.safe_load((ROOT / "docs/site/contents.yaml").read_text(encoding="utf-8"))
    entries = [entry.rpartition(": ")[2] for entries in sections.values() for entry in entries]
    names = {entry for entry in entries if "*" not in entry}
    assert "</README>" in tool("source").contents(names)
    with pytest.raises(ValueError, match=r"contents\.yaml: there is no page docs/model"):
        tool("source").contents(names - {"docs/model"})


def test_do_links_of_the_home_page_lead_where_the_page_stands(tool: Tool) -> None:
    text = "[a](../model.md#b) ![c](../figures/d.png) [e](../../README.md)"
    assert tool("source")._turned(text) == "[a](docs/model.md#b) ![c](docs/figures/d.png) [e](README.md)"
