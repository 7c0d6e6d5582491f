"""Does a sharded rwsem let in beside each other whom its modes let in, and nobody else?"""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
from machines import NS, RWSEM, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import QueueNodes, RwSemTuning, Scheduler, ShardedRwSem
from sim.verify.machines import run

LOCK = Activity("lock")
INSIDE = Activity("inside")
MODES = ("local R", "local W", "global R", "global W")
TOGETHER = {
    ("local R", "local R"),
    ("local R", "local W"),
    ("local R", "global R"),
    ("global R", "global R"),
    ("local W", "local W"),
}
"""On different cpus."""


def sharded(machine: Machine) -> ShardedRwSem:
    tuning = RwSemTuning.model_validate(RWSEM)
    nodes, scheduler = QueueNodes(machine, "osq"), Scheduler(machine)
    return ShardedRwSem(machine, "semaphore", nodes, scheduler, LOCK, tuning, machine.cpus[0])


def stays(lock: ShardedRwSem, cpu: Cpu, mode: str, inside: list[tuple[int, int]]) -> Steps[None]:
    """Noting from when to when *cpu* is inside."""
    which = lock.own(cpu) if mode.startswith("local") else lock
    writes = mode.endswith("W")
    yield from which.write_lock(cpu) if writes else which.read_lock(cpu)
    since = cpu.now
    cpu.work(5_000 * NS, INSIDE)
    yield cpu.take_pending()
    inside.append((since, cpu.now))
    yield from which.write_unlock(cpu) if writes else which.read_unlock(cpu)


@pytest.mark.parametrize(("one", "other"), list(product(MODES, MODES)))
def test_who_is_inside_beside_whom(one: str, other: str) -> None:
    machine = small_machine()
    lock, inside = sharded(machine), []
    first, second = (partial(stays, lock, mode=mode, inside=inside) for mode in (one, other))
    run(machine, {0: first, 2: second})
    (_, first_ends), (second_begins, _) = sorted(inside)
    assert (second_begins < first_ends) == bool({(one, other), (other, one)} & TOGETHER)


def test_is_nothing_held_when_not_all_shards_admit_a_reader() -> None:
    machine = small_machine()
    lock, found = sharded(machine), []

    def writes(cpu: Cpu) -> Steps[None]:
        yield from lock.own(cpu).write_lock(cpu)
        cpu.work(5_000 * NS, INSIDE)
        yield cpu.take_pending()
        yield from lock.own(cpu).write_unlock(cpu)

    def tries(cpu: Cpu) -> Steps[None]:
        cpu.work(1_000 * NS, INSIDE)
        yield cpu.take_pending()
        found.append((yield from lock.read_trylock(cpu)))
        found.append(sum(shard.readers for shard in lock.shards))

    run(machine, {2: writes, 0: tries})
    assert found == [False, 0]
