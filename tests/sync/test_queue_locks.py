"""MCS, queued spin and ticket locks: who is next, and how fast does the lock go round?"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from locks import LOCK, Turn, follow, mcs, queued_spin, ticket
from machines import CROSS_CLUSTER, CROSS_SOCKET, HIT, NS, RMW, SAME_CLUSTER, run, small_machine

from sim.engine import Activity, Steps
from sim.errors import Deadlock
from sim.hardware import Cpu, Machine
from sim.sync import McsLock, QueuedSpinLock, QueueNodes

BUILDS = pytest.mark.parametrize("build", [mcs, queued_spin, ticket], ids=lambda build: build.__name__)
UNIFORM = {  # a transfer costs the same from everywhere
    "coherence": dict.fromkeys(("same_cluster", "cross_cluster", "cross_socket"), "100 ns")
}


@BUILDS
def test_are_waiters_served_in_the_order_they_came(build: Callable[[Machine], object]) -> None:
    machine = small_machine()
    order = [5, 12, 0, 9, 3, 14, 7, 1]
    schedule: list[list[Turn]] = [[] for _ in range(16)]
    for position, cpu in enumerate(order):
        schedule[cpu] = [Turn(position * 1000 * NS, True, 20_000 * NS)]
    watch = follow(machine, build(machine), schedule, exclusive=True)  # type: ignore[arg-type]
    assert [cpu for cpu, _ in watch.entries] == order


@BUILDS
def test_does_a_fair_lock_give_everybody_the_same_number_of_turns(
    build: Callable[[Machine], object],
) -> None:
    """In steady state nobody comes a second time while another waits for a first."""
    machine = small_machine()
    watch = follow(machine, build(machine), [[Turn(0, True, 500 * NS)] * 10] * 8, exclusive=True)  # type: ignore[arg-type]
    entries = [cpu for cpu, _ in watch.entries]
    rounds = [entries[start : start + 8] for start in range(16, 64, 8)]
    assert all(set(round_) == set(range(8)) for round_ in rounds)


@pytest.mark.parametrize("threads", [2, 3, 4, 8, 16])
def test_does_a_saturated_mcs_lock_take_a_constant_time_a_turn(threads: int) -> None:
    """T(n) = n * H, where a transfer costs the same from everywhere.

    H is the time inside, a look at the own node, the store to the successor's and the successor's load of it.
    With two threads the successor queues while the holder is inside, so that the look costs a transfer too.
    """
    machine = small_machine(UNIFORM)
    lock = McsLock(QueueNodes(machine, "mcs"), machine.line("lock"), LOCK)
    inside = 400 * NS
    entered = []

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(20):
            yield from lock.acquire(cpu)
            if cpu.pending:
                yield cpu.take_pending()
            entered.append(cpu.now)
            cpu.work(inside, Activity("inside"))
            yield from lock.release(cpu)

    run(machine, dict.fromkeys(range(threads), body))
    steady = entered[threads : -threads + 1]
    look = CROSS_CLUSTER if threads == 2 else HIT
    assert {after - before for before, after in pairwise(steady)} == {inside + look + 2 * CROSS_CLUSTER}


def test_does_an_mcs_handover_pay_the_distance_to_the_successor() -> None:
    """cpu 1 in the holder's cluster, cpu 4 in another, cpu 8 on the other socket."""
    handover = {}
    for successor, distance in {1: SAME_CLUSTER, 4: CROSS_CLUSTER, 8: CROSS_SOCKET}.items():
        machine = small_machine()
        lock = McsLock(QueueNodes(machine, "mcs"), machine.line("lock", owner=0), LOCK)
        times = {}

        def holder(cpu: Cpu, lock: McsLock = lock, times: dict[str, int] = times) -> Steps[None]:
            yield from lock.acquire(cpu)
            cpu.work(5000 * NS, Activity("inside"))
            yield cpu.take_pending()
            times["out"] = cpu.now
            yield from lock.release(cpu)

        def waiter(cpu: Cpu, lock: McsLock = lock, times: dict[str, int] = times) -> Steps[None]:
            cpu.work(1, Activity("user"))
            yield from lock.acquire(cpu)
            times["in"] = cpu.now
            assert lock.holder is cpu
            yield from lock.release(cpu)

        run(machine, {0: holder, successor: waiter})
        handover[successor] = (times["in"] - times["out"]) / distance
    assert handover == {1: 3, 4: 3, 8: 3}  # load the link, store the flag, load the flag


def test_is_an_uncontended_mcs_turn_a_swap_and_a_compare_and_swap() -> None:
    machine = small_machine()
    lock = McsLock(QueueNodes(machine, "mcs"), machine.line("lock", owner=0), LOCK)

    def body(cpu: Cpu) -> Steps[None]:
        yield from lock.acquire(cpu)
        yield from lock.release(cpu)

    run(machine, {0: body})
    assert machine.cpus[0].spent[LOCK] == 2 * RMW + HIT  # and a look for a successor


def test_does_the_second_waiter_of_a_queued_spin_lock_spin_on_the_word() -> None:
    """Pending bit: with one waiter nobody touches a queue node."""
    machine = small_machine()
    nodes = QueueNodes(machine, "qspin")
    lock = QueuedSpinLock(nodes, machine.line("lock", owner=0), LOCK)

    def body(cpu: Cpu) -> Steps[None]:
        yield from lock.acquire(cpu)
        cpu.work(2000 * NS, Activity("inside"))
        yield from lock.release(cpu)

    run(machine, {0: body, 1: body})
    assert all(nodes.lines[cpu].busy_until == 0 for cpu in range(16))
    # cpu 1: cmpxchg, fetch_or, a load of its own line; then load and store when the lock is free.
    assert machine.cpus[1].spent[LOCK] > 2000 * NS + HIT


def test_does_a_deadlock_report_name_the_lock_and_its_holder() -> None:
    machine = small_machine()
    lock = McsLock(QueueNodes(machine, "mcs"), machine.line("page table lock"), LOCK)

    def forgetful(cpu: Cpu) -> Steps[None]:
        yield from lock.acquire(cpu)

    with pytest.raises(Deadlock, match=r"thread 1 waits for page table lock \(held by cpu 0\)"):
        run(machine, {0: forgetful, 1: forgetful})
