"""Is a point that is kept run once, found by whatever asks for it, and never taken from a run?"""

from __future__ import annotations

from pathlib import Path

import fakes
import pytest
from fakes import faults_of
from test_store import Counter

from sim.experiment import Experiment, run, run_points
from sim.experiment.results.journal import NAME as JOURNAL


def test_do_points_that_were_kept_before_a_stop_stay(pair: Experiment, house: Path) -> None:
    points = pair.points
    with pytest.raises(KeyboardInterrupt):
        run_points(points, task=Counter(5), keep=Path("kept"))
    rest = Counter()
    frame = run_points(points, task=rest, keep=Path("kept"))
    assert rest.seen == [point.id for point in points[5:]]
    assert frame.equals(run_points(points, task=fakes.measure))


def test_do_other_questions_find_the_points_that_they_share(pair: Experiment, house: Path) -> None:
    points = pair.points
    run_points(points[:4], task=Counter(), keep=Path("kept"))
    counter = Counter()
    frame = run_points(points[2:6], task=counter, keep=Path("kept"))
    assert counter.seen == [point.id for point in points[4:6]]
    assert list(frame["threads"]) == [point.threads for point in points[2:6]]


def test_is_the_folder_of_a_run_left_alone(pair: Experiment, house: Path) -> None:
    run(pair, out="out", task=fakes.measure)
    journal = Path("out", JOURNAL).read_bytes()
    faults = faults_of(run_points, pair.points[:1], 1, None, fakes.measure, Path("out"))
    assert "this folder holds a run, whose points are its own" in faults[0]
    assert Path("out", JOURNAL).read_bytes() == journal


def test_is_a_folder_with_other_files_left_alone(pair: Experiment, house: Path) -> None:
    Path("mine").mkdir()
    Path("mine", "letter.txt").write_text("dear", encoding="utf-8")
    faults = faults_of(run_points, pair.points[:1], 1, None, fakes.measure, Path("mine"))
    assert "this folder holds other files" in faults[0]
    assert [path.name for path in Path("mine").iterdir()] == ["letter.txt"]
