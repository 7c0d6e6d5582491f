"""Do `curves` and `sensitivity` say what there is to tell, and refuse what they cannot?"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from answers import Command

QUICK = """\
name: quick
title: a page mapped and unmapped
requests: 2
window: {warm_up: 1 requests, length: 2 requests}
layout: {request: 4 KiB, stride: 2 MiB, order: own}
thread:
  - mmap: {at: anywhere}
  - munmap: {at: mapped}
"""
FAST = ("--workers", "1", "--no-plots")


@pytest.mark.ci
def test_says_a_run_how_its_curves_scale_and_curves_the_same(command: Command, folder: Path) -> None:
    answer = command("run", "e.yaml", "--threads", "1,2,3,4,5", *FAST)
    assert answer.code == 0, answer.err
    start = answer.out.index("how each curve scales")
    lines = answer.out[start:].splitlines()
    assert lines[1].split() == ["design", "knee", "best", "speed-up", "σ", "κ", "peak", "fit"]
    again = command("curves", "e")
    assert again.code == 0, again.err
    assert lines[2] in again.out
    assert "95 % intervals" in again.out.replace("\n", " ")
    tables = Path("results/e/curves")
    assert len(pd.read_csv(tables / "curves.csv")) == 2
    assert len(pd.read_csv(tables / "ratios.csv")) == 5
    assert pd.read_csv(tables / "speedups.csv")["speedup"].min() == pytest.approx(1, abs=0.2)
    wrong = command("curves", "e", "--baseline", "linux-6.31")
    assert wrong.code == 2
    assert "linux-6.13, cortenmm-adv" in wrong.err


def test_is_a_short_run_left_without_lines_of_curves(command: Command, folder: Path) -> None:
    answer = command("run", "e.yaml", "--designs", "cortenmm-adv", *FAST)
    assert answer.code == 0, answer.err
    assert "how each curve" not in answer.out


def test_says_sensitivity_beforehand_how_much_it_simulates(command: Command, folder: Path) -> None:
    answer = command(
        "sensitivity", "e.yaml", "--point", "threads=2,design=cortenmm-adv", "--samples", "4",
        "--method", "oat", "--dry-run",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert "costs may be off; at most" in answer.out
    assert "1 x 4 samples of all costs" in answer.out
    assert "Morris" not in answer.out
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--samples", "1"), "samples must be 2 or more"),
        (("--costs", "4"), "costs must be 8 or more"),
        (("--conclusion", "linux-6.13 > cortenmm-adv at 64"), "no place has both"),
        (("--conclusion", "linux-6.13"), "not a conclusion"),
        (("--point", "design=linux-6.31"), "linux-6.13"),
    ],
)
def test_is_what_sensitivity_cannot_do_one_message(
    command: Command, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    answer = command("sensitivity", "e.yaml", "--dry-run", *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.ci
def test_writes_sensitivity_its_tables_and_figures(command: Command, folder: Path) -> None:
    Path("quick.yaml").write_text(QUICK)
    text = Path("e.yaml").read_text().replace("[pf]", "[./quick.yaml]").replace("placements: [low]\n", "")
    Path("e.yaml").write_text(text)
    arguments = (
        "sensitivity", "e.yaml", "--point", "threads=1", "--samples", "2", "--costs", "8", "--paths", "2",
        "--workers", "1", "--keep", "kept", "--conclusion", "cortenmm-adv > linux-6.13 at 1",
    )  # fmt: skip
    answer = command(*arguments, "--out", "one")
    assert answer.code == 0, answer.err
    assert "cortenmm-adv beats linux-6.13 at 1 thread, quick: " in answer.out
    assert "holds in 2 of 2 samples (100%)" in answer.out
    names = {"conclusions.csv", "costs.csv", "groups.csv", "bands.csv", "tornado.png", "tornado.svg"}
    assert {path.name for path in Path("one").iterdir()} == names
    assert command(*arguments, "--out", "two").code == 0
    for name in names:
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()
