"""The semaphores of older kernels: who is woken while the list of sleepers is held?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from machines import NS, Body, run, small_machine

from sim.engine import Activity, Probe, Steps
from sim.engine.probe import Mode
from sim.hardware import Cpu, Machine
from sim.sync import GrantingRwSem, QueueNodes, Scheduler, XaddRwSem

US = 1000 * NS
Make = Callable[[Machine], XaddRwSem]


class Wakers(Probe):
    """Whether each wake-up came from a cpu that held wait_lock."""

    def __init__(self) -> None:
        self.held: set[int] = set()
        self.wakers: list[bool] = []

    def lock_acquired(self, lock: Any, cpu: Any, mode: Mode) -> None:
        if lock.name.endswith(": wait_lock"):
            self.held.add(cpu.id)

    def lock_release(self, lock: Any, cpu: Any, mode: Mode) -> None:
        if lock.name.endswith(": wait_lock"):
            self.held.remove(cpu.id)

    def wake(self, waker: Any, cpu: Any, latency: int) -> None:
        self.wakers.append(waker.id in self.held)


def granting(machine: Machine) -> XaddRwSem:
    nodes, scheduler = QueueNodes(machine, "osq"), Scheduler(machine)
    return GrantingRwSem("old", machine.line("old"), nodes, scheduler, Activity("lock"))


def xadd(machine: Machine) -> XaddRwSem:
    nodes, scheduler = QueueNodes(machine, "osq"), Scheduler(machine)
    return XaddRwSem("newer", machine.line("newer"), nodes, scheduler, Activity("lock"), owner_spinning=False)


@pytest.mark.parametrize(("make", "under"), [(granting, True), (xadd, False)])
def test_are_those_who_are_let_in_woken_under_wait_lock_until_3_9(make: Make, under: bool) -> None:
    """Six readers behind a writer, and a writer behind these."""
    listener = Wakers()
    machine = small_machine(listeners=[listener])
    lock = make(machine)

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield from lock.read_lock(cpu)
        yield from lock.read_unlock(cpu)

    def writer(after: int) -> Body:
        def body(cpu: Cpu) -> Steps[None]:
            cpu.work(after, Activity("user"))
            yield from lock.write_lock(cpu)
            cpu.work(50 * US, Activity("inside"))
            yield from lock.write_unlock(cpu)

        return body

    run(machine, {0: writer(0), 7: writer(20 * US), **dict.fromkeys(range(1, 7), reader)})
    assert len(listener.wakers) == 7
    assert set(listener.wakers) == {under}
