"""Does `run --check` give the results of `run`, and fail where a kernel breaks a rule?"""

from __future__ import annotations

import re

import pandas as pd
import pytest
from answers import Command

from sim.designs.linux.space_locks import SpaceLocks
from sim.experiment import KEY
from sim.hardware import InterruptController

WORKERS = ("--workers", "1", "--no-plots")


@pytest.mark.ci
@pytest.mark.usefixtures("folder")
def test_are_the_results_the_same(command: Command) -> None:
    for out, options in (("plain", ()), ("checked", ("--check",))):
        answer = command("run", "e.yaml", "--out", out, *WORKERS, *options)
        assert answer.code == 0, answer.err
    plain, checked = (pd.read_csv(f"{out}/points.csv") for out in ("plain", "checked"))
    pd.testing.assert_frame_equal(plain, checked)


@pytest.mark.usefixtures("folder")
def test_is_a_point_that_breaks_a_rule_a_failed_one(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SpaceLocks, "lock_all", lambda locks, cpu: locks.mmap_lock.read_lock(cpu))
    monkeypatch.setattr(SpaceLocks, "unlock", lambda locks, cpu: locks.mmap_lock.read_unlock(cpu))
    answer = command("run", "e.yaml", "--out", "noticed", "--check", *WORKERS)
    assert answer.code == 1
    assert (
        "2 of 4 points failed; the first: Violation: mappings change under the lock that guards them"
        in answer.err
    )
    points = pd.read_csv("noticed/points.csv").set_index(list(KEY))
    assert list(points["status"]) == ["failed", "failed", "ok", "ok"]
    error = points["error"].iloc[1]
    assert "--check --machine epyc-9965-guest --designs linux-6.13 --threads 2 (linux-6.13 pf low x2" in error
    assert "seed " in error


@pytest.mark.ci
@pytest.mark.usefixtures("folder")
def test_is_a_checked_point_another_one_for_resume(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept without a check says nothing of one."""
    assert command("run", "e.yaml", "--out", "run", *WORKERS).code == 0
    answer = command("run", "e.yaml", "--out", "run", "--check", "--resume", *WORKERS)
    assert answer.code == 2
    assert "Traceback" not in answer.err


@pytest.mark.usefixtures("folder")
def test_does_a_point_whose_threads_wait_for_ever_end_and_say_why(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No interrupt arrives. RCU's tick goes on, so the engine sees no deadlock: the simulated time ends."""
    monkeypatch.setattr(InterruptController, "_arrive", lambda *_: None)
    unmap = ("run", "e.yaml", "--set", "workloads=[unmap]", "--designs", "linux-6.13", "--threads", "2")
    answer = command(*unmap, "--check", *WORKERS)
    assert answer.code == 1
    assert "every wait comes to an end (I15): deadlock" in answer.err
    assert re.search(r"waits for the answer of cpu \d+ to its call; it has mmap_lock", answer.err)
