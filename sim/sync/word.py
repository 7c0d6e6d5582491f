"""Locks that are one word: test-and-set, test-and-test-and-set, and the ticket lock.

All waiters spin on the same line. A release makes every one of them load it again, one after another, before
the winner can write; that is why these locks collapse and queue locks do not.

    holder    release |= write =|
    waiters                     |= reload =|= reload =|= reload =| ... then the winner writes

Sources: Boyd-Wickizer et al., Non-scalable locks are dangerous (2012), for the ticket lock.
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.lock import Lock, releases, takes


class TasLock(Lock):
    """Test-and-set: exchange until the word was free. With *pause* > 0 test-and-test-and-set: a waiter that
    has failed loads the word, *pause* ps after each look that found it taken, and exchanges when it is free.
    A *blind* one does not look: it exchanges again after each pause, and takes the line away from the holder.

    Unfair: whoever has the line when the lock is free gets it.
    """

    __slots__ = ("blind", "holder", "line", "pause")

    def __init__(self, line: CacheLine, activity: Activity, pause: int = 0, *, blind: bool = False) -> None:
        super().__init__(line.name, activity)
        self.line = line
        self.pause = pause
        self.blind = blind
        self.holder: Cpu | None = None

    def _is_free(self) -> bool:
        return self.holder is None

    def acquire(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        while True:
            yield from self.line.write(cpu, self.activity)
            if self._is_free():
                self.holder = cpu
                return
            if self.blind:
                cpu.work(self.pause, self.activity)
            if self.blind or not self.pause:
                continue
            while True:
                cpu.work(self.pause, self.activity)
                yield from self.line.read(cpu, self.activity)
                if self._is_free():
                    break

    def release(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.store(cpu, self.activity)
        self.holder = None


class TicketLock(Lock):
    """A ticket lock: take a number, spin until it is served. Both counters lie in one line.

    Fair: first come, first served. A waiter is parked here and told of each change of the line; it then pays
    for the load that its spinning would have made.
    """

    __slots__ = ("_next", "_serving", "_waiters", "holder", "line")

    def __init__(self, line: CacheLine, activity: Activity, name: str | None = None) -> None:
        super().__init__(line.name if name is None else name, activity)
        self.line = line
        self.holder: Cpu | None = None
        self._next = 0
        self._serving = 0
        self._waiters: dict[Cpu, None] = {}

    def describe_wait(self) -> str:
        return f"{self.line.name} (held by {self.holder})"

    def acquire(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # fetch-and-add of next
        ticket = self._next
        self._next += 1
        self.line_written(cpu)
        while True:
            yield from self.line.read(cpu, self.activity)
            serving = self._serving
            if cpu.pending:
                yield cpu.take_pending()
            if serving == ticket:
                break
            if self._serving != serving or not self.line.held_by(cpu):
                continue  # written since: the spinning load goes out again
            self._waiters[cpu] = None
            yield from cpu.park(self, self.activity)
            self._waiters.pop(cpu, None)
        self.holder = cpu

    def release(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        self.holder = None
        yield from self.line.store(cpu, self.activity)
        self._serving += 1
        self.line_written(cpu)

    def line_written(self, cpu: Cpu) -> None:
        """*cpu* has written the line: the copies of all waiters are gone and they load it again."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            waiter.poke(self, cpu.pending)
