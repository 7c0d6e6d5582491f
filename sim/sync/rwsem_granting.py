"""The reader-writer semaphore up to Linux 3.9 (lib/rwsem.c, read as of 3.4): whoever is woken has the lock.

The count is that of `rwsem_xadd`. What differs is what a release does for a writer that sleeps: it takes the
lock in its name, and only then wakes it. So nobody is faster than the first sleeper, and the lock stays taken
for as long as that needs to run again:

    A   holds |count -= W: negative| wait_lock, count += W for B, wake B
    B   asleep ................................................... | runs | holds
    C             count += W: not alone | wait_lock, count -= W, sleep behind B

Who is let in is woken under wait_lock, one after the other (wake_q, a list for later, came with 4.8). Whoever
finds the lock taken meanwhile stands in line for wait_lock, and counts as a holder until he has had it. It is
a ticket lock (until 4.1), on the line of the count: all who stand there load that line again each time that
anybody changes the count.

With 3.10 a writer that runs may take the lock before the one that was woken ("steal"), and a thread that lets
it go may take it again at once. Here every hand-over between threads that contend is a wake-up.
"""

from __future__ import annotations

from typing import Literal

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Task
from sim.sync.nodes import QueueNodes
from sim.sync.rwsem_xadd import ACTIVE, READ, WAITING, WRITE, XaddRwSem
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Waiter
from sim.sync.word import TicketLock


class GrantingRwSem(XaddRwSem):
    """Nobody spins, nobody steals; there is no owner word."""

    __slots__ = ("_tickets",)

    def __init__(
        self, name: str, line: CacheLine, nodes: QueueNodes, scheduler: Scheduler, activity: Activity
    ) -> None:
        super().__init__(name, line, nodes, scheduler, activity, owner_spinning=False)
        self._tickets = TicketLock(line, activity, f"{name}: wait_lock")

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        count = yield from self._add(cpu, WRITE)
        if count != WRITE:
            yield from self._sleep(cpu, Waiter(cpu, self.name, write=True), WRITE)

    def _sleep_for_read(self, cpu: Cpu) -> Steps[None]:
        return self._sleep(cpu, Waiter(cpu, self.name, write=False), READ)

    def _sleep(self, cpu: Cpu, waiter: Waiter, counted: int) -> Steps[None]:
        """rwsem_down_failed_common: queue up, take back what was *counted*, and wait to be given the lock."""
        yield from self._tickets.acquire(cpu)
        first = not self._waiters
        self._waiters.append(waiter)
        count = yield from self._add(cpu, (WAITING if first else 0) - counted)
        if count == WAITING:  # nobody has it: the first sleeper, maybe this one
            yield from self._grant(cpu)
        elif count > WAITING and waiter.write and not first and not self._waiters[0].write:
            yield from self._grant(cpu)  # readers have it, and readers wait in front of this writer
        yield from self._tickets.release(cpu)
        while not waiter.granted:
            yield from self._scheduler.sleep(cpu, waiter, self.activity)

    def _wake_first(self, cpu: Cpu) -> Steps[None]:
        """rwsem_wake, by who has let the lock go: first a look whether somebody was faster."""
        yield from self._tickets.acquire(cpu)
        if self._waiters:
            count = WAITING
            if not self._waiters[0].write:
                count = yield from self._add(cpu, 0)  # an atomic one, for the line is to be written anyway
            if count >= WAITING:
                yield from self._grant(cpu)
        yield from self._tickets.release(cpu)

    def _write_downgrade(self, cpu: Cpu) -> Steps[None]:
        count = yield from self._add(cpu, -WAITING)
        if count < 0:
            yield from self._tickets.acquire(cpu)
            if self._waiters and not self._waiters[0].write:
                yield from self._let_in(cpu, (yield from self._grant_readers(cpu, counted=0)))
            yield from self._tickets.release(cpu)

    def _grant(self, cpu: Cpu) -> Steps[None]:
        """__rwsem_do_wake: give the lock to the first sleeper, a reader with all readers behind it."""
        waiter = self._waiters[0]
        if not waiter.write:
            yield from self._let_in(cpu, (yield from self._grant_readers(cpu, counted=0)))
            return
        counted = WRITE - (WAITING if len(self._waiters) == 1 else 0)
        while True:
            before = (yield from self._add(cpu, counted)) - counted
            if not before & ACTIVE:
                break
            after = yield from self._add(cpu, -counted)
            if after & ACTIVE:  # who holds it or tries looks at the queue when it lets go
                return
        self._waiters.popleft()
        yield from self._let_in(cpu, [waiter])

    def _let_in(self, cpu: Cpu, waiters: list[Waiter]) -> Steps[None]:
        """Wake *waiters*, one after the other, who have the lock."""
        for waiter in waiters:
            waiter.granted = True
            self._scheduler.wake(cpu, waiter)
            yield cpu.take_pending()

    def _set_owner(self, cpu: Cpu, owner: Task | Literal["readers"] | None) -> Steps[None]:
        return
        yield

    def _tell(self, cpu: Cpu) -> None:
        self._tickets.line_written(cpu)
