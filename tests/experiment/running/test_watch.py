"""Is a point that takes too much of the machine given up, and nothing else touched?"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fakes import measure

from sim.errors import Exhausted
from sim.experiment import Experiment, load, run, run_point
from sim.experiment.running.watch import watched
from sim.files import BudgetSpec


def budget(**values: str) -> BudgetSpec:
    return BudgetSpec.model_validate(values)


def spin(seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            sum(range(1000))
        except Exception:
            pytest.fail("the simulation saw it")


def hoard() -> None:
    kept = []
    for _ in range(200):
        kept.append(b"x" * (4 << 20))
        time.sleep(0.005)


def test_is_a_slow_body_stopped() -> None:
    started = time.monotonic()
    with pytest.raises(Exhausted, match=r"more than 0.05 s of wall time"), watched(budget(wall="50 ms")):
        spin()
    assert time.monotonic() - started < 1


def test_is_a_greedy_body_stopped() -> None:
    with pytest.raises(Exhausted, match="more than 64 MiB of memory"), watched(budget(memory="64 MiB")):
        hoard()


def test_is_a_modest_body_left_alone_and_nothing_raised_later() -> None:
    with watched(budget(wall="50 ms", memory="64 MiB")):
        pass
    spin(0.1)


def test_does_another_exception_pass() -> None:
    with pytest.raises(KeyError), watched(budget(wall="1 min")):
        raise KeyError


def test_is_an_exhausted_point_a_failed_row_that_is_tried_again(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load("pair", {"threads": [1], "designs": ["calm"], "budget.wall": "30 ms"})
    monkeypatch.setattr("sim.experiment.running.simulation.simulate", lambda *_: spin())
    frame = run(experiment, out="out")
    assert set(frame["error"]) == {"Exhausted: more than 0.03 s of wall time"}
    again = run(experiment, out="out", resume=True, task=measure)
    assert set(again["status"]) == {"ok"}


def test_does_what_a_point_may_take_of_the_machine_leave_the_id_alone(pair: Experiment) -> None:
    limited = load("pair", {"budget.wall": "10 min", "budget.memory": "2 GiB"})
    assert [p.id for p in limited.points] == [p.id for p in pair.points]


def test_is_running_out_of_memory_a_failed_row(pair: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sim.experiment.running.simulation.simulate", greedy)
    outcome = run_point(pair.points[0])
    assert (outcome.row.error, outcome.transient) == ("out of memory", True)
