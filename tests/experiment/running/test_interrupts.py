"""Does the first Ctrl-C let running points finish, and the second stop at once?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import measure

from sim.experiment import Experiment, Outcome, Point, execute, patient, run
from sim.experiment.running.interrupts import hidden_from_children


@pytest.fixture(autouse=True)
def listens_to_ctrl_c() -> Iterator[None]:
    """A shell that starts the tests in the background makes them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0)


def test_is_the_first_ctrl_c_a_request_and_the_second_an_exception() -> None:
    said: list[str] = []
    with patient(lambda: said.append("stopping")) as stop:
        assert not stop()
        press()
        assert stop()
        assert said == ["stopping"]
        with pytest.raises(KeyboardInterrupt):
            press()
    with pytest.raises(KeyboardInterrupt):
        press()


def test_are_children_spared_from_their_first_moment_on() -> None:
    code = "import signal; print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []))"
    with hidden_from_children():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"True\n"
    with pytest.raises(KeyboardInterrupt):
        press()


def test_is_the_running_point_finished_and_kept(pair: Experiment, house: Path) -> None:
    seen: list[Point] = []

    def press_at_third(point: Point) -> Outcome:
        seen.append(point)
        if len(seen) == 3:
            press()
        return measure(point)

    with pytest.raises(KeyboardInterrupt), patient(lambda: None) as stop:
        run(pair, out="out", task=press_at_third, stop=stop)
    assert len(seen) == 3
    rest: list[Point] = []
    run(pair, out="out", resume=True, task=lambda point: rest.append(point) or measure(point))  # type: ignore[func-returns-value]
    assert len(rest) == 13


def test_do_workers_finish_what_they_have(pair: Experiment) -> None:
    outcomes: list[Outcome] = []
    outcomes.extend(execute(pair.points, 2, measure, lambda: bool(outcomes)))
    assert 1 <= len(outcomes) <= 3
