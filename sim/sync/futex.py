"""A futex: the queue in the kernel of threads that wait for a word of user memory to change.

    wait   syscall | bucket lock: is the word as expected? queue | asleep ...
    wake   syscall | anybody there? | bucket lock: unqueue | wake

Source: Linux 6.13, kernel/futex/waitwake.c. Left out: the cost of the key, hash collisions (each futex has a
bucket to itself), timeouts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.sync.nodes import QueueNodes
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Sleeper
from sim.sync.spin import QueuedSpinLock


class Futex:
    """Those who wait for the word on *line*. All but the scheduler's part is charged to *activity*."""

    __slots__ = ("_activity", "_entry", "_line", "_scheduler", "bucket", "waiters")

    def __init__(
        self,
        machine: Machine,
        name: str,
        line: CacheLine,
        nodes: QueueNodes,
        scheduler: Scheduler,
        activity: Activity,
    ) -> None:
        self.bucket = QueuedSpinLock(nodes, machine.line(f"futex bucket of {name}"), activity)
        self.waiters: deque[Sleeper] = deque()
        self._line = line
        self._scheduler = scheduler
        self._activity = activity
        self._entry = machine.entry

    def wait(self, cpu: Cpu, expected: Callable[[], bool], reason: str) -> Steps[None]:
        """Sleep until woken, unless the word is no longer as *expected*."""
        self._entry.syscall(cpu, self._activity)
        yield from self.bucket.acquire(cpu)
        yield from self._line.read(cpu, self._activity)
        if not expected():
            yield from self.bucket.release(cpu)
            return
        sleeper = Sleeper(cpu, reason)
        self.waiters.append(sleeper)
        yield from self.bucket.release(cpu)
        yield from self._scheduler.sleep(cpu, sleeper, self._activity)

    def wake(self, cpu: Cpu) -> Steps[None]:
        """Wake the first who waits, if anybody does (futex_hb_waiters_pending)."""
        self._entry.syscall(cpu, self._activity)
        if self.waiters:
            yield from self.wake_first(cpu)

    def wake_all(self, cpu: Cpu) -> Steps[None]:
        """Wake all who wait: unqueue them under the bucket's lock, then wake one after the other."""
        self._entry.syscall(cpu, self._activity)
        if self.waiters:
            yield from self.bucket.acquire(cpu)
            woken, self.waiters = self.waiters, deque()
            yield from self.bucket.release(cpu)
            for sleeper in woken:
                self._scheduler.wake(cpu, sleeper)

    def abandon(self, cpu: Cpu) -> None:
        """The word has gone: who waits for it goes on. Costs nobody but the scheduler anything."""
        woken, self.waiters = self.waiters, deque()
        for sleeper in woken:
            self._scheduler.wake(cpu, sleeper)

    def wake_first(self, cpu: Cpu) -> Steps[None]:
        """Unqueue under the bucket's lock, wake without it (wake_up_q)."""
        yield from self.bucket.acquire(cpu)
        woken = self.waiters.popleft() if self.waiters else None
        yield from self.bucket.release(cpu)
        if woken is not None:
            self._scheduler.wake(cpu, woken)
