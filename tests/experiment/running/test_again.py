"""Do the points of a finished run come back from its folder, and which of them does --point mean?"""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import faults_of, measure

from sim.experiment import (
    Experiment,
    Shard,
    choose,
    experiment_of,
    is_of_this_model,
    load,
    model,
    read_manifest,
    run,
)

SWEEP = {"sweep": {"design.syscall": ["1 ns", "2 ns"]}, "replicates": 2, "machine.cpus": 9}


def again(experiment: Experiment, folder: Path) -> Experiment:
    """What the folder of a run of *experiment* says, where none of its files is left."""
    run(experiment, out=folder, task=measure)
    for file in folder.parent.glob("**/*.yaml"):
        file.unlink()
    return experiment_of(folder)[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        SWEEP,
        {"overrides": {"busy": {"design.syscall": "7 ns"}}},
        {"parameters": {"design.syscall": "3 ns"}},
        {"only": [{"threads": "<= 8"}], "schedule": "shuffle"},
    ],
)
def test_do_the_same_points_come_back(house: Path, changes: dict[str, object]) -> None:
    experiment = load("pair", changes)
    assert [p.id for p in again(experiment, house / "out").points] == [p.id for p in experiment.points]


def test_does_a_run_of_another_model_say_so(
    pair: Experiment, house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pair, out="out", task=measure)
    manifest = read_manifest(house / "out")
    assert manifest is not None
    assert is_of_this_model(manifest)
    monkeypatch.setattr(model, "model_version", lambda: "fake model 2")
    assert not is_of_this_model(manifest)


def test_is_what_is_no_whole_run_refused(pair: Experiment, house: Path) -> None:
    (house / "empty").mkdir()
    assert faults_of(experiment_of, Path("empty")) == [
        "empty: no run: it has no manifest.json (allowed: the folder of a run)"
    ]
    run(pair, out="part", shard=Shard(1, 2), task=measure)
    assert faults_of(experiment_of, Path("part")) == [
        "part: a part of a run (allowed: the folder that `cortensim merge` made)"
    ]


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        ([], 32),
        (["threads=8"], 8),
        (["threads=8,design=calm"], 4),
        (["threads=> 2, design=calm", "threads=1,design=busy"], 12),
        (["threads=1..2"], 16),
        (["design.syscall=2 ns"], 16),
    ],
)
def test_which_points_are_meant(house: Path, texts: list[str], count: int) -> None:
    points = load("pair", {"sweep": {"design.syscall": ["1 ns", "2 ns"]}}).points
    assert len(choose(points, texts)) == count


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("threads", "not of this form (got 'threads'; allowed: key=value,key=value, such as "
                    "design=linux-6.13,threads=64)"),
        ("thread=1", "thread: not a property of a point (allowed: machine, design, workload, placement, "
                     "threads, replicate; did you mean 'threads'?)"),
        ("design=bussy", "design: no design of these points (got 'bussy'; allowed: calm, busy; "
                         "did you mean 'busy'?)"),
        ("threads=3", "no point is like this (allowed: design=calm|busy, placement=low|high, "
                      "threads=1|2|4|8)"),
    ],
)  # fmt: skip
def test_is_what_no_point_is_refused(pair: Experiment, text: str, fault: str) -> None:
    assert faults_of(choose, pair.points, [text]) == [f"--point {text}: {fault}"]
