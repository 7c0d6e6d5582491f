"""The mutex of user programs: what does it cost when it is free, who sleeps, who enters the kernel?"""

from __future__ import annotations

from machines import HIT, NS, RMW, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import PthreadMutex, QueueNodes, Scheduler

US = 1000 * NS
WAIT = Activity("waiting")
SYSCALL = 50 * NS


def mutex(machine: Machine) -> PthreadMutex:
    line, nodes = machine.line("mutex", 0, owner=0), QueueNodes(machine, "qspin")
    return PthreadMutex(machine, nodes, line, Scheduler(machine), WAIT)


def test_is_a_free_mutex_two_atomic_instructions_and_no_system_call() -> None:
    """The owner is written after the one and cleared before the other."""
    machine = small_machine()
    lock = mutex(machine)
    spent = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from lock.acquire(cpu)
        spent.append(cpu.spent[WAIT])
        yield from lock.release(cpu)
        spent.append(cpu.spent[WAIT])

    run(machine, {0: body})
    assert spent == [RMW + HIT, 2 * (RMW + HIT)]
    assert machine.tally.sleeps == 0


def test_does_who_waits_sleep_and_who_unlocks_wake_one() -> None:
    machine = small_machine()
    lock = mutex(machine)
    order = []

    def holder(cpu: Cpu) -> Steps[None]:
        yield from lock.acquire(cpu)
        cpu.work(100 * US, Activity("inside"))
        yield from lock.release(cpu)

    def waiter(cpu: Cpu) -> Steps[None]:
        cpu.work(cpu.id * US, Activity("user"))
        yield from lock.acquire(cpu)
        order.append((cpu.id, cpu.now))
        cpu.work(50 * US, Activity("inside"))
        yield from lock.release(cpu)

    run(machine, {0: holder, 1: waiter, 2: waiter, 3: waiter})
    assert [cpu for cpu, _ in order] == [1, 2, 3]
    assert machine.tally.sleeps == 3  # nobody spins
    assert order[0][1] > 100 * US
    assert order[1][1] > order[0][1] + 50 * US


def test_does_a_thread_that_comes_between_take_it_and_the_woken_one_sleeps_again() -> None:
    machine = small_machine()
    lock = mutex(machine)
    order = []

    def holder(cpu: Cpu) -> Steps[None]:
        for inside in (100, 30):  # again at once: faster than who has been woken
            yield from lock.acquire(cpu)
            order.append(cpu.id)
            cpu.work(inside * US, Activity("inside"))
            yield from lock.release(cpu)

    def waiter(cpu: Cpu) -> Steps[None]:
        cpu.work(US, Activity("user"))
        yield from lock.acquire(cpu)
        order.append(cpu.id)
        yield from lock.release(cpu)

    run(machine, {0: holder, 1: waiter})
    assert order == [0, 0, 1]
    assert machine.tally.sleeps == 2


def test_does_a_thread_that_has_waited_enter_the_kernel_when_it_unlocks() -> None:
    """It has left 2 behind, though nobody waits any more."""
    machine = small_machine()
    lock = mutex(machine)
    spent = []

    def holder(cpu: Cpu) -> Steps[None]:
        yield from lock.acquire(cpu)
        cpu.work(100 * US, Activity("inside"))
        yield from lock.release(cpu)

    def waiter(cpu: Cpu) -> Steps[None]:
        cpu.work(US, Activity("user"))
        yield from lock.acquire(cpu)
        before = cpu.spent[WAIT]
        yield from lock.release(cpu)
        spent.append(cpu.spent[WAIT] - before)
        before = cpu.spent[WAIT]
        yield from lock.acquire(cpu)
        yield from lock.release(cpu)
        spent.append(cpu.spent[WAIT] - before)

    run(machine, {0: holder, 1: waiter})
    assert spent == [RMW + HIT + SYSCALL, 2 * (RMW + HIT)]
