"""What does `cortensim trace` leave behind, and what does it refuse?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from answers import Answer, Command
from traces import WORKLOAD, Read, read_folded

import sim
from sim.errors import InputError
from sim.experiment import run_point

EXPERIMENT = {
    "name": "e",
    "machine": "epyc-9965-guest",
    "designs": ["linux-6.13", "cortenmm-adv"],
    "workloads": ["w.yaml"],
    "threads": [1, 4],
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small experiment, `e.yaml`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.yaml").write_text(json.dumps(WORKLOAD))
    (tmp_path / "e.yaml").write_text(json.dumps(EXPERIMENT))
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_for_one_thread_beside_many(command: Command, small: Path) -> None:
    answer = command("trace", "e.yaml", "--point", "design=linux-6.13")
    assert (answer.code, answer.err) == (0, "")
    folder = small / "results/trace-e"
    stems = [f"linux-6.13-w-{threads}" for threads in (1, 4)]
    ends = ("pftrace", "folded", "cpu-0.folded", "svg", "timeline.svg")
    assert names(folder) == sorted([*(f"{stem}.{end}" for stem in stems for end in ends), "flame.svg"])
    for stem, threads in zip(stems, (1, 4), strict=True):
        read = Read((folder / f"{stem}.pftrace").read_bytes())
        assert len(read.roots) == threads
        assert read.charged() == read_folded((folder / f"{stem}.folded").read_text())
        assert (folder / f"{stem}.cpu-0.folded").read_text().startswith("cpu 0;")
    assert [line.split("  ")[0] for line in answer.out.splitlines() if line.startswith("results/")] == [
        f"results/trace-e/{name}.{end}" for name in stems for end in ends
    ] + ["results/trace-e/flame.svg"]
    assert "4 threads on epyc-9965-guest: " in answer.out
    assert "longest call by IPI on 3 cpus: cpu " in answer.out
    again = small / "again"
    assert command("trace", "e.yaml", "--point", "design=linux-6.13", "--out", again).code == 0
    assert all((folder / name).read_bytes() == (again / name).read_bytes() for name in names(folder))


def test_is_it_said_where_the_drawing_ends(command: Command, small: Path) -> None:
    point = ("--point", "design=linux-6.13,threads=4")
    cut = command("trace", "e.yaml", *point, "--slices", "100")
    assert "cut there" in cut.out
    part = command("trace", "e.yaml", *point, "--window", "2us..3us", "--sample", "2")
    assert "cut there" not in part.out
    assert "2 of 4 cpus, 2 us to 3 us of " in part.out
    part = command("trace", "e.yaml", *point, "--length", "3us")
    assert "4 of 4 cpus, 0 ps to 3 us of " in part.out


def test_is_one_shootdown_told_on_the_terminal(command: Command, small: Path) -> None:
    point = ("--point", "design=linux-6.13,threads=4")
    longest = command("trace", "e.yaml", *point, "--shootdown")
    assert "  shootdown (the longest of " in longest.out
    assert " in munmap, " in longest.out
    early = command("trace", "e.yaml", *point, "--shootdown", "1us")
    assert "  shootdown (the one nearest to 1us, of " in early.out
    refused = command("trace", "e.yaml", *point, "--shootdown", "soon")
    assert (refused.code, refused.out) == (2, "")
    assert "--shootdown soon: no shootdown (allowed: longest, or a time" in refused.err


def test_is_a_finished_run_traced_from_its_folder(command: Command, small: Path) -> None:
    assert command("run", "e.yaml", "--no-plots", "--workers", "1").code == 0
    (small / "w.yaml").unlink()
    answer = command("trace", "results/e", "--point", "design=cortenmm-adv,threads=4")
    assert answer.code == 0, answer.err
    assert "cortenmm-adv-w-4.svg" in names(small / "results/e/trace")
    refused = command("trace", "results/e", "--set", "seed=7")
    assert refused == Answer(2, "", "--set: results/e is a finished run, which is traced as it was\n")


def test_is_a_folder_with_the_name_of_an_experiment_no_run(command: Command, small: Path) -> None:
    for name in ("quickstart", "mine"):
        (small / name).mkdir()
    assert "threads=3" in command("trace", "quickstart", "--point", "threads=3").err
    assert "mine: no run: it has no manifest.json" in command("trace", "mine").err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--window", "3us"), "--window 3us: not a window (allowed: FROM..TO"),
        (("--window", "1us..2us", "--length", "1us"), "--window and --length: contradict each other"),
        (("--sample", "0"), "not a number of cpus: '0'"),
        (("--slices", "few"), "not a number of slices: 'few'"),
        (("--point", "threads=3"), "threads=3"),
        (("--set", "threads=1..17 +1"), "too many points to trace (got 34; allowed: at most 16"),
    ],
)
def test_what_is_refused(command: Command, small: Path, arguments: tuple[str, ...], says: str) -> None:
    answer = command("trace", "e.yaml", *arguments)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (small / "results").exists()


def test_is_a_point_that_fails_told_and_the_others_written(command: Command, small: Path) -> None:
    answer = command("trace", "e.yaml", "--point", "design=linux-6.13", "--set", "budget.events=600")
    assert answer.code == 1
    assert "4 on epyc-9965-guest failed: BudgetExceeded" in answer.err
    assert "linux-6.13-w-1.pftrace" in names(small / "results/trace-e")


def test_what_does_the_function_return(small: Path) -> None:
    (traced,) = sim.trace("e.yaml", "design=cortenmm-adv,threads=4", out="there")
    assert traced.outcome == run_point(traced.point)
    assert sum(traced.ns_per_op.values()) == pytest.approx(sum(traced.outcome.breakdown.values()))
    assert len(names(small / "there")) == 5
    (again,) = sim.trace(sim.load("e.yaml"), ["design=cortenmm-adv,threads=4"], window="..2us")
    assert again.folded.measured == traced.folded.measured
    assert again.shown.end == 2_000_000
    with pytest.raises(InputError, match="no such"):
        sim.trace("nowhere.yaml")
