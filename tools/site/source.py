"""The folder that Sphinx reads: the pages of the repository as their links expect them, and generated ones.

Pages are copied with the folders around them. Those of docs/site come to the top, for the home page must be
there, and their links are turned accordingly. Files that pages link to come along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import yaml

ROOT = Path(__file__).resolve().parents[2]
OWN = ROOT / "docs/site"
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "results/published/README.md",
    "docs/*.md",
    "docs/cookbook/*.md",
    "notebooks/*.ipynb",
)
FOLDERS = ("docs/figures", "docs/cookbook/figures", "configs", "workloads")
"""What pages show: figures, files of presets."""

_LINK = re.compile(r"\]\(([^()\s#]+)(?:#[^()\s]*)?\)")
_UP = re.compile(r"\]\(\.\./(\.\./)?")


@dataclass(frozen=True)
class Page:
    """A generated page: its path in the source folder, its text, and where it stands in the contents."""

    path: str
    text: str


class Source:
    """The source folder at *folder*; pages that did not change keep their time, so that Sphinx skips them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lay(self, generated: Iterable[Page]) -> None:
        """Bring the folder up to date. Raises ValueError if the contents name a page that is not there."""
        shown = sorted({path for pattern in PAGES for path in ROOT.glob(pattern)})
        others = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
        files = {
            path.relative_to(ROOT).as_posix(): path.read_bytes()
            for path in (*shown, *others, *_linked(shown))
        }
        files |= {page.path: page.text.encode() for page in generated}
        for path in OWN.glob("*.md"):
            files[path.name] = _turned(path.read_text(encoding="utf-8")).encode()
        files["index.md"] += contents(
            {PurePosixPath(path).with_suffix("").as_posix() for path in files}
        ).encode()
        for place in sorted(self.folder.rglob("*")):
            if place.is_file() and place.relative_to(self.folder).as_posix() not in files:
                place.unlink()
        for name, content in files.items():
            place = self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_file() or place.read_bytes() != content:
                place.write_bytes(content)


def _turned(text: str) -> str:
    """The text of a page of docs/site, with its links as they are from the top of the repository."""
    return _UP.sub(lambda up: "](" if up[1] else "](docs/", text)


def _linked(pages: Iterable[Path]) -> Iterator[Path]:
    """Files of the repository that pages link to and that are no pages and no figures."""
    for page in pages:
        for target in _LINK.findall(page.read_text(encoding="utf-8")) if page.suffix == ".md" else ():
            path = (page.parent / target).resolve()
            if path.is_file() and path.is_relative_to(ROOT) and path.suffix not in (".md", ".ipynb", ".png"):
                yield path


def contents(names: set[str]) -> str:
    """The tables of contents of the home page, which the side bar shows, from docs/site/contents.yaml."""
    sections = yaml.safe_load((OWN / "contents.yaml").read_text(encoding="utf-8"))
    text = ""
    for caption, entries in sections.items():
        text += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n"
        text += "".join(f"{line}\n" for entry in entries for line in _named(entry, names))
        text += "```\n"
    return text


def _named(entry: str, names: set[str]) -> Iterator[str]:
    """The pages that an entry of the contents means, each as a line: a name or pattern, or `Title: name`."""
    title, _, pattern = entry.rpartition(": ")
    found = sorted(name for name in names if fnmatch(name, pattern))
    if not found and "*" not in pattern:
        raise ValueError(f"docs/site/contents.yaml: there is no page {pattern}")
    for name in found:
        yield f"{title} </{name}>" if title else f"/{name}"
