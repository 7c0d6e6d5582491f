"""Do links in README.md and docs/ lead somewhere: to a file that exists, to a heading that the page has?"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *#* *$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PAGE = re.compile(r"\bdocs/[\w-]+\.md")
_PAGE_AND_HEADING = re.compile(r"\b(docs/[\w-]+\.md), ([A-Za-z][A-Za-z ]*[a-z])")


def links(text: str) -> list[str]:
    """Targets of the links and images in *text*, those to other places than files left out."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    return [target for target in _LINK.findall(prose) if not _ELSEWHERE.match(target)]


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of *text*."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def broken(page: Path) -> list[str]:
    """The links of *page* that lead nowhere, each with the reason."""
    faults = []
    for target in links(page.read_text(encoding="utf-8")):
        path, _, anchor = unquote(target).partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            faults.append(f"{target}: there is no {path}")
        elif anchor and (file.suffix != ".md" or anchor not in anchors(file.read_text(encoding="utf-8"))):
            faults.append(f"{target}: {file.name} has no heading #{anchor}")
    return faults


def unknown_headings(text: str) -> list[str]:
    """Headings that sources in *text* name, as in `docs/sources.md, Linux locks: ...`, and no page has."""
    return [
        f"{page} has no heading like {heading}"
        for page, heading in _PAGE_AND_HEADING.findall(text)
        if not any(
            heading.lower() in anchor.replace("-", " ")
            for anchor in anchors((ROOT / page).read_text(encoding="utf-8"))
        )
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_does_every_link_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


@pytest.mark.parametrize("pattern", ["sim/**/*.py", "configs/**/*.yaml", "workloads/**/*.yaml"])
def test_is_every_page_there_that_code_and_files_speak_of(pattern: str) -> None:
    pages = {page for file in ROOT.glob(pattern) for page in _PAGE.findall(file.read_text(encoding="utf-8"))}
    assert [page for page in sorted(pages) if not (ROOT / page).is_file()] == []


def test_does_every_page_have_the_headings_that_sources_name() -> None:
    texts = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "configs").rglob("*.yaml"))]
    assert any(_PAGE_AND_HEADING.search(text) for text in texts)
    assert [fault for text in texts for fault in unknown_headings(text)] == []
    assert unknown_headings("HW: docs/sources.md, Linux loks: 1-4 us") == [
        "docs/sources.md has no heading like Linux loks"
    ]


def test_are_there_links_at_all() -> None:
    """Else the tests above hold nothing."""
    assert sum(len(links(page.read_text(encoding="utf-8"))) for page in PAGES) > 50


def test_is_a_link_that_leads_nowhere_found(tmp_path: Path) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    other.write_text("# Linux's `mmap_lock`: a lock\n\n## Twice\n\n```\n# not a heading\n```\n\n## Twice\n")
    page.write_text(
        "[good](other.md#linuxs-mmap_lock-a-lock) [second](other.md#twice-1) [web](https://example.org/x#y)\n"
        "[gone](gone.md) [third](other.md#twice-2) [comment](other.md#not-a-heading) ![image](gone.png)\n"
        "[here](#nothing) `[code](gone.md)`\n\n```\n[block](gone.md)\n```\n"
    )
    assert [fault.split(":")[0] for fault in broken(page)] == [
        "gone.md",
        "other.md#twice-2",
        "other.md#not-a-heading",
        "gone.png",
        "#nothing",
    ]
