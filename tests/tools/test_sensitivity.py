"""What the tool that varies inferred parameters reads, asks for and writes. It simulates nothing here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tools.sensitivity import (
    APPLICATIONS,
    CORTENMM,
    LINUX,
    Parameter,
    Run,
    inferred,
    main,
    page,
    runs,
    scaled,
    text_of,
    typed,
    variants,
)

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "workloads" / "applications"

FILE = """
allocator: {kind: units, size: 8 MiB, used: 0.5}
# inferred: `used` of so many units
parameters:
  work: 40 us    # inferred: a guess
  size: 4 KiB    # published somewhere
  pages: 9       # inferred, as elsewhere
"""


def test_it_finds_what_a_file_marks_and_nothing_else() -> None:
    assert inferred(FILE) == [
        Parameter("work", "workload.parameters.work", "40 us", "a guess"),
        Parameter("pages", "workload.parameters.pages", "9", "as elsewhere"),
        Parameter("used", "workload.allocator.used", "0.5", "of so many units"),
    ]


def test_a_mark_of_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="`used`"):
        inferred("# inferred: `used` of something\nallocator: ptmalloc\n")


@pytest.mark.parametrize(
    ("value", "factor", "becomes"),
    [
        ("60000 cycles", 0.5, "30000 cycles"),
        ("1.5 us", 2, "3.0 us"),
        ("40", 0.5, "20"),
        ("1", 0.5, "1"),  # none is another workload
        ("0.53", 2, "1.0"),  # a share
        ("0.37", 0.5, "0.185"),
    ],
)
def test_a_value_is_scaled_in_its_unit(value: str, factor: float, becomes: str) -> None:
    assert scaled(value, factor) == becomes


def test_a_value_without_a_unit_is_a_number() -> None:
    assert [typed("20"), typed("0.5"), typed("20 us")] == [20, 0.5, "20 us"]


def test_every_application_that_marks_something_is_varied() -> None:
    marked = {path.stem for path in FOLDER.glob("*.yaml") if inferred(path.read_text(encoding="utf-8"))}
    assert marked == set(APPLICATIONS)


def test_the_page_of_the_docs_has_a_line_for_each_parameter_as_it_stands_in_the_files() -> None:
    text = (ROOT / "docs" / "applications.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## ([\w-]+).*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for name in APPLICATIONS:
        for each in inferred(text_of(name)):
            assert f"| `{each.name}` | {each.value} |" in sections[name]


def test_it_says_what_depends_on_a_parameter(tmp_path: Path) -> None:
    """Linux works `work`, CortenMM twice as fast whatever it is, but does not scale where it is halved."""

    def simulate(wanted: Sequence[Run], workers: int, keep: Path) -> dict[Run, float | None]:
        def throughput(run: Run) -> float | None:
            if any("on_top" in path for path, _ in run.changed):
                return None
            halved = ("workload.parameters.work", "304500 cycles") in run.changed
            if run.design == CORTENMM:
                return 2.0
            return 0.5 if halved and run.threads == 64 else 1.0

        return {run: throughput(run) for run in wanted}

    report = tmp_path / "page.md"
    main(["--only", "dedup-ptmalloc", "--report", str(report)], simulate)
    text = report.read_text(encoding="utf-8")
    assert "64 threads: `cortenmm-adv` does 2 times what `linux-6.13` does, which does 1 times" in text
    assert "| `work` | 609000 cycles | 4 | 2 | 0.5 | 1 | ratio, knee |" in text
    assert "| `compressed` | 2200 B | 2 | 2 | 1 | 1 | nothing |" in text
    assert "| `on_top` | 0.53 | - | - | - | - | nothing |" in text


def test_each_point_is_asked_for_once_and_linux_with_fewer_threads_too(tmp_path: Path) -> None:
    seen: list[Run] = []

    def simulate(wanted: Sequence[Run], workers: int, keep: Path) -> dict[Run, float | None]:
        seen.extend(wanted)
        return dict.fromkeys(wanted, 1.0)

    main(["--only", "parsec", "--report", str(tmp_path / "page.md")], simulate)
    assert len(seen) == len(set(seen)) == 9
    assert {(run.design, run.threads) for run in seen} == {(LINUX, 8), (LINUX, 1), (CORTENMM, 8)}


def test_a_page_of_two_applications_has_both() -> None:
    files = {name: text_of(name) for name in ("parsec", "jvm-threads")}
    wanted = [run for name, text in files.items() for run in runs(name, variants(inferred(text)))]
    assert page(files, dict.fromkeys(wanted, 1.0)).count("\n## ") == 2
