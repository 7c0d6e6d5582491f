"""Locks that are one word: how do they collapse, and who wins?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from locks import LOCK
from machines import HIT, NS, RMW, SAME_CLUSTER, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import McsLock, QueueNodes, TasLock, TicketLock

Lock = TasLock | TicketLock | McsLock


def ticket(machine: Machine) -> TicketLock:
    return TicketLock(machine.line("lock", owner=0), LOCK)


def mcs(machine: Machine) -> McsLock:
    return McsLock(QueueNodes(machine, "mcs"), machine.line("lock", owner=0), LOCK)


def time_a_turn(build: Callable[[Machine], Lock], threads: int, inside: int = 100 * NS) -> float:
    """ns from one entry to the next while everybody wants in."""
    machine = small_machine()
    lock = build(machine)
    turns = 30

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(turns):
            yield from lock.acquire(cpu)
            cpu.work(inside, Activity("inside"))
            yield from lock.release(cpu)

    run(machine, dict.fromkeys(range(threads), body))
    return machine.engine.now / (threads * turns) / NS


@pytest.mark.parametrize("kind", ["test and set", "ticket"])
def test_what_does_an_uncontended_turn_cost(kind: str) -> None:
    machine = small_machine()
    line = machine.line("lock", owner=0)
    lock = TicketLock(line, LOCK) if kind == "ticket" else TasLock(line, LOCK)

    def body(cpu: Cpu) -> Steps[None]:
        yield from lock.acquire(cpu)
        yield from lock.release(cpu)

    run(machine, {0: body})
    look = HIT if kind == "ticket" else 0
    assert machine.cpus[0].spent[LOCK] == RMW + look + HIT


def test_does_a_ticket_lock_get_slower_with_each_waiter_and_an_mcs_lock_not() -> None:
    """All waiters load the word again at each turn; from outside the cluster they do it one by one."""
    slow = {threads: time_a_turn(ticket, threads) for threads in (4, 8, 16)}
    fair = {threads: time_a_turn(mcs, threads) for threads in (8, 16)}
    assert slow[8] > 1.3 * slow[4]
    assert slow[16] > 1.3 * slow[8]
    assert slow[16] / slow[8] > fair[16] / fair[8]


def test_does_a_waiter_that_pauses_leave_the_word_to_the_holder() -> None:
    """Test-and-test-and-set: each look of a waiter takes the line from the holder, which fetches it back."""

    def end_of_first(pause: int) -> int:
        machine = small_machine()
        lock = TasLock(machine.line("lock", owner=0), LOCK, pause)
        ends = {}

        def body(cpu: Cpu) -> Steps[None]:
            for _ in range(20):
                yield from lock.acquire(cpu)
                cpu.work(SAME_CLUSTER, Activity("inside"))
                yield from lock.release(cpu)
            ends[cpu.id] = cpu.now

        run(machine, {0: body, 1: body})
        return ends[0]

    alone = 20 * (RMW + SAME_CLUSTER + HIT)
    assert alone < end_of_first(2000 * NS) < end_of_first(10 * NS)
