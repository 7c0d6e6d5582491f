"""Who waited how long for which lock, by arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
from machines import NS, RMW, RWSEM, SAME_CLUSTER, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.profile import Locks
from sim.sync import (
    McsLock,
    PercpuRwSem,
    PhaseFairLock,
    QueuedSpinLock,
    QueueNodes,
    Rcu,
    RwSem,
    RwSemTuning,
    Scheduler,
)

US = 1000 * NS


def turns(lock: McsLock | QueuedSpinLock, after: int, inside: int, times: int = 1, pause: int = 0) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(after, Activity("user"))
        for _ in range(times):
            yield from lock.acquire(cpu)
            cpu.work(inside, Activity("inside"))
            yield from lock.release(cpu)
            cpu.work(pause, Activity("user"))

    return body


def rwsem(machine: Machine) -> RwSem:
    lines = machine.line("count"), machine.line("owner")
    tuning = RwSemTuning.model_validate(RWSEM)
    nodes, scheduler = QueueNodes(machine, "osq"), Scheduler(machine)
    return RwSem("semaphore", *lines, nodes, scheduler, Activity("lock"), tuning)


def rows(locks: Locks) -> dict[tuple[str, str], dict[str, Any]]:
    locks.run_ends()
    return {(row["lock"], row["mode"]): row for row in locks.report()}


def test_does_a_free_lock_cost_its_fetch() -> None:
    """Ten acquisitions of a lock whose line is here: an atomic each."""
    locks = Locks()
    machine = small_machine(listeners=[locks])
    lock = McsLock(QueueNodes(machine, "mcs"), machine.line("x", owner=0), Activity("lock"))
    run(machine, {0: turns(lock, 0, 300 * NS, times=10)})
    row = rows(locks)["x", "write"]
    assert row == {
        "lock": "x",
        "mode": "write",
        "activity": "lock",
        "locks": 1,
        "acquisitions": 10,
        "contended": 0,
        "missed": 0,
        "wait_ns": 10 * RMW / NS,
        "wait_max_ns": RMW / NS,
        "hold_ns": 10 * 300.0,
        "hold_max_ns": 300.0,
    }


def test_does_a_waiter_wait_for_the_holder_and_for_the_hand_over() -> None:
    """MCS: 1 comes at 100 ns. 0 has the lock from 2 to 1002 ns; it then reads its own node, which 1 has
    written, and writes 1's, which 1 reads: three transfers inside the cluster."""
    locks = Locks()
    machine = small_machine(listeners=[locks])
    lock = McsLock(QueueNodes(machine, "mcs"), machine.line("x", owner=0), Activity("lock"))
    run(machine, {0: turns(lock, 0, 1000 * NS), 1: turns(lock, 100 * NS, 500 * NS)})
    row = rows(locks)["x", "write"]
    waited = (RMW + 1000 * NS + 3 * SAME_CLUSTER - 100 * NS) / NS
    assert (row["acquisitions"], row["contended"]) == (2, 1)
    assert (row["wait_ns"], row["wait_max_ns"]) == (RMW / NS + waited, waited)
    assert (row["hold_ns"], row["hold_max_ns"]) == (1500.0, 1000.0)


@pytest.mark.parametrize("times", [1, 7, 50])
def test_do_two_threads_in_turn_never_contend(times: int) -> None:
    """Each holds the lock while the other pauses: n acquisitions each, all with one transfer of the line."""
    locks = Locks()
    machine = small_machine(listeners=[locks])
    lock = QueuedSpinLock(QueueNodes(machine, "qspin"), machine.line("x", owner=1), Activity("lock"))
    around = SAME_CLUSTER + 100 * NS + 1 * NS  # acquire, inside, release
    pause = 1000 * NS - around
    run(
        machine, {0: turns(lock, 0, 100 * NS, times, pause), 1: turns(lock, 500 * NS, 100 * NS, times, pause)}
    )
    row = rows(locks)["x", "write"]
    assert (row["acquisitions"], row["contended"]) == (2 * times, 0)
    assert row["wait_ns"] == 2 * times * SAME_CLUSTER / NS
    assert row["hold_ns"] == 2 * times * 100.0


