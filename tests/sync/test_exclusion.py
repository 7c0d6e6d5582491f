"""Does every lock keep out whom it must, and let in everybody in the end?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locks import (
    EXCLUSIVE,
    SHARED,
    ReaderWriter,
    Turn,
    disturb,
    drowsy_mutex,
    follow,
    percpu_rwsem,
    random_schedule,
    schedules,
    sharded_rwsem,
    ticket,
)
from machines import NS, RMW, small_machine, with_order

from sim.engine import InjectedDelays, Schedule, ScheduleName
from sim.engine.schedule import Priority, Shuffle
from sim.hardware import Machine

Build = Callable[[Machine], ReaderWriter]

RULES = ["fifo", "random", "cluster-first"]
TIES = ["fifo", "shuffle"]
ADVERSARIES: dict[str, Schedule] = {
    "priority": partial(Priority, depth=3, decisions=50),
    "delays": InjectedDelays(Shuffle, chance=0.2, up_to=3_000 * NS),
}
ALL = pytest.mark.parametrize("build", EXCLUSIVE + SHARED, ids=lambda build: build.__name__)


@ALL
@pytest.mark.parametrize("ties", TIES)
@given(schedule=schedules(), rule=st.sampled_from(RULES), seed=st.integers(0, 9))
@pytest.mark.ci
def test_does_any_schedule_end_without_a_broken_rule(
    build: Build, ties: ScheduleName, schedule: list[list[Turn]], rule: str, seed: int
) -> None:
    machine = small_machine(with_order(rule, 2), ties=ties, seed=seed)
    follow(machine, build(machine), schedule, exclusive=build in EXCLUSIVE)


@ALL
@pytest.mark.parametrize("ties", TIES)
def test_do_crowded_schedules_end_without_a_broken_rule(build: Build, ties: ScheduleName) -> None:
    many_schedules(build, ties, range(50))


@ALL
@pytest.mark.parametrize("adversary", ADVERSARIES.values(), ids=list(ADVERSARIES))
def test_do_crowded_schedules_end_against_an_adversary(build: Build, adversary: Schedule) -> None:
    many_schedules(build, adversary, range(50))


@ALL
def test_do_crowded_schedules_end_where_requests_take_time_to_arrive(build: Build) -> None:
    many_schedules(build, "shuffle", range(50), {"coherence": {"probe": 0.4, "shared_read_inside": "5 ns"}})


@pytest.mark.parametrize("seed", [589, 769, 1002])
def test_do_schedules_end_that_once_lost_a_waiter(seed: int) -> None:
    """A ticket waiter's load lay between a release's grant and its store, which an interrupt held up."""
    many_schedules(ticket, "shuffle", range(seed, seed + 1))


@pytest.mark.slow
@ALL
@pytest.mark.parametrize("ties", TIES)
def test_do_ten_thousand_schedules_end_without_a_broken_rule(build: Build, ties: ScheduleName) -> None:
    many_schedules(build, ties, range(10_000))


def many_schedules(
    build: Build, ties: Schedule | ScheduleName, seeds: range, changes: Mapping[str, Any] | None = None
) -> None:
    for seed in seeds:
        draw = Random(seed)
        order = with_order(draw.choice(RULES), draw.randint(1, 4))["coherence"]
        coherence = {**order, **(changes or {}).get("coherence", {})}
        machine = small_machine({"coherence": coherence}, ties=ties, seed=seed)
        cpus = draw.randint(2, 16)
        schedule = random_schedule(machine, cpus, turns=4, write_share=draw.choice([0.1, 0.5, 0.9]))
        if draw.random() < 0.5:
            disturb(machine, cpus, until=draw.choice([2_000 * NS, 50_000 * NS]))
        follow(machine, build(machine), schedule, exclusive=build in EXCLUSIVE)


@pytest.mark.parametrize("build", SHARED, ids=lambda build: build.__name__)
def test_are_readers_inside_together(build: Build) -> None:
    machine = small_machine()
    stay = 100_000 * NS
    follow(machine, build(machine), [[Turn(0, False, stay)]] * 8)
    assert machine.engine.now < 2 * stay


@pytest.mark.parametrize(
    "build",
    [build for build in EXCLUSIVE + SHARED if build not in (drowsy_mutex, sharded_rwsem)],
    ids=lambda build: build.__name__,
)
def test_is_an_uncontended_lock_taken_again_without_a_transfer(build: Build) -> None:
    """After the first turn all lines are the cpu's own: what remains is RMWs and hits.

    The per-cpu semaphore is taken for reading; its writers wait for a grace period. The sharded one has as
    many lines as there are cpus.
    """
    machine = small_machine()
    lock = build(machine)
    turn = [[Turn(0, build is not percpu_rwsem, 0)]]
    follow(machine, lock, turn)
    machine.cpus[0].open_account()
    began = machine.engine.now
    follow(machine, lock, turn)
    assert 0 < machine.engine.now - began < 7 * RMW
