"""Do the pages of the cookbook say what their files and commands say?

A page has one experiment file, shown whole, one console block with the commands and what the last of them
prints (cut with `...`), and an answer whose bold numbers are in that block (whole numbers may be cut).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from answers import Command
from pages import block, commands, untold

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs/cookbook/README.md"
PAGES = sorted(path for path in INDEX.parent.glob("*.md") if path != INDEX)
FILES = ROOT / "configs/experiments/cookbook"
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@EACH_PAGE
def test_shows_the_page_its_experiment_file(page: Path) -> None:
    assert block(text_of(page), "yaml") == (FILES / f"{page.stem}.yaml").read_text(encoding="utf-8")
    assert commands(text_of(page))[0][:3] == ["cortensim", "run", page.stem]


@EACH_PAGE
def test_is_every_bold_number_of_the_answer_in_the_output(page: Path) -> None:
    (answer,) = re.findall(r"^## The answer\n(.*?)^## ", text_of(page), re.S | re.M)
    assert untold(answer, block(text_of(page), "console")) == []


def test_has_the_index_thirty_questions_and_every_page_once() -> None:
    text = INDEX.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", text, re.M)
    assert [int(number) for number, _, _ in rows] == list(range(1, 31))
    linked = [name for _, _, told in rows for name in re.findall(r"\]\(([\w-]+)\.md\)", told)]
    assert (
        sorted(linked) == [page.stem for page in PAGES] == sorted(file.stem for file in FILES.glob("*.yaml"))
    )
    unanswered = [told for _, _, told in rows if not re.search(r"\]\([\w-]+\.md\)", told)]
    assert [told for told in unanswered if not told.startswith(("missing: ", "no page yet"))] == []


@pytest.mark.ci
def test_accepts_check_all_files_of_the_cookbook(command: Command, folder: Path) -> None:
    files = [*FILES.glob("*.yaml"), *(ROOT / "workloads/cookbook").glob("*.yaml")]
    answer = command("check", *files)
    assert (answer.code, answer.err) == (0, "")


LESS = {
    "which-lock": ["--replicates", "1", "--without", "interrupts", "--workers", "1"],
    "guest-ipis": ["--replicates", "1", "--without", "interrupts", "--workers", "1"],
    "mm-field": ["--replicates", "1", "--workers", "1"],
    "which-costs": ["--quick", "--samples", "1", "--method", "oat", "--costs", "8", "--workers", "1"],
}
"""What makes the commands of a page quick that simulate points again for each thing, cost and seed."""
AGAIN = {"whatif", "sensitivity"}
SHORT = {
    "which-lock", "invlpgb", "compilation-flips",
}  # fmt: skip
"""Pages whose commands take no more than some seconds; those of the others are slow tests."""


def _run_all(command: Command, folder: Path, page: Path) -> None:
    text = text_of(page)
    for table in re.findall(r"^```csv\n(.*?)^```", text, re.S | re.M):
        (folder / "mmap1.csv").write_text(table, encoding="utf-8")
    (_, *run), *others = commands(text)
    assert command(*run, "--quick", "--workers", "1", "--out", f"results/{page.stem}").code == 0
    assert others
    for name, *words in others:
        if name != "cortensim":
            done = subprocess.run([name, *words], capture_output=True, text=True, check=False)
            assert done.returncode <= (name == "grep"), done.stderr  # the quick run may not have those lines
            continue
        if "--point" in words:  # the quick run has other thread counts
            at = words.index("--point") + 1
            words[at] = re.sub(r",?threads=\d+", "", words[at]).strip(",")
            words[at - 1 : at + 1] = words[at - 1 : at + 1] if words[at] else []
        answer = command(*words, *(LESS.get(page.stem, []) if words[0] in AGAIN else []))
        assert answer.code == 0, answer.err
        assert answer.out


@pytest.mark.ci
@pytest.mark.parametrize("page", [page for page in PAGES if page.stem in SHORT], ids=lambda page: page.stem)
def test_do_the_commands_of_the_page_work_on_a_small_setting(
    command: Command, folder: Path, page: Path
) -> None:
    _run_all(command, folder, page)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.stem not in SHORT], ids=lambda page: page.stem
)
def test_do_the_commands_of_a_long_page_work_on_a_small_setting(
    command: Command, folder: Path, page: Path
) -> None:
    _run_all(command, folder, page)