def test_who_is_contended_on_a_reader_writer_lock() -> None:
    """Readers do not keep each other out. 0 and 1 read together; 2 writes after them; 3 reads after 2."""
    locks = Locks()
    machine = small_machine(listeners=[locks])
    lock = PhaseFairLock(QueueNodes(machine, "queue"), machine.line("fair"), Activity("lock"))

    def use(after: int, inside: int, write: bool) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            yield from lock.write_lock(cpu) if write else lock.read_lock(cpu)
            cpu.work(inside, Activity("inside"))
            yield from lock.write_unlock(cpu) if write else lock.read_unlock(cpu)

        return body

    run(machine, {0: use(0, 10 * US, False), 1: use(1 * US, 10 * US, False), 2: use(2 * US, 5 * US, True),
                  3: use(3 * US, 1 * US, False)})  # fmt: skip
    found = rows(locks)
    reads, writes = found["fair", "read"], found["fair", "write"]
    assert (reads["acquisitions"], reads["contended"]) == (3, 1)
    assert (writes["acquisitions"], writes["contended"]) == (1, 1)
    assert reads["hold_ns"] == 10_000 + 10_000 + 1_000
    assert writes["hold_ns"] == 5_000
    assert writes["wait_ns"] == pytest.approx(9_000, abs=200)
    assert reads["wait_max_ns"] == pytest.approx(13_000, abs=400)


def test_is_a_downgraded_hold_one_for_writing_and_one_for_reading() -> None:
    locks = Locks()
    machine = small_machine(listeners=[locks])
    semaphore = rwsem(machine)

    def body(cpu: Cpu) -> Steps[None]:
        yield from semaphore.write_lock(cpu)
        cpu.work(3 * US, Activity("inside"))
        yield cpu.take_pending()
        begins = cpu.now
        yield from semaphore.write_downgrade(cpu)
        cpu.work(2 * US, Activity("inside"))
        yield cpu.take_pending()
        ends.append(cpu.now - begins)
        yield from semaphore.read_unlock(cpu)

    ends: list[int] = []
    run(machine, {0: body})
    found = rows(locks)
    assert found["semaphore", "write"]["hold_ns"] >= 3_000
    assert found["semaphore", "read"]["hold_ns"] == ends[0] / NS
    assert found["semaphore", "read"]["acquisitions"] == 0  # it was not asked for


def test_is_the_sleep_of_a_waiter_in_its_wait() -> None:
    """A reader behind a writer of a per-cpu semaphore sleeps until it is woken."""
    locks = Locks()
    machine = small_machine(listeners=[locks])
    rcu = Rcu(machine, global_list=False, tick=5 * US)
    lock = PercpuRwSem(machine, "per-cpu", rcu, Scheduler(machine), Activity("lock"))

    def writer(cpu: Cpu) -> Steps[None]:
        yield from lock.write_lock(cpu)
        cpu.work(100 * US, Activity("inside"))
        yield from lock.write_unlock(cpu)

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(50 * US, Activity("user"))
        yield from lock.read_lock(cpu)
        yield from lock.read_unlock(cpu)

    run(machine, {0: writer, 1: reader})
    row = rows(locks)["per-cpu", "read"]
    assert row["contended"] == 1
    assert 50_000 < row["wait_ns"] < 80_000  # and the writer's grace period before


def test_do_the_locks_beyond_the_first_share_a_row() -> None:
    """Lock n is taken n + 1 times: the later ones wait longer in all."""
    locks = Locks()
    machine = small_machine(listeners=[locks])
    nodes = QueueNodes(machine, "mcs")
    made = [McsLock(nodes, machine.line(f"lock {n}", owner=0), Activity("lock")) for n in range(5)]

    def body(cpu: Cpu) -> Steps[None]:
        for number, lock in enumerate(made):
            for _ in range(number + 1):
                yield from lock.acquire(cpu)
                cpu.work(number * 100 * NS, Activity("inside"))
                yield from lock.release(cpu)

    run(machine, {0: body})
    locks.run_ends()
    table = locks.report(shown=2)
    assert [row["lock"] for row in table] == ["lock 4", "lock 3", "others"]
    others = table[-1]
    assert (others["locks"], others["acquisitions"]) == (3, 1 + 2 + 3)
    assert (others["wait_ns"], others["wait_max_ns"]) == (6 * RMW / NS, RMW / NS)
    assert (others["hold_ns"], others["hold_max_ns"]) == (2 * 100.0 + 3 * 200.0, 200.0)
    assert len(locks.report()) == 5
