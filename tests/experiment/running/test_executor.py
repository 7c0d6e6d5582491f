"""Do the workers change anything, and what if one dies?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fakes
import pytest

from sim.errors import ModelError
from sim.experiment import Experiment, execute, run_point, run_points
from sim.experiment.running import finish


def test_is_a_failure_a_row_of_one_line(pair: Experiment) -> None:
    frame = run_points(pair.points, task=fakes.fail_at_four)
    failed = frame[frame["status"] == "failed"]
    assert set(failed["threads"]) == {4}
    assert set(failed["error"]) == {"BudgetExceeded: more than 10 events"}
    assert failed["throughput_ops_per_us"].isna().all()
    assert failed["events"].isna().all()


def test_is_an_unforeseen_error_a_row_with_its_traceback_kept(
    pair: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(point: object, schedule: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("sim.experiment.running.simulation.simulate", broken)
    outcome = run_point(pair.points[0])
    assert outcome.row.error == "internal error: KeyError: 'x'"
    assert "in broken" in outcome.trace


def test_is_a_broken_invariant_named(pair: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(point: object, schedule: object) -> None:
        raise ModelError("two owners")

    monkeypatch.setattr("sim.experiment.running.simulation.simulate", broken)
    assert run_point(pair.points[0]).row.error == "ModelError: two owners"


def test_do_workers_leave_order_and_values_alone(pair: Experiment) -> None:
    alone = finish(pair.points, 1, task=fakes.measure)
    assert finish(pair.points, 3, task=fakes.measure) == alone


def test_does_the_order_of_points_leave_their_outcomes_alone(pair: Experiment) -> None:
    backwards = finish(pair.points[::-1], 2, task=fakes.measure)
    assert backwards[::-1] == finish(pair.points, 1, task=fakes.measure)


@pytest.mark.slow
def test_does_a_point_that_kills_its_worker_fail_alone(pair: Experiment) -> None:
    outcomes = finish(pair.points, 2, task=fakes.die_at_four)
    assert [o.row.threads for o in outcomes if o.failed] == [4, 4, 4, 4]
    assert all(o.transient for o in outcomes if o.failed)
    assert {o.row.error for o in outcomes if o.failed} == {
        "the worker process died (killed, or out of memory)"
    }


@pytest.mark.ci
def test_does_a_point_get_a_second_chance(
    pair: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTENSIM_TEST_MARK", str(tmp_path))
    assert finish(pair.points, 2, task=fakes.die_once) == finish(pair.points, 1, task=fakes.measure)


def test_can_a_sweep_be_left_halfway(pair: Experiment) -> None:
    outcomes = execute(pair.points, 2, fakes.measure)
    first = next(outcomes)
    outcomes.close()
    assert first.row.threads == 8


def test_is_a_script_without_a_main_guard_told_so(house: Path) -> None:
    script = house / "unguarded.py"
    script.write_text(
        "from fakes import measure\n"
        "from sim.experiment import execute\n"
        "from types import SimpleNamespace\n"
        "list(execute([SimpleNamespace(threads=1)] * 2, 2, measure))\n"
    )
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert (
        "InputError: worker processes cannot start: in a script, put what runs"
        in done.stderr.splitlines()[-1]
    )
