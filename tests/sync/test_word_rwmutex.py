"""The reader-writer mutex of ostd: who sleeps, whom a release wakes, and who passes whom."""

from __future__ import annotations

from collections.abc import Mapping

from locks import LOCK
from machines import HIT, NS, RMW, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import Scheduler, WordRwMutex

US = 1_000 * NS


def mutex(machine: Machine) -> WordRwMutex:
    return WordRwMutex(machine.line("rwmutex", owner=0), Scheduler(machine), LOCK)


def test_what_does_an_uncontended_turn_cost() -> None:
    """An atomic operation in and one out; whoever leaves the lock free looks whether somebody sleeps."""
    machine = small_machine()
    lock = mutex(machine)

    def body(cpu: Cpu) -> Steps[None]:
        yield from lock.read_lock(cpu)
        yield from lock.read_unlock(cpu)
        yield from lock.write_lock(cpu)
        yield from lock.write_unlock(cpu)

    run(machine, {0: body})
    assert machine.cpus[0].spent[LOCK] == 4 * RMW + 2 * HIT


def turns(machine: Machine, plan: Mapping[int, tuple[int, bool, int]]) -> dict[int, tuple[int, int]]:
    """Each cpu comes at a time (ps), to write or not, and stays so long. Value: when it was in and out."""
    lock = mutex(machine)
    times: dict[int, tuple[int, int]] = {}

    def body(cpu: Cpu) -> Steps[None]:
        comes, write, inside = plan[cpu.id]
        cpu.work(comes, Activity("user"))
        yield from lock.write_lock(cpu) if write else lock.read_lock(cpu)
        entered = cpu.now
        cpu.work(inside, Activity("inside"))
        yield cpu.take_pending()
        times[cpu.id] = entered, cpu.now
        yield from lock.write_unlock(cpu) if write else lock.read_unlock(cpu)

    run(machine, dict.fromkeys(plan, body))
    return times


def test_does_a_waiter_sleep_at_once_however_soon_the_lock_is_free() -> None:
    """An owner-spinning rwsem would have it some hundred ns after the release; here a wake-up comes first."""
    machine = small_machine()
    turns(machine, {0: (0, True, 3 * US), 1: (100 * NS, True, 100 * NS)})
    assert machine.cpus[1].spent["sched"] > 0


def test_do_readers_pass_a_writer_that_sleeps() -> None:
    times = turns(small_machine(), {0: (0, False, 9 * US), 1: (US, True, US), 2: (4 * US, False, 9 * US)})
    assert times[2][0] < 5 * US
    assert times[1][0] >= times[2][1], "the writer comes when the last reader has gone"


def test_does_a_writer_wake_everybody_and_do_the_readers_come_in_together() -> None:
    times = turns(
        small_machine(),
        {0: (0, True, 9 * US), 1: (US, False, 20 * US), 2: (2 * US, False, 20 * US)},
    )
    assert max(times[1][0], times[2][0]) < min(times[1][1], times[2][1])


def test_does_who_was_woken_in_vain_go_back_to_sleep() -> None:
    """All writers wake at each release, and all but one of them in vain: the last has switched most often."""
    machine = small_machine()
    turns(machine, {cpu: (cpu * 100 * NS, True, 30 * US) for cpu in range(4)})
    spent = [machine.cpus[cpu].spent["sched"] for cpu in range(1, 4)]
    assert spent == sorted(set(spent))
