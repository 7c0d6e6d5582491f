"""The seqlock: is what a reader accepts what one writer left, and does a writer never wait for readers?"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locks import LOCK, Turn, disturb, random_schedule, schedules
from machines import HIT, NS, run, small_machine, with_order

from sim.engine import Activity, ScheduleName, Steps
from sim.hardware import Cpu, Machine
from sim.sync import QueueNodes, SeqLock

US = 1000 * NS


def seqlock(machine: Machine) -> SeqLock:
    return SeqLock(QueueNodes(machine, "qspin"), machine.line("seqlock", owner=0), LOCK)


def reads(lock: SeqLock, cpu: Cpu, inside: int) -> Steps[None]:
    """A reader's turn. Value: how often it had to read."""
    tries, again = 0, True
    while again:
        tries += 1
        sequence = yield from lock.read_begin(cpu)
        cpu.work(inside, Activity("inside"))
        again = yield from lock.read_retry(cpu, sequence)
    return tries


class Halves:
    """Two variables that a writer changes one after the other; a reader looks at them in this order."""

    def __init__(self, machine: Machine, schedule: list[list[Turn]]) -> None:
        self.lock = seqlock(machine)
        self.values = [0, 0]
        self.writers = 0
        self.accepted = 0
        run(machine, {cpu: lambda cpu: self._body(cpu, schedule[cpu.id]) for cpu in range(len(schedule))})

    def _body(self, cpu: Cpu, turns: list[Turn]) -> Steps[None]:
        for turn in turns:
            think, write, inside = turn.think, turn.write, turn.inside
            cpu.work(think, Activity("user"))
            yield from self._write(cpu, inside) if write else self._read(cpu, inside)

    def _write(self, cpu: Cpu, inside: int) -> Steps[None]:
        yield from self.lock.write_lock(cpu)
        self.writers += 1
        assert self.writers == 1
        for half in range(2):
            cpu.work(inside // 2, Activity("inside"))
            yield cpu.take_pending()
            self.values[half] += 1
        self.writers -= 1
        yield from self.lock.write_unlock(cpu)

    def _read(self, cpu: Cpu, inside: int) -> Steps[None]:
        while True:
            sequence = yield from self.lock.read_begin(cpu)
            found = []
            for half in range(2):
                cpu.work(inside // 2, Activity("inside"))
                yield cpu.take_pending()
                found.append(self.values[half])
            again = yield from self.lock.read_retry(cpu, sequence)
            if not again:
                break
        assert found[0] == found[1] == sequence // 2
        self.accepted += 1


@given(
    schedule=schedules(cpus=8),
    rule=st.sampled_from(["fifo", "random", "cluster-first"]),
    ties=st.sampled_from(["fifo", "shuffle"]),
    seed=st.integers(0, 9),
)
def test_is_what_a_reader_accepts_of_one_writer(
    schedule: list[list[Turn]], rule: str, ties: ScheduleName, seed: int
) -> None:
    machine = small_machine(with_order(rule), ties=ties, seed=seed)
    disturb(machine, len(schedule))
    halves = Halves(machine, schedule)
    assert halves.accepted == sum(not turn.write for turns in schedule for turn in turns)


def many_schedules(seeds: range) -> None:
    for seed in seeds:
        draw = Random(seed)
        order = with_order(draw.choice(["fifo", "random", "cluster-first"]), draw.randint(1, 4))
        machine = small_machine(order, ties=draw.choice(["fifo", "shuffle"]), seed=seed)
        cpus = draw.randint(2, 16)
        schedule = random_schedule(machine, cpus, turns=4, write_share=draw.choice([0.1, 0.5, 0.9]))
        disturb(machine, cpus, until=draw.choice([1, 50_000 * NS]))
        Halves(machine, schedule)


def test_do_crowded_schedules_end_with_every_reader_satisfied() -> None:
    many_schedules(range(200))


@pytest.mark.slow
def test_do_ten_thousand_schedules_end_with_every_reader_satisfied() -> None:
    many_schedules(range(10_000))


def test_does_an_undisturbed_reader_look_twice_at_its_own_copy() -> None:
    machine = small_machine()
    lock = seqlock(machine)
    tries = []

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(10):
            count = yield from reads(lock, cpu, 100 * NS)
            tries.append(count)

    run(machine, {0: body})
    assert tries == [1] * 10
    assert machine.cpus[0].spent[LOCK] == 20 * HIT


def test_does_a_writer_come_in_beside_readers_and_make_them_read_again() -> None:
    machine = small_machine()
    lock = seqlock(machine)
    tries: dict[int, int] = {}
    entered: list[int] = []

    def reader(cpu: Cpu) -> Steps[None]:
        tries[cpu.id] = yield from reads(lock, cpu, 50 * US)

    def writer(cpu: Cpu) -> Steps[None]:
        cpu.work(10 * US, Activity("user"))
        yield from lock.write_lock(cpu)
        entered.append(cpu.now)
        cpu.work(1 * US, Activity("inside"))
        yield from lock.write_unlock(cpu)

    run(machine, {0: writer, 1: reader, 2: reader})
    assert entered[0] < 11 * US
    assert tries == {1: 2, 2: 2}


def test_does_a_reader_that_meets_a_writer_wait_for_its_end() -> None:
    machine = small_machine()
    lock = seqlock(machine)
    begun: list[int] = []

    def writer(cpu: Cpu) -> Steps[None]:
        yield from lock.write_lock(cpu)
        cpu.work(20 * US, Activity("inside"))
        yield from lock.write_unlock(cpu)

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        sequence = yield from lock.read_begin(cpu)
        assert sequence == 2
        begun.append(cpu.now)

    run(machine, {0: writer, 1: reader, 8: reader})
    assert all(20 * US < when < 21 * US for when in begun)
