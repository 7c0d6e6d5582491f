"""A switch that readers look at, and that writers turn with a grace period: fast path on or off.

    state    readers    leaves it when
    IDLE     fast       a writer enters                                          -> ENTER
    ENTER    mixed      the grace period that it waits for is over               -> PASSED
    PASSED   slow       the last writer exits: another period begins             -> EXIT
    EXIT     slow       that period is over                                      -> IDLE (writers: PASSED)
    REPLAY   slow       as EXIT, but writers have come and gone meanwhile        -> EXIT, with another period

A reader that looks and then acts does both in one RCU read section. So once the state is PASSED, no reader is
about to act on an older look; and once it is IDLE again, none of them has missed what the writers wrote.

Source: Linux 6.13, kernel/rcu/sync.c. The line's own transfer when a softirq changes the state is left out.
"""

from __future__ import annotations

from enum import IntEnum

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.rcu import Rcu
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Sleeper


class GpState(IntEnum):
    """`gp_state`; from PASSED on readers are known to be slow."""

    IDLE = 0
    ENTER = 1
    PASSED = 2
    EXIT = 3
    REPLAY = 4


class RcuSync:
    """One such switch on *line*."""

    __slots__ = ("_entered", "_rcu", "_scheduler", "_waiters", "activity", "line", "state")

    def __init__(self, rcu: Rcu, line: CacheLine, scheduler: Scheduler, activity: Activity) -> None:
        self.line = line
        self.activity = activity
        self.state = GpState.IDLE
        self._rcu = rcu
        self._scheduler = scheduler
        self._entered = 0
        self._waiters: list[Sleeper] = []

    def enter(self, cpu: Cpu) -> Steps[None]:
        """Turn readers to the slow path; returns when none is fast any more. The thread may sleep."""
        yield from self.line.write(cpu, self.activity)
        self._entered += 1
        sleeper = Sleeper(cpu, f"the grace period of {self.line.name}")
        if self.state is GpState.IDLE:
            self.state = GpState.ENTER
            yield from self._rcu.defer(cpu, self._period_over)
        if self.state is GpState.ENTER:
            self._waiters.append(sleeper)
        while self.state is GpState.ENTER:
            yield from self._scheduler.sleep(cpu, sleeper, self.activity)

    def exit(self, cpu: Cpu) -> Steps[None]:
        """The writer is done; after another grace period readers are fast again, unless a writer is there."""
        yield from self.line.write(cpu, self.activity)
        self._entered -= 1
        if self._entered:
            return
        if self.state is GpState.PASSED:
            self.state = GpState.EXIT
            yield from self._rcu.defer(cpu, self._period_over)
        elif self.state is GpState.EXIT:
            self.state = GpState.REPLAY

    def _period_over(self, cpu: Cpu) -> int:
        """`rcu_sync_func`, in a softirq of *cpu*."""
        if self._entered:
            self.state = GpState.PASSED
            waiters, self._waiters = self._waiters, []
            return sum(self._scheduler.wake_from_interrupt(sleeper) for sleeper in waiters)
        if self.state is GpState.REPLAY:
            self.state = GpState.EXIT
            self._rcu.defer_again(cpu, self._period_over)
        else:
            self.state = GpState.IDLE
        return 0
