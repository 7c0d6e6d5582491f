"""What is a run without a lock: does nobody wait, and does one that costs nothing still keep its order?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from locks import (
    EXCLUSIVE,
    LOCK,
    SHARED,
    ReaderWriter,
    drowsy_mutex,
    follow,
    queued_spin,
    random_schedule,
    rwsem,
)
from machines import NS, run, small_machine

from sim.engine import Activity, Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.sync import LocksWithout, QueueNodes, SeqLock, Without
from sim.verify.locks import range_lock

HOLD = 1_000 * NS
ABSENT, FREE = Without(locks=(LOCK.name,)), Without(handovers=(LOCK.name,))
GIVEN_BACK = Without(waits=(LOCK.name,))
Build = Callable[[Machine], ReaderWriter]
LOCKS = [build for build in EXCLUSIVE + SHARED if build is not range_lock]
AWAKE = [build for build in LOCKS if build is not drowsy_mutex]
"""Locks whose holders do not sleep on their own account."""
ALL = pytest.mark.parametrize("build", LOCKS, ids=lambda build: build.__name__)
ALL_AWAKE = pytest.mark.parametrize("build", AWAKE, ids=lambda build: build.__name__)


def machine_without(without: Without, seed: int = 0) -> Machine:
    machine = small_machine(seed=seed)
    rule = LocksWithout(without)
    for cpu in machine.cpus:
        cpu.rule_locks(rule)
    return machine


def elapsed(without: Without, build: Build, threads: int, *, read: bool = False) -> int:
    """How long it takes until each of so many cpus has held the lock once."""
    machine = machine_without(without)
    lock = build(machine)

    def hold(cpu: Cpu) -> Steps[None]:
        yield from lock.read_lock(cpu) if read else lock.write_lock(cpu)
        cpu.work(HOLD, Activity("inside"))
        yield from lock.read_unlock(cpu) if read else lock.write_unlock(cpu)
        if cpu.pending:
            yield cpu.take_pending()

    run(machine, dict.fromkeys(range(threads), hold))
    return machine.engine._now


@ALL_AWAKE
def test_does_nobody_wait_for_a_lock_that_does_not_exist(build: Build) -> None:
    assert elapsed(ABSENT, build, 6) == HOLD


@ALL_AWAKE
def test_does_a_lock_that_costs_nothing_take_the_time_of_its_owners(build: Build) -> None:
    assert elapsed(FREE, build, 6) == 6 * HOLD


def test_are_readers_together_in_a_lock_that_costs_nothing() -> None:
    assert elapsed(FREE, rwsem, 6, read=True) == HOLD
    assert elapsed(FREE, queued_spin, 6, read=True) == 6 * HOLD


@ALL
def test_does_a_lock_that_costs_nothing_keep_out_whom_it_must(build: Build) -> None:
    for seed in range(3):
        machine = machine_without(FREE, seed)
        schedule = random_schedule(machine, 6, 6, 0.4)
        follow(machine, build(machine), schedule, exclusive=build in EXCLUSIVE)


def test_is_another_lock_as_it_was() -> None:
    assert elapsed(Without(locks=("lock: other",)), queued_spin, 3) == elapsed(Without(), queued_spin, 3)


def test_does_a_lock_that_is_more_than_one_refuse() -> None:
    machine = machine_without(ABSENT)
    lock = SeqLock(QueueNodes(machine, "seq"), machine.line("seqlock"), LOCK)
    with pytest.raises(ModelError, match="seqlock is more than a lock"):
        run(machine, {0: lambda cpu: lock.write_lock(cpu)})
    ranges = range_lock(machine)
    with pytest.raises(ModelError, match="is more than a lock"):
        run(machine, {1: lambda cpu: ranges.write_lock(cpu)})
