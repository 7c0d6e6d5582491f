"""spin::Mutex: compare and swap; who fails loads the word until it is free, and tries again. Unfair."""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.lock import Lock, releases, takes, tries
from sim.sync.spin import spin_on


class Mutex(Lock):
    """The lock in *line*. An interrupt's handler takes and lets go of it by *holder* and `let_go`."""

    __slots__ = ("_waiters", "holder", "line")

    def __init__(self, line: CacheLine, activity: Activity) -> None:
        super().__init__(line.name, activity)
        self.line = line
        self.holder: Cpu | None = None
        self._waiters: dict[Cpu, None] = {}

    def describe_wait(self) -> str:
        return f"{self.line.name} (held by {self.holder})"

    def _is_taken(self) -> bool:
        return self.holder is not None

    def acquire(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        while True:
            yield from self.line.write(cpu, self.activity)
            if self.holder is None:
                self.holder = cpu
                return
            self._waiters[cpu] = None
            yield from spin_on(self.line, cpu, self, self._is_taken)
            del self._waiters[cpu]

    @property
    def is_taken(self) -> bool:
        """Whether somebody has it."""
        return self.holder is not None

    def try_acquire(self, cpu: Cpu) -> Steps[bool]:
        """Look, and try once if it is free. Value: whether it was taken."""
        steps = self._try_acquire(cpu)
        return steps if cpu.plain_locks else tries(self, cpu, "write", steps)

    def _try_acquire(self, cpu: Cpu) -> Steps[bool]:
        yield from self.line.read(cpu, self.activity)
        if cpu.pending:
            yield cpu.take_pending()
        if self.is_taken:
            return False
        yield from self.line.write(cpu, self.activity)
        if self.is_taken:
            return False
        self.holder = cpu
        return True

    def release(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.store(cpu, self.activity)
        self.let_go(cpu.pending)

    def let_go(self, delay: int) -> None:
        """It is free; who waits sees that in *delay* ps."""
        self.holder = None
        for waiter in self._waiters:
            waiter.poke(self, delay)
