"""Can a schedule be chosen, recorded and replayed from the command line?"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from answers import Command

FAST = ("--workers", "1", "--no-plots")


@pytest.mark.ci
def test_is_a_recorded_point_the_same_when_it_is_replayed(command: Command, folder: Path) -> None:
    recording = command("run", "e.yaml", "--schedule", "priority:3", "--record-schedule", "kept", *FAST)
    assert recording.code == 0, recording.err
    files = sorted(Path("kept").iterdir())
    assert len(files) == 4
    points = pd.read_csv("results/e/points.csv")
    for number, file in enumerate(files):
        answer = command("run", "e.yaml", "--replay-schedule", file, "--out", f"again{number}", *FAST)
        assert answer.code == 0, answer.err
        again = pd.read_csv(f"again{number}/points.csv")
        assert len(again.merge(points)) == len(again) == 1


@pytest.mark.ci
def test_is_the_schedule_a_part_of_what_is_resumed(command: Command, folder: Path) -> None:
    assert command("run", "e.yaml", *FAST).code == 0
    answer = command("run", "e.yaml", "--schedule", "shuffle", "--resume", *FAST)
    assert answer.code == 2
    assert "cannot resume: 4 of the 4 points that finished well do not belong to this" in answer.err
    assert command("run", "e.yaml", "--schedule", "fifo", "--resume", *FAST).code == 0


@pytest.mark.ci
def test_is_a_point_that_does_not_follow_its_schedule_a_failed_one(command: Command, folder: Path) -> None:
    assert command("run", "e.yaml", "--record-schedule", "kept", *FAST).code == 0
    file = min(Path("kept").iterdir())
    tree = json.loads(file.read_text())
    tree["runs"][0]["time_ps"] += 1
    file.write_text(json.dumps(tree))
    answer = command("run", "e.yaml", "--replay-schedule", file, "--out", "again", *FAST)
    assert answer.code == 1
    assert "1 of 1 points failed; the first: ReplayError: the schedule does not fit run 0" in answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--schedule", "lifo"), "--schedule lifo: schedule: must be fifo, shuffle, priority"),
        (
            ("--schedule", "fifo", "--replay-schedule", "e.yaml"),
            "--schedule and --replay-schedule: contradict",
        ),
        (("--replay-schedule", "gone.json"), "gone.json: cannot read the file: no such file"),
        (("--replay-schedule", "e.yaml"), "e.yaml: Invalid JSON"),
        (("--record-schedule", "e.yaml"), "e.yaml: "),
        (
            ("--record-schedule", "kept", "--executor", "dask", "--scheduler", "tcp://127.0.0.1:1"),
            "--record-schedule: is for points that run on this machine (allowed: --executor processes)",
        ),
    ],
)
def test_is_an_option_that_cannot_be_used_refused(
    options: tuple[str, ...], message: str, command: Command, folder: Path
) -> None:
    answer = command("run", "e.yaml", *options, *FAST)
    assert answer.code == 2
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert not Path("results").exists()
