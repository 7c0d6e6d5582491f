"""Linux's seqlock: readers write nothing; they notice a writer by the sequence number and read once more.

    writer   spin lock | seq += 1: odd |      writes      | seq += 1: even | spin unlock
    reader   load seq: odd? spin |  reads  | load seq: as before? done : once more

Sequence number and spin lock lie on one line, so every step of a writer takes the line from all readers.

Invariants: the number is odd exactly while a writer is inside; a reader whose two loads give the same even
number has read while no writer was inside. Writers exclude each other; they never wait for readers, and
readers may be kept reading by writers that come often enough.

Source: Linux 6.13, include/linux/seqlock.h (`seqlock_t`, read_seqbegin, read_seqretry, write_seqlock).
"""

from __future__ import annotations

from typing import ClassVar

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.lock import Lock, releases, takes
from sim.sync.nodes import QueueNodes
from sim.sync.spin import QueuedSpinLock


class SeqLock(Lock):
    """A sequence number and the queued spin lock of its writers on one *line*."""

    __slots__ = ("_lock", "_spinning", "line", "sequence")

    removable: ClassVar[bool] = False

    def __init__(self, nodes: QueueNodes, line: CacheLine, activity: Activity) -> None:
        super().__init__(line.name, activity)
        self.line = line
        self.sequence = 0
        self._lock = QueuedSpinLock(nodes, line, activity, name="")
        self._spinning: list[Cpu] = []

    def describe_wait(self) -> str:
        return f"{self.line.name} (written by {self._lock.holder})"

    # -- readers --------------------------------------------------------------------------------------------

    def read_begin(self, cpu: Cpu) -> Steps[int]:
        """Wait until no writer is inside. Value: the sequence number, for `read_retry`."""
        while True:
            yield from self.line.read(cpu, self.activity)
            sequence = self.sequence
            if not sequence & 1:
                return sequence
            if cpu.pending:
                yield cpu.take_pending()
            if self.sequence == sequence:
                self._spinning.append(cpu)
                yield from cpu.park(self, self.activity)

    def read_retry(self, cpu: Cpu, sequence: int) -> Steps[bool]:
        """Value: whether a writer has come since, so that what was read is void."""
        yield from self.line.read(cpu, self.activity)
        return self.sequence != sequence

    # -- writers --------------------------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self._lock.acquire(cpu)
        yield from self.line.store(cpu, self.activity)
        self.sequence += 1

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.store(cpu, self.activity)
        self.sequence += 1
        waiting, self._spinning = self._spinning, []
        for reader in waiting:
            reader.poke(self, cpu.pending)
        yield from self._lock.release(cpu)
