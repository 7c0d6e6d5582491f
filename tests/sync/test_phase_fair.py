"""Do reader and writer phases take turns?"""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from locks import Turn, follow, phase_fair, schedules
from machines import HIT, NS, RMW, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import PhaseFairLock

US = 1000 * NS


class Observed:
    """Runs a schedule and notes for each reader how many writer phases ended while it waited."""

    def __init__(self, machine: Machine, schedule: list[list[Turn]]) -> None:
        self.lock = phase_fair(machine)
        self.phases = 0
        self.reader_waits: list[int] = []
        self.writer_order: list[tuple[str, int]] = []
        run(machine, {cpu: lambda cpu: self._body(cpu, schedule[cpu.id]) for cpu in range(len(schedule))})

    def _body(self, cpu: Cpu, turns: list[Turn]) -> Steps[None]:
        lock = self.lock
        for turn in turns:
            think, write, inside = turn.think, turn.write, turn.inside
            cpu.work(think, Activity("user"))
            if write:
                yield from lock.write_lock(cpu)
                cpu.work(inside, Activity("inside"))
                yield from lock.write_unlock(cpu)
                self.phases += 1
            else:
                # The ticket is drawn where the access to rin is granted, not before.
                entered = lock._entered
                reader = lock.read_lock(cpu)
                before = None
                result = None
                while True:
                    try:
                        yielded = reader.send(result)
                    except StopIteration:
                        break
                    if before is None and lock._entered > entered:
                        before = lock._phase
                    result = yield yielded
                self.reader_waits.append(0 if before is None else lock._phase - before)
                cpu.work(inside, Activity("inside"))
                yield from lock.read_unlock(cpu)


def test_is_a_reader_let_in_between_two_waiting_writers() -> None:
    """Writers queue up from the start; readers that come later get in after the one that is inside."""
    machine = small_machine()
    schedule = [[Turn(0, True, 10 * US)] * 2 for _ in range(4)] + [
        [Turn(5 * US, False, 1 * US)] for _ in range(4)
    ]
    watch = follow(machine, phase_fair(machine), schedule)
    kinds = [write for _, write in watch.entries]
    assert kinds == [True] + [False] * 4 + [True] * 7


def test_are_writers_not_starved_by_readers() -> None:
    """Readers without a pause: each writer waits for one reader phase only."""
    machine = small_machine()
    schedule = [[Turn(0, False, 2 * US)] * 40 for _ in range(8)] + [[Turn(3 * US, True, 1 * US)] * 5]
    watch = follow(machine, phase_fair(machine), schedule)
    writes = [position for position, (_, write) in enumerate(watch.entries) if write]
    between = [after - before - 1 for before, after in pairwise(writes)]
    assert max(between) <= 2 * 8  # those inside when the writer comes, and those that waited for the last one


def test_are_writers_served_in_the_order_they_came() -> None:
    machine = small_machine()
    order = [6, 2, 9, 0, 13]
    schedule: list[list[Turn]] = [[Turn(0, False, 50 * US)] if cpu == 15 else [] for cpu in range(16)]
    for position, cpu in enumerate(order):
        schedule[cpu] = [Turn((1 + position) * US, True, 1 * US)]
    watch = follow(machine, phase_fair(machine), schedule)
    assert [cpu for cpu, write in watch.entries if write] == order


@given(schedules(cpus=10, turns=5))
def test_does_a_reader_wait_for_at_most_one_writer_phase(schedule: list[list[Turn]]) -> None:
    observed = Observed(small_machine(), schedule)
    assert max(observed.reader_waits, default=0) <= 1


@pytest.mark.parametrize(("write", "cost"), [(True, 6 * RMW + HIT), (False, 2 * RMW)])
def test_how_many_read_modify_writes_is_an_uncontended_turn(write: bool, cost: int) -> None:
    machine = small_machine()
    lock = phase_fair(machine)
    lock.line.owner = 0
    follow(machine, lock, [[Turn(0, write, 0)]])
    assert machine.cpus[0].spent["lock"] == cost


def test_are_holders_known() -> None:
    machine = small_machine()
    lock = phase_fair(machine)
    seen: list[tuple[int, Cpu | None]] = []

    def reader(cpu: Cpu) -> Steps[None]:
        yield from lock.read_lock(cpu)
        cpu.work(10 * US, Activity("inside"))
        yield cpu.take_pending()
        seen.append((lock.readers, lock.writer))
        yield from lock.read_unlock(cpu)

    def writer(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from lock.write_lock(cpu)
        seen.append((lock.readers, lock.writer))
        yield from lock.write_unlock(cpu)

    run(machine, {0: reader, 1: reader, 2: writer})
    assert seen == [(2, None), (1, None), (0, machine.cpus[2])]
    assert (lock.readers, lock.writer) == (0, None)
    assert isinstance(lock, PhaseFairLock)
