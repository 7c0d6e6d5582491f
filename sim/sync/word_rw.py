"""A reader-writer spin lock that is one word, as ostd has it (Asterinas, ostd/src/sync/rwlock.rs).

    reader   fetch_add: no writer? in.  Else fetch_sub, and again
    writer   compare-and-swap of a word that says nobody is in, until it succeeds

Every attempt takes the line, whoever holds the lock; nobody is in a queue, so it is not fair. Left out: a
reader that has counted itself in vain makes a writer's attempt fail until it has taken that back.
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.lock import Lock, releases, takes


class WordRwLock(Lock):
    """*readers* and *writer* are the holders."""

    __slots__ = ("line", "readers", "writer")

    def __init__(self, line: CacheLine, activity: Activity) -> None:
        super().__init__(line.name, activity)
        self.line = line
        self.readers = 0
        self.writer: Cpu | None = None

    def counted(self) -> int:
        return self.readers

    def describe_wait(self) -> str:
        holder = f"written by {self.writer}" if self.writer else f"{self.readers} readers"
        return f"{self.line.name} ({holder})"

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        while True:
            yield from self.line.write(cpu, self.activity)
            if self.writer is None:
                self.readers += 1
                return
            yield from self.line.write(cpu, self.activity)

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)
        self.readers -= 1

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        while True:
            yield from self.line.write(cpu, self.activity)
            if self.writer is None and not self.readers:
                self.writer = cpu
                return

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)
        self.writer = None
