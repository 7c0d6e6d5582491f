"""The reader-writer semaphore of older kernels (kernel/locking/rwsem-xadd.c, up to 5.1).

All state but the queue is one number, *count*, and everybody adds to it before looking:

    count                          what it means
    n                              n readers hold the lock
    ACTIVE_WRITE                   a writer holds it, or has just tried
    WAITING + n                    somebody sleeps; n hold the lock or have just tried
    WAITING + ACTIVE_WRITE         a writer holds it (or has just tried), and somebody sleeps

A failed attempt disturbs others until it is taken back: a writer that adds its bias to a lock that readers
hold sends the next reader to sleep. The *owner* word says who may be spun on. Readers leave their mark in it
and never take it away, so that after any reader a writer that does not get the lock at once goes to sleep,
until some writer has had it. A release wakes the first sleeper: a writer, which must then take the lock
against everybody who runs, or the readers up to the first writer in the queue, to whom the lock is given.
Where readers and writers mix, nearly every hand-over is therefore a wake-up.

Invariants: a writer excludes everybody; a waiter is in the OSQ or in the sleep queue, never in both; whoever
leaves the lock free while somebody sleeps wakes the first sleeper, or a spinner is there that tries.

Optimistic spinning came with 3.16; before that every writer that finds the lock taken sleeps.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import Final, Literal

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Task
from sim.sync.lock import Lock, downgrades, releases, takes, tries
from sim.sync.nodes import QueueNodes
from sim.sync.osq import SpinnerQueue
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Waiter
from sim.sync.spin import QueuedSpinLock

READ: Final = 1
ACTIVE: Final = 0xFFFF_FFFF
WAITING: Final = -ACTIVE - 1
WRITE: Final = WAITING + 1

_READERS: Final = "readers"
"""Owner word after a reader has had the lock."""


class XaddRwSem(Lock):
    """One semaphore in one cache line: 40 bytes with count, owner, OSQ tail, wait_lock and list."""

    __slots__ = (
        "_count",
        "_osq",
        "_owner",
        "_scheduler",
        "_spinning",
        "_wait_lock",
        "_waiters",
        "line",
    )

    def __init__(
        self,
        name: str,
        line: CacheLine,
        nodes: QueueNodes,
        scheduler: Scheduler,
        activity: Activity,
        *,
        owner_spinning: bool = True,
    ) -> None:
        super().__init__(name, activity)
        self.line = line
        self._count = 0
        self._owner: Task | Literal["readers"] | None = None
        self._osq = SpinnerQueue(self, nodes, line, scheduler)
        self._wait_lock = QueuedSpinLock(nodes, line, activity, f"{name}: wait_lock")
        self._waiters: deque[Waiter] = deque()
        self._scheduler = scheduler
        self._spinning = owner_spinning

    def describe_wait(self) -> str:
        return f"{self.name} (count {self._count:#x}, owner {self._owner})"

    @property
    def count(self) -> CacheLine:
        """The line of the count, which faults prefetch: that of everything."""
        return self.line

    # -- readers --------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        """`down_read`."""
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        count = yield from self._add(cpu, READ)
        if count > 0:
            yield from self._set_owner(cpu, _READERS)
        else:
            yield from self._sleep_for_read(cpu)

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        """`up_read`."""
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        count = yield from self._add(cpu, -READ)
        if count < -1 and not count & ACTIVE:
            yield from self._wake_first(cpu)

    def read_trylock(self, cpu: Cpu) -> Steps[bool]:
        """`down_read_trylock`: a load, and a cmpxchg that bets on what it has found (as in `RwSem`)."""
        steps = self._read_trylock(cpu)
        return steps if cpu.plain_locks else tries(self, cpu, "read", steps)

    def _read_trylock(self, cpu: Cpu) -> Steps[bool]:
        apart = yield from self.line.read_to_write(cpu, self.activity)
        seen = self._count
        if seen < 0:
            return False
        if apart:
            yield from self.line.write(cpu, self.activity)
            if self._count < 0:
                return False
            if self._count != seen:
                self.line.write_again(cpu, self.activity)
        self._count += READ
        self._tell(cpu)
        yield from self._set_owner(cpu, _READERS)
        return True

    def _sleep_for_read(self, cpu: Cpu) -> Steps[None]:
        waiter = Waiter(cpu, self.name, write=False)
        yield from self._wait_lock.acquire(cpu)
        first = not self._waiters
        if first and self._count >= 0:  # the writer has gone: the reader is counted already
            yield from self._wait_lock.release(cpu)
            yield from self._set_owner(cpu, _READERS)
            return
        self._waiters.append(waiter)
        count = yield from self._add(cpu, (WAITING if first else 0) - READ)
        woken: list[Waiter] = []
        if count == WAITING or (count > WAITING and first):
            woken = yield from self._mark(cpu, writers_too=True)
        yield from self._wait_lock.release(cpu)
        self._wake(cpu, woken)
        while not waiter.granted:
            yield from self._scheduler.sleep(cpu, waiter, self.activity)

    # -- writers --------------------------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        """`down_write`."""
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        count = yield from self._add(cpu, WRITE)
        if count != WRITE:
            yield from self._add(cpu, -WRITE)
            taken = self._spinning and (yield from self._spin(cpu))
            if not taken:
                yield from self._sleep_for_write(cpu)
        yield from self._set_owner(cpu, cpu.current)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        """`up_write`."""
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self._set_owner(cpu, None)
        count = yield from self._add(cpu, -WRITE)
        if count < 0:
            yield from self._wake_first(cpu)

    def write_downgrade(self, cpu: Cpu) -> Steps[None]:
        """`downgrade_write`: readers at the front of the queue come in too (rwsem_downgrade_wake)."""
        steps = self._write_downgrade(cpu)
        return steps if cpu.plain_locks else downgrades(self, cpu, steps)

    def _write_downgrade(self, cpu: Cpu) -> Steps[None]:
        count = yield from self._add(cpu, -WAITING)
        yield from self._set_owner(cpu, _READERS)
        if count < 0:
            yield from self._wait_lock.acquire(cpu)
            woken: list[Waiter] = []
            if self._waiters and not self._waiters[0].write:
                woken = yield from self._grant_readers(cpu, counted=0)
            yield from self._wait_lock.release(cpu)
            self._wake(cpu, woken)

    def _spin(self, cpu: Cpu) -> Steps[bool]:
        """rwsem_optimistic_spin. Value: whether the lock was taken."""
        yield from self._look(cpu)
        if not self._may_spin(cpu):
            return False
        if not (yield from self._osq.lock(cpu)):
            return False
        taken = yield from self._spin_as_head(cpu)
        yield from self._osq.unlock(cpu)
        return taken

    def _spin_as_head(self, cpu: Cpu) -> Steps[bool]:
        while True:
            yield from self._look(cpu)
            if not self._may_spin(cpu):
                return False
            if self._count in (0, WAITING):
                yield from self.line.write(cpu, self.activity)  # cmpxchg
                if self._count in (0, WAITING):
                    self._count += WRITE
                    return True
            elif self.line.held_by(cpu):
                owner = self._owner if isinstance(self._owner, Task) else None
                yield from self._scheduler.spin(cpu, self, self.activity, owner)

    def _may_spin(self, cpu: Cpu) -> bool:
        """Not on readers, nor on a writer that does not run, nor where others want the cpu."""
        if isinstance(self._owner, Task) and not self._owner.on_cpu:
            return False
        return self._owner is not _READERS and not self._scheduler.need_resched(cpu)

    def _sleep_for_write(self, cpu: Cpu) -> Steps[None]:
        waiter = Waiter(cpu, self.name, write=True)
        yield from self._wait_lock.acquire(cpu)
        behind = bool(self._waiters)
        self._waiters.append(waiter)
        if not behind:
            yield from self._add(cpu, WAITING)
        elif self._count > WAITING:  # no writer holds it: readers at the front may join those who do
            self._wake(cpu, (yield from self._mark(cpu, writers_too=False)))
        while not (yield from self._try_queued(cpu)):
            yield from self._wait_lock.release(cpu)
            while True:
                yield from self._scheduler.sleep(cpu, waiter, self.activity)
                yield from self._look(cpu)
                if not self._count & ACTIVE:
                    break
            yield from self._wait_lock.acquire(cpu)
        self._waiters.remove(waiter)
        yield from self._wait_lock.release(cpu)

    def _try_queued(self, cpu: Cpu) -> Steps[bool]:
        """cmpxchg by a writer in the queue: only if nobody holds the lock or tries."""
        if self._count != WAITING:
            return False
        yield from self.line.write(cpu, self.activity)
        if self._count != WAITING:
            return False
        self._count = WRITE if len(self._waiters) == 1 else WRITE + WAITING
        self._tell(cpu)
        return True

    # -- waking ---------------------------------------------------------------------------------------------

    def _wake_first(self, cpu: Cpu) -> Steps[None]:
        """rwsem_wake: a spinner that is there will try, so its wait_lock is not worth waiting for."""
        if self._osq.is_locked:
            taken = yield from self._wait_lock.try_acquire(cpu)
            if not taken:
                return
        else:
            yield from self._wait_lock.acquire(cpu)
        woken: list[Waiter] = []
        if self._waiters:
            woken = yield from self._mark(cpu, writers_too=True)
        yield from self._wait_lock.release(cpu)
        self._wake(cpu, woken)

    def _mark(self, cpu: Cpu, *, writers_too: bool) -> Steps[list[Waiter]]:
        """__rwsem_mark_wake under wait_lock. Value: who is to be woken, readers with the lock in hand."""
        if self._waiters[0].write:
            return [self._waiters[0]] if writers_too else []
        while True:
            count = yield from self._add(cpu, READ)
            if count - READ >= WAITING:
                break
            count = yield from self._add(cpu, -READ)  # a writer was faster
            if count < WAITING:
                return []
        yield from self._set_owner(cpu, _READERS)
        return (yield from self._grant_readers(cpu, counted=1))

    def _grant_readers(self, cpu: Cpu, *, counted: int) -> Steps[list[Waiter]]:
        """Let in the readers up to the first writer; *counted* are in the count already. Value: these."""
        granted = list(takewhile(lambda waiter: not waiter.write, self._waiters))
        for _ in granted:
            self._waiters.popleft()
        more = (len(granted) - counted) * READ - (0 if self._waiters else WAITING)
        if more:
            yield from self._add(cpu, more)
        for waiter in granted:
            waiter.granted = True
        return granted

    def _wake(self, cpu: Cpu, waiters: list[Waiter]) -> None:
        for waiter in waiters:
            self._scheduler.wake(cpu, waiter)

    # -- the words ------------------------------------------------------------------------------------------

    def _add(self, cpu: Cpu, delta: int) -> Steps[int]:
        """Atomic add. Value: the new count."""
        yield from self.line.write(cpu, self.activity)
        self._count += delta
        self._tell(cpu)
        return self._count

    def _set_owner(self, cpu: Cpu, owner: Task | Literal["readers"] | None) -> Steps[None]:
        """Write the owner word; readers look first whether one of them has."""
        if owner is _READERS:
            yield from self._look(cpu)
            if self._owner is _READERS:
                return
        yield from self.line.store(cpu, self.activity)
        self._owner = owner
        self._tell(cpu)

    def _look(self, cpu: Cpu) -> Steps[None]:
        """Load the line; what is seen is what it holds when the load is done."""
        yield from self.line.read(cpu, self.activity)
        if cpu.pending:
            yield cpu.take_pending()

    def _tell(self, cpu: Cpu) -> None:
        """The line has been written: the copy of a spinner is gone and it loads it again."""
        if self._osq.head is not None and self._osq.head is not cpu:
            self._osq.head.poke(self, cpu.pending)
