"""The plain mutex of POSIX threads (PTHREAD_MUTEX_NORMAL): atomic instructions, and a futex to wait.

The word is 0 (free), 1 (taken) or 2 (taken, and somebody may sleep):

    lock     cmpxchg 0 -> 1 | owner
             cmpxchg fails  | while xchg(2) finds it taken: futex wait for 2 ...   | owner
    unlock   owner | xchg(0) finds 1
             owner | xchg(0) finds 2: futex wake of one

Nobody spins, and nobody hands over: a thread that comes between unlock and wake-up takes the mutex, and the
woken one sleeps again. Who has slept leaves 2 behind, so its unlock enters the kernel even if nobody waits.
Word and owner lie on one line.

Source: glibc 2.40, nptl/lowlevellock.c, sysdeps/nptl/lowlevellock.h, nptl/pthread_mutex_lock.c. Left out:
what glibc spares in a process that has one thread (lll_mutex_lock_optimized).
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine, Task
from sim.sync.futex import Futex
from sim.sync.lock import Lock, releases, takes
from sim.sync.nodes import QueueNodes
from sim.sync.sleep import Scheduler

FREE, TAKEN, AWAITED = 0, 1, 2


class PthreadMutex(Lock):
    """One mutex on one line. Everything but the scheduler's part is charged to *activity*."""

    __slots__ = ("_futex", "_line", "_word", "holder")

    def __init__(
        self, machine: Machine, nodes: QueueNodes, line: CacheLine, scheduler: Scheduler, activity: Activity
    ) -> None:
        super().__init__(line.name, activity)
        self.holder: Task | None = None
        self._line = line
        self._word = FREE
        self._futex = Futex(machine, line.name, line, nodes, scheduler, activity)

    def acquire(self, cpu: Cpu) -> Steps[None]:
        """pthread_mutex_lock."""
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        yield from self._line.write(cpu, self.activity)
        if self._word == FREE:
            self._word = TAKEN
        else:
            yield from self._lock_wait(cpu)
        yield from self._line.store(cpu, self.activity)  # __owner, __nusers
        self.holder = cpu.current

    def _lock_wait(self, cpu: Cpu) -> Steps[None]:
        """__lll_lock_wait."""
        yield from self._line.read(cpu, self.activity)
        asleep = self._word == AWAITED
        while True:
            if asleep:
                yield from self._futex.wait(cpu, self._is_awaited, f"{self.name} (held by {self.holder})")
            yield from self._line.write(cpu, self.activity)
            before, self._word = self._word, AWAITED
            if before == FREE:
                return
            asleep = True

    def _is_awaited(self) -> bool:
        return self._word == AWAITED

    def release(self, cpu: Cpu) -> Steps[None]:
        """pthread_mutex_unlock."""
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        yield from self._line.store(cpu, self.activity)
        self.holder = None
        yield from self._line.write(cpu, self.activity)
        before, self._word = self._word, FREE
        if before == AWAITED:
            yield from self._futex.wake(cpu)
