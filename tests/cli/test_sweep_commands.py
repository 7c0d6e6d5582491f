"""Shards, quick profiles, schemas, starters and what a run says to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from answers import EXPERIMENT, Command

from sim.files import KINDS

FAST = ("--workers", "1", "--no-plots")


@pytest.mark.ci
def test_do_shards_merge_into_the_same_bytes(command: Command, folder: Path) -> None:
    assert command("run", "e.yaml", *FAST).code == 0
    for part in ("1/2", "2/2"):
        assert command("run", "e.yaml", "--shard", part, *FAST).code == 0
    answer = command("merge", "results/e-1-of-2", "results/e-2-of-2", "--out", "whole", "--no-plots")
    assert answer.code == 0, answer.err
    for table in ("points.csv", "breakdown.csv", "points.parquet"):
        assert Path("whole", table).read_bytes() == Path("results/e", table).read_bytes()


def test_does_quick_run_the_quick_profile_in_a_folder_of_its_own(command: Command, folder: Path) -> None:
    (folder / "e.yaml").write_text(EXPERIMENT + "quick: {threads: [3], design: cortenmm-adv}\n")
    assert command("run", "e.yaml", "--quick", *FAST).code == 0
    assert list(pd.read_csv("results/e-quick/points.csv")["threads"]) == [3]


@pytest.mark.ci
def test_is_a_swept_value_in_the_table_that_is_printed(command: Command, folder: Path) -> None:
    (folder / "e.yaml").write_text(EXPERIMENT + "sweep: {machine.tlb.flush: [10 ns, 90 ns]}\n")
    answer = command("run", "e.yaml", "--workers", "1")
    assert answer.code == 0, answer.err
    assert [line.split()[:2] for line in answer.out.splitlines()[2:4]] == [["10", "ns"], ["90", "ns"]]


def test_is_quiet_quiet(command: Command, folder: Path) -> None:
    for options in ((), ("--resume",)):
        answer = command("run", "e.yaml", "--quiet", *options, *FAST)
        assert (answer.code, answer.out, answer.err) == (0, "", "")


def test_can_a_program_read_what_json_says(command: Command, folder: Path) -> None:
    answer = command("run", "e.yaml", "--json", *FAST)
    ticks = [json.loads(line) for line in answer.err.splitlines()]
    assert [tick["done"] for tick in ticks] == [0, 1, 2, 3, 4]
    assert ticks[-1]["left"] == ticks[-1]["failed"] == 0
    assert ticks[-1]["slowest"]["seconds"] > 0
    summary = json.loads(answer.out)
    assert (summary["points"], summary["failed"]) == (4, 0)
    assert all(Path(table).exists() for table in summary["tables"])


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (["--shard", "3/2"], "cortensim run: argument --shard: not a shard, such as 2/4: '3/2'"),
        (["--quick"], "e.yaml:1:1: this experiment has no `quick` profile"),
        (["--executor", "dask"], "--executor dask: needs the address of a scheduler"),
        (["--scheduler", "tcp://a:1"], "--scheduler tcp://a:1: is for a cluster"),
        (["--json", "--quiet"], "--json and --quiet: contradict each other"),
    ],
)
def test_which_options_are_refused(command: Command, folder: Path, arguments: list[str], start: str) -> None:
    answer = command("run", "e.yaml", *arguments)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    assert answer.err.startswith(start)


@pytest.mark.ci
def test_are_schemas_written(command: Command, folder: Path) -> None:
    assert command("schema").out.split() == [f"schema/{kind}.json" for kind in KINDS]
    assert json.loads(Path("schema/machine.json").read_text())["properties"]["topology"]


@pytest.mark.ci
def test_is_a_starter_sound_and_does_it_run(command: Command, folder: Path) -> None:
    answer = command("init", "mine")
    assert answer.code == 0, answer.err
    files = sorted(Path("mine").glob("*.yaml"))
    assert len(files) == 3
    assert command("check", *files).code == 0
    for path in files:
        first = path.read_text().splitlines()[0]
        assert (path.parent / first.removeprefix("# yaml-language-server: $schema=")).is_file()
    nbformat.validate(nbformat.read("mine/my-notebook.ipynb", as_version=4))  # type: ignore[no-untyped-call]
    assert command("run", "mine/my-experiment.yaml", "--threads", "1", *FAST).code == 0


def test_does_init_leave_what_is_there_alone(command: Command, folder: Path) -> None:
    (folder / "my-machine.yaml").write_text("mine")
    answer = command("init", ".")
    assert (answer.code, answer.err) == (
        2, "my-machine.yaml: would be replaced: choose an empty or new folder\n",
    )  # fmt: skip
    assert (folder / "my-machine.yaml").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["e.yaml", "my-machine.yaml"]
