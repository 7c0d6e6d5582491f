"""Are the examples in the documentation of experiments sound?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from answers import Command

from sim.experiment import load

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.ci
def test_is_the_example_of_an_experiment_sound(command: Command, folder: Path) -> None:
    text = (DOCS / "experiments.md").read_text(encoding="utf-8")
    example = re.findall("```yaml\n(.*?)```", text, re.S)[0]
    (folder / "fabric.yaml").write_text(example, encoding="utf-8")
    (folder / "parts").mkdir()
    (folder / "parts/common.yaml").write_text("seed: 1\n")
    answer = command("check", "fabric.yaml")
    assert (answer.code, answer.err) == (0, "")
    assert len(load("fabric.yaml").points) > len(load("fabric.yaml", quick=True).points) > 0


PAGES = ["analysis.md", "cluster.md", "experiments.md", "profile.md", "trace.md", "whatif.md"]


@pytest.mark.parametrize("page", PAGES)
def test_does_the_program_know_every_option_of_the_page(command: Command, page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    verbs = set(re.findall(r"cortensim ([a-z]+) ", text))
    kinds = set(re.findall(r"cortensim import ([a-z-]+) ", text))
    asked = [*((verb,) for verb in verbs), *(("import", kind) for kind in kinds)]
    known = "".join(command(*verb, "--help").out for verb in asked)
    for line in re.findall(r"^cortensim .*$|`cortensim [^`]*`|`--[a-z-]+`", text, re.M):
        for option in re.findall(r"--[a-z]+[a-z-]*", line):
            assert option in known, line


@pytest.mark.ci
def test_does_the_example_of_a_trace_say_what_the_page_says(command: Command, folder: Path) -> None:
    """Which shootdown is the longest may change with the model; what is told about it may not."""
    text = (DOCS / "trace.md").read_text(encoding="utf-8")
    (example,) = re.findall("```console\n\\$ cortensim (.*?)```", text, re.S)
    call, told = example.split("\n", 1)
    answer = command(*call.split())
    assert answer.code == 0
    assert [_masked(line) for line in answer.out.splitlines()] == [
        _masked(line) for line in told.splitlines()
    ]


def _masked(line: str) -> str:
    """*line* without its numbers and their units."""
    return re.sub(r"[\d.]+ ?(?:ps|ns|us|ms|kB|MB|cpus?)?", "N", line)
