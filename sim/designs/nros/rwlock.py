"""The distributed reader-writer lock of a replica (node-replication, rwlock.rs).

Each reader has a flag on a line of its own, the writer a word that all readers read.

    reader   while the word is set: look | own flag | is the word set now? then own flag back, from the start
    writer   set the word | look at each flag until it is 0

Readers on other cores disturb each other in nothing. A writer looks at as many flags as there are cores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync.lock import Lock, releases, takes
from sim.sync.spin import spin_on

if TYPE_CHECKING:
    from sim.designs.nros.runner import Runner
    from sim.hardware import CacheLine


class ReplicaLock(Lock):
    """Readers are *cpus*; *read_flag* is what a writer pays to look at a flag that is as it was (ps)."""

    removable: ClassVar[bool] = False

    __slots__ = ("_flags", "_line", "_lines", "_read_flag", "_waiters", "writer")

    def __init__(
        self, machine: Machine, name: str, home: int, cpus: Sequence[Cpu], read_flag: int, activity: Activity
    ) -> None:
        super().__init__(name, activity)
        self._line = machine.line(f"{name}: writer", home)
        self._lines: dict[Cpu, CacheLine] = {
            cpu: machine.line(f"{name}: flag of {cpu}", home, owner=cpu.id) for cpu in cpus
        }
        self._flags: dict[Cpu, bool] = dict.fromkeys(cpus, False)
        self._read_flag = read_flag
        self._waiters: dict[Cpu, None] = {}
        self.writer: Cpu | None = None

    def describe_wait(self) -> str:
        return f"{self.name} (held by {self.writer})"

    # -- writing --------------------------------------------------------------------------------------------

    def write_lock(self, runner: Runner) -> Steps[None]:
        """Nobody else writes: who comes here has the combiner's lock. A handler tells nobody of it."""
        steps, cpu = self._write_lock(runner), runner.cpu
        return steps if cpu.plain_locks or not runner.is_thread else takes(self, cpu, "write", steps)

    def _write_lock(self, runner: Runner) -> Steps[None]:
        yield from runner.write(self._line, self.activity)
        assert self.writer is None
        self.writer = runner.cpu
        runner.work(len(self._lines) * self._read_flag, self.activity)
        for cpu, line in self._lines.items():
            if line.held_by(runner.cpu) and not self._flags[cpu]:
                continue
            yield from runner.read(line, self.activity)
            looks = 0
            while self._flags[cpu]:
                yield from runner.look_again(line, self.activity, looks)
                looks += 1

    def write_unlock(self, runner: Runner) -> Steps[None]:
        steps, cpu = self._write_unlock(runner), runner.cpu
        return steps if cpu.plain_locks or not runner.is_thread else releases(self, cpu, "write", steps)

    def _write_unlock(self, runner: Runner) -> Steps[None]:
        yield from runner.write(self._line, self.activity)
        yield from runner.settle()
        self.writer = None
        for waiter in self._waiters:
            waiter.poke(self)

    # -- reading --------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        own = self._lines[cpu]
        while True:
            self._waiters[cpu] = None
            yield from spin_on(self._line, cpu, self, self._is_written)
            del self._waiters[cpu]
            yield from own.write(cpu, self.activity)
            self._flags[cpu] = True
            yield from self._line.read(cpu, self.activity)
            if self.writer is None:
                return
            yield from own.write(cpu, self.activity)
            self._flags[cpu] = False

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self._lines[cpu].write(cpu, self.activity)
        self._flags[cpu] = False

    def _is_written(self) -> bool:
        return self.writer is not None
