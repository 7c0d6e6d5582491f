"""Is each question of the how-to answered by one command, and does that say what the page says?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from answers import Command
from pages import block, commands, untold

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/how-to.md").read_text(encoding="utf-8")
QUESTIONS = {part.partition("\n")[0]: part for part in TEXT.split("\n## ")[1:]}
EACH = pytest.mark.parametrize("question", QUESTIONS)
RUN = commands(TEXT.partition("\n## ")[0])
PAGE_OF_ITS_OWN = "Something to send to my boss."
"""Whose output is a page, not numbers."""

LESS = {
    "whatif": ["--replicates", "1", "--without", "lock: vma", "--workers", "1"],
    "profile": ["--workers", "1"],
    "sensitivity": ["--quick", "--samples", "1", "--workers", "1"],
    "trace": ["--quick"],
}
"""What makes a command of the page quick."""


def test_are_there_six_questions_with_one_command_each() -> None:
    assert len(QUESTIONS) == 6
    verbs = [commands(text)[0][1] for text in QUESTIONS.values() if len(commands(text)) == 1]
    assert sorted(verbs) == ["compare", "profile", "report", "sensitivity", "trace", "whatif"]


@EACH
def test_is_every_bold_number_in_the_output_that_is_shown(question: str) -> None:
    text = QUESTIONS[question]
    if question == PAGE_OF_ITS_OWN:
        assert "**" not in text
    else:
        assert untold(text, block(text, "console")) == []


@pytest.mark.slow
def test_do_the_commands_of_the_page_work_on_a_small_setting(command: Command, folder: Path) -> None:
    ((_, *run),) = RUN
    assert command(*run, "--quick", "--workers", "1", "--out", "results/how-to").code == 0
    for text in QUESTIONS.values():
        if commands(text)[0][1] != "sensitivity":
            _ask(command, text)


@pytest.mark.slow
def test_does_the_command_that_asks_how_sure_work_on_a_small_setting(command: Command, folder: Path) -> None:
    _ask(command, QUESTIONS["How sure are you?"])


def _ask(command: Command, text: str) -> None:
    """Give the command of *text*, small, and look for lines that the page's output has, too."""
    ((_, *words),) = commands(text)
    words = [word.replace("16", "4") for word in words]
    answer = command(*words, *LESS.get(words[0], []))
    assert answer.code == 0, answer.err
    for line in SAID[words[0]]:
        assert re.search(line, answer.out), (line, answer.out)


SAID = {
    "whatif": ["lock: vma .* exact", "most of the time"],
    "profile": ["mmap_lock is waited for", "who has it to write keeps it for", "bottleneck: "],
    "trace": [
        r"shootdown \(the longest of \d+\): cpu",
        "arrives +begins +done",
        "what it interrupts",
        "waiting",
    ],
    "compare": ["why, by the time of an operation", "linux-6.1, 4 threads: .* an operation -> "],
    "sensitivity": ["linux-6.13 .*linux-6.1 at 4 threads"],
    "report": ["report.html"],
}
"""Lines of the page's output that a small setting has, too."""
