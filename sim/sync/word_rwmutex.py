"""A reader-writer mutex whose waiters sleep, as ostd has it (Asterinas 0.18.1, ostd/src/sync/rwmutex.rs).

    reader   fetch_add: no writer? in.  Else fetch_sub, and asleep
    writer   compare-and-swap of a word that says nobody is in, else asleep
    asleep   into the queue | try again | sleep | woken: into the queue | try again | ...
    release  a writer wakes everybody who sleeps; the last reader wakes one

Nobody spins for an owner, and nobody is given the lock: who is woken tries as anybody else does, and goes
back to sleep behind all others where somebody was faster. A reader passes writers that sleep. A waiter that
got the lock after it had entered the queue stays in there and is passed over by wake-ups (wait.rs). The word,
the number of those in the queue and the queue's spin lock (a test-and-set) lie on one line.

Invariants: a writer excludes everybody; whoever sleeps is in the queue, and who leaves the lock free looks
into it. A reader that has counted itself in vain makes a writer's attempt fail until it has taken that back;
it then enters the queue itself and tries again, so somebody has the lock and will look.

Left out: the upgradeable reader, which the Vmar does not use, and what the allocation of a waiter takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.lock import Lock, releases, takes
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Sleeper
from sim.sync.word import TasLock


class _Waker(Sleeper):
    """*has_woken*: it was woken and has not looked since, or it does not wait any more."""

    __slots__ = ("has_woken",)

    def __init__(self, cpu: Cpu, reason: str) -> None:
        super().__init__(cpu, reason)
        self.has_woken = False


class WordRwMutex(Lock):
    """One mutex on *line*."""

    __slots__ = ("_queue", "_queue_lock", "_readers", "_scheduler", "_writer", "line")

    def __init__(self, line: CacheLine, scheduler: Scheduler, activity: Activity) -> None:
        super().__init__(line.name, activity)
        self.line = line
        self._scheduler = scheduler
        self._readers = 0
        self._writer: Cpu | None = None
        self._queue: deque[_Waker] = deque()
        self._queue_lock = TasLock(line, activity)
        self._queue_lock.name = ""  # a part of this one

    def describe_wait(self) -> str:
        holder = f"written by {self._writer}" if self._writer else f"{self._readers} readers"
        return f"{self.name} ({holder})"

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        return self._take(cpu, self._try_read)

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)
        self._readers -= 1
        if not self._readers:
            yield from self._wake(cpu, everybody=False)

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        return self._take(cpu, self._try_write)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)
        self._writer = None
        yield from self._wake(cpu, everybody=True)

    def _try_read(self, cpu: Cpu) -> Steps[bool]:
        yield from self.line.write(cpu, self.activity)
        self._readers += 1
        if self._writer is None:
            return True
        yield from self.line.write(cpu, self.activity)
        self._readers -= 1
        return False

    def _try_write(self, cpu: Cpu) -> Steps[bool]:
        yield from self.line.write(cpu, self.activity)
        if self._writer is not None or self._readers:
            return False
        self._writer = cpu
        return True

    def _take(self, cpu: Cpu, attempt: Callable[[Cpu], Steps[bool]]) -> Steps[None]:
        """`wait_until`."""
        taken = yield from attempt(cpu)
        if taken:
            return
        waker = _Waker(cpu, self.name)
        while True:
            yield from self._queue_lock.acquire(cpu)
            self._queue.append(waker)
            yield from self.line.write(cpu, self.activity)  # how many are in it
            yield from self._queue_lock.release(cpu)
            taken = yield from attempt(cpu)
            if taken:
                break
            while not waker.has_woken:
                yield from self._scheduler.sleep(cpu, waker, self.activity)
            waker.has_woken = False
        waker.has_woken = True

    def _wake(self, cpu: Cpu, *, everybody: bool) -> Steps[None]:
        """`wake_all` or `wake_one`: those who come back meanwhile, too."""
        yield from self.line.read(cpu, self.activity)
        while self._queue:
            yield from self._queue_lock.acquire(cpu)
            waker = self._queue.popleft() if self._queue else None
            if waker is not None:
                yield from self.line.write(cpu, self.activity)
            yield from self._queue_lock.release(cpu)
            if waker is None or waker.has_woken:
                continue
            waker.has_woken = True
            self._scheduler.wake(cpu, waker)
            if not everybody:
                return
