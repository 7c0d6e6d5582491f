"""The barrier of POSIX threads: a count, a round, and a futex to wait for the round to end.

    each thread    in + 1, atomic | round | futex wait for the round to change ......... | round | out + 1
    the last one   in + 1, atomic | round | cmpxchg round | futex wake of all | out + 1

All words of it lie on one line. Who wakes goes through the others one after the other, so the last of them
comes back when all have been woken.

Source: glibc 2.29, nptl/pthread_barrier_wait.c. Left out: the reset of the counts before they overflow.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.sync.futex import Futex
from sim.sync.nodes import QueueNodes
from sim.sync.sleep import Scheduler


class PthreadBarrier:
    """A barrier of so many *threads* on *line*. Everything but the scheduler's part is charged to
    *activity*."""

    __slots__ = ("_activity", "_broken", "_entered", "_futex", "_line", "_round", "_threads", "name")

    def __init__(
        self,
        machine: Machine,
        nodes: QueueNodes,
        line: CacheLine,
        scheduler: Scheduler,
        threads: int,
        activity: Activity,
    ) -> None:
        self.name = line.name
        self._line = line
        self._threads = threads
        self._activity = activity
        self._futex = Futex(machine, line.name, line, nodes, scheduler, activity)
        self._entered = 0
        self._round = 0
        self._broken = False

    def wait(self, cpu: Cpu) -> Steps[bool]:
        """pthread_barrier_wait. Value: whether all have come; else somebody has ended (`abandon`)."""
        yield from self._line.write(cpu, self._activity)
        self._entered += 1
        place = self._entered
        yield from self._line.read(cpu, self._activity)
        if self._round + self._threads <= place and not self._broken:
            yield from self._line.write(cpu, self._activity)
            self._round = place - place % self._threads
            yield from self._futex.wake_all(cpu)
        while place > self._round and not self._broken:
            yield from self._futex.wait(
                cpu, self._still_in(self._round), f"all threads to meet at {self.name}"
            )
            yield from self._line.read(cpu, self._activity)
        yield from self._line.write(cpu, self._activity)
        return place <= self._round

    def _still_in(self, round_: int) -> Callable[[], bool]:
        return lambda: self._round == round_ and not self._broken

    def abandon(self, cpu: Cpu) -> None:
        """The thread on *cpu* ends and comes no more: nobody waits any longer."""
        self._broken = True
        self._futex.abandon(cpu)
