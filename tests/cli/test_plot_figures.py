"""Does `plot --figure` draw what is named, and say what it cannot draw?"""

from __future__ import annotations

from pathlib import Path

import pytest
from answers import Command

RUN = ("run", "e.yaml", "--workers", "1", "--no-plots")


def test_is_a_figure_drawn_by_name_and_every_mistake_one_message(command: Command, folder: Path) -> None:
    assert command(*RUN).code == 0
    answer = command("plot", "e", "--figure", "scalability")
    assert (answer.code, answer.err) == (0, "")
    assert [Path(line).name for line in answer.out.splitlines()] == ["scalability.png", "scalability.svg"]
    for arguments, told in (
        (("--figure", "scalabilty"), "did you mean 'scalability'"),
        (("--figure", "fairness"), "needs a run with --profile"),
        (("--figure", "scalability,swept"), "needs a swept value"),
        (("--point", "threads=1"), "is for --figure occupancy"),
        (("--figure", "occupancy", "--point", "threads=77"), "threads"),
        (("--figure", "published"), "no such figure of a run"),
    ):
        answer = command("plot", "e", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err
        assert "Traceback" not in answer.err
        assert len(answer.err.splitlines()) == 1
    assert not any(Path("results/e/plots").glob("fairness*"))


@pytest.mark.ci
def test_are_the_figures_of_a_profile_drawn_and_its_fairness_told(command: Command, folder: Path) -> None:
    assert command(*RUN, "--profile").code == 0
    names = ["fairness", "distribution", "transfers"]
    answer = command("plot", "e", "--figure", ",".join(names))
    assert answer.code == 0, answer.err
    assert [Path(line).stem for line in answer.out.splitlines()] == [name for name in names for _ in range(2)]
    answer = command("curves", "e")
    assert "fairness between cpus, over threads" in answer.out
    assert {path.stem for path in Path("results/e/curves").iterdir()} >= {"fairness", "distributions"}
    Path("results/e/cpus.csv").write_text(Path("results/e/cpus.csv").read_text().replace(",1,", ",2,"))
    answer = command("plot", "e", "--figure", "fairness")
    assert answer.code == 2
    assert "changed after the run" in answer.err


@pytest.mark.ci
def test_is_the_occupancy_of_a_point_drawn_anew(command: Command, folder: Path) -> None:
    assert command(*RUN).code == 0
    point = "design=linux-6.13,threads=2"
    answer = command("plot", "e", "--figure", "occupancy", "--point", point)
    assert answer.code == 0, answer.err
    assert all(Path(line).name.startswith("occupancy-linux-6.13") for line in answer.out.splitlines())
    assert len(answer.out.splitlines()) == 2
