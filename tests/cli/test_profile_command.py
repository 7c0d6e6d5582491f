"""What does `cortensim profile` say, and does it say so where its rows are not those of the run?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from answers import EXPERIMENT, Command

import sim
from sim.analysis import object_profile
from sim.experiment import KEY
from sim.profile import HOLD_COLUMNS, OBJECT_COLUMNS

WORKERS = ("--workers", "1")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "e.yaml").write_text(EXPERIMENT.replace("[pf]", "[unmap]"))
    sim.run(sim.load(str(folder / "e.yaml"), {"workload.pooled_threads": 2}), out=folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished: Path, folder: Path) -> Path:
    """A copy of it in the current directory."""
    return Path(shutil.copytree(finished, folder / "results/e"))


def test_what_is_written_and_said(command: Command, run: Path) -> None:
    answer = command("profile", "e", *WORKERS)
    assert answer.code == 0, answer.err
    assert "the profiled points gave the rows of the run again, to the byte" in answer.out
    assert answer.out.count("an operation takes") == 2  # two designs with two threads
    assert "mmap_lock is waited for" in answer.out
    assert "who has it to write keeps it for" in answer.out
    for name, columns in OBJECT_COLUMNS.items():
        table = pd.read_csv(run / "profile" / f"{name}.csv", keep_default_na=False)
        assert list(table.columns) == [*KEY, *columns]
        assert set(table["threads"]) == {2}
    locks = pd.read_csv(run / "profile/locks.csv")
    assert list(locks[list(HOLD_COLUMNS.values())].sum(axis=1)) == pytest.approx(list(locks["hold_ns"]))
    kinds = locks[locks["scope"] == "kind"]
    assert kinds["wait_share"].between(0, 1).all()
    assert {"mmap_lock", "L1 table *: PTL"} <= set(kinds["lock"])
    lines = pd.read_csv(run / "profile/lines.csv")
    assert (lines["queued_ns"] <= lines["time_ns"]).all()
    assert (lines["cpus"] <= 2).all()


@pytest.mark.ci
def test_are_the_tables_the_same_again(command: Command, run: Path) -> None:
    for out in ("first", "second"):
        answer = command("profile", "e", "--point", "design=cortenmm-adv,threads=1", "--out", out, *WORKERS)
        assert answer.code == 0, answer.err
    for name in OBJECT_COLUMNS:
        assert Path("first", f"{name}.csv").read_bytes() == Path("second", f"{name}.csv").read_bytes()
    assert not (run / "profile").exists()


def test_is_everything_in_json(command: Command, run: Path) -> None:
    answer = command("profile", "e", "--point", "design=cortenmm-adv", "--json", *WORKERS)
    summary = json.loads(answer.out.splitlines()[-1])
    assert (summary["points"], summary["failed"], summary["rows"]) == (2, 0, "same")
    assert all(Path(table).exists() for table in summary["tables"])
    assert len(summary["answers"]) == 2


def test_does_it_say_that_the_model_has_changed(
    command: Command, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_profile, "is_of_this_model", lambda _: False)
    answer = command("profile", "e", "--point", "design=cortenmm-adv,threads=1", *WORKERS)
    assert answer.code == 0
    assert "the model has changed since the run" in answer.out


def test_is_a_row_that_is_not_the_same_a_failure(command: Command, run: Path) -> None:
    points = run / "points.csv"
    lines = points.read_text().splitlines()
    lines = [line.replace(",ok,", ",ok,changed") if ",1," in line else line for line in lines]
    points.write_text("\n".join(lines) + "\n")
    answer = command("profile", "e", "--point", "design=cortenmm-adv,threads=1", *WORKERS)
    assert answer.code == 1
    assert "gave other rows than the run has" in answer.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "nowhere: no such run"),
        (("e", "--point", "design=linux"), "no design of these points"),
        (("e", "--point", "colour=red"), "not a property of a point"),
        (("e", "--top", "0"), "not a number of rows: '0'"),
    ],
)
def test_what_is_refused(command: Command, run: Path, arguments: tuple[str, ...], says: str) -> None:
    answer = command("profile", *arguments, *WORKERS)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


@pytest.mark.ci
def test_has_python_the_tables_as_frames(finished: Path) -> None:
    chosen = ["design=cortenmm-adv,threads=2"]
    of_run = sim.profile_of(finished, chosen)
    experiment = sim.load(str(finished.parent / "e.yaml"), {"workload.pooled_threads": 2})
    of_experiment = sim.profile_of(experiment, chosen)
    for name, table in of_run.tables.items():
        pd.testing.assert_frame_equal(table, of_experiment.tables[name])
    assert set(of_run.locks["design"]) == {"cortenmm-adv"}
