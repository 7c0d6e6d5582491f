"""BRAVO: readers of a biased lock leave the lock alone and sign a global table instead.

While a lock's *bias* is set, a reader takes it by writing the lock's address into one slot of a table that
all locks share (`VisibleReaders`), so readers on different cpus write different slots (8 of them share a
line). A writer revokes the bias: it scans the whole table, waits for the readers that it finds, and forbids
the bias for a while.

    reader   load bias | CAS slot: empty -> lock | load bias again |  reads  | slot = empty
                                                 ^ cleared meanwhile: slot = empty, take the underlying lock
    writer   underlying write lock | clear bias | scan slots |.. until those readers are out ..|  writes  |

The reader looks at the bias after it has signed and the writer scans after it has cleared the bias, so one of
the two sees the other. A reader that came through the underlying lock sets the bias again once the inhibition
is over; it may, because it keeps writers out.

Sources: Dice and Kogan, "BRAVO: Biased Locking for Reader-Writer Locks" (ATC 2019); CortenMM artifact,
cortenmm-rw (1021 unpadded slots of 8 bytes, PF-Q underneath, about 32 ms without bias however long the scan).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from sim.engine import Steps
from sim.hardware import MEMORY, CacheLine, Cpu, Machine
from sim.quantities import LINE_BYTES
from sim.sync.lock import Lock, releases, takes
from sim.sync.phase_fair import PhaseFairLock
from sim.sync.spin import spin_on

SLOTS_PER_LINE: Final = LINE_BYTES // 8
"""A slot is a pointer to a lock."""


class VisibleReaders:
    """The table of readers that hold some biased lock, with so many *slots*; one a kernel.

    *scan_line* is what a writer pays to look at a line of the table that nobody wrote since the last scan
    (ps); *inhibit* is how long a revoked lock stays without bias (ps).
    """

    __slots__ = ("inhibit", "lines", "scan_line", "slots")

    def __init__(self, machine: Machine, *, slots: int, scan_line: int, inhibit: int) -> None:
        self.scan_line = scan_line
        self.inhibit = inhibit
        self.slots: list[tuple[BravoLock, Cpu] | None] = [None] * slots
        self.lines: list[CacheLine] = [
            machine.line(f"visible readers {line.start}..{line.stop - 1}") for line in self.slots_by_line()
        ]

    def slot_of(self, cpu: Cpu, address: int) -> int:
        """Where *cpu* signs for the lock at *address*."""
        return ((cpu.id << 16) + ((cpu.id + address) >> 16)) % len(self.slots)

    def line_of(self, slot: int) -> CacheLine:
        return self.lines[slot // SLOTS_PER_LINE]

    def slots_by_line(self) -> list[range]:
        """The slots that lie on each line."""
        slots = range(len(self.slots))
        return [slots[first : first + SLOTS_PER_LINE] for first in slots[::SLOTS_PER_LINE]]


class BravoLock(Lock):
    """A phase-fair lock with reader bias. *address* is where the lock lies in memory (it chooses the slots).

    The bias starts clear: the first reader sets it. A cpu may hold several locks for reading; where two of
    them share a slot, the second is taken through the underlying lock.
    """

    __slots__ = (
        "_inhibited_until",
        "_revoker",
        "_signatures",
        "address",
        "bias",
        "table",
        "underlying",
    )

    def __init__(self, table: VisibleReaders, underlying: PhaseFairLock, address: int) -> None:
        super().__init__(underlying.name, underlying.activity)
        underlying.name = ""  # a part of this one from now on
        self.table = table
        self.underlying = underlying
        self.address = address
        self.bias = False
        self._inhibited_until = 0
        self._revoker: Cpu | None = None
        self._signatures = 0

    @property
    def readers(self) -> int:
        """How many hold the lock for reading, through the table or the underlying lock."""
        return self._signatures + self.underlying.readers

    @property
    def writer(self) -> Cpu | None:
        """The cpu that holds the lock for writing; one that still revokes the bias does not hold it."""
        return self.underlying.writer if self._revoker is None else None

    def describe_wait(self) -> str:
        return f"{self._signatures} biased readers of {self.underlying.line.name}"

    def counted(self) -> int:
        return self.readers

    def knows(self, cpu: Cpu) -> bool:
        signed = self.table.slots[self.table.slot_of(cpu, self.address)] == (self, cpu)
        return signed or self.underlying.readers > 0

    # -- readers --------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self.underlying.line.read(cpu, self.activity)
        if self.bias:
            signed = yield from self._sign(cpu)
            if signed:
                return
        yield from self.underlying.read_lock(cpu)
        if not self.bias and cpu.now >= self._inhibited_until:
            yield from self.underlying.line.write(cpu, self.activity)
            self.bias = True

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        slot = self.table.slot_of(cpu, self.address)
        if self.table.slots[slot] == (self, cpu):
            yield from self._erase(cpu, slot)
        else:
            yield from self.underlying.read_unlock(cpu)

    def _sign(self, cpu: Cpu) -> Steps[bool]:
        """Take the lock through the table; the generator's value tells whether that worked."""
        table = self.table
        slot = table.slot_of(cpu, self.address)
        yield from table.line_of(slot).write(cpu, self.activity)  # a CAS takes the line even if it fails
        if table.slots[slot] is not None:
            return False
        table.slots[slot] = (self, cpu)
        self._signatures += 1
        if cpu.pending:
            yield cpu.take_pending()
        yield from self.underlying.line.read(cpu, self.activity)
        if self.bias:
            return True
        yield from self._erase(cpu, slot)
        return False

    def _erase(self, cpu: Cpu, slot: int) -> Steps[None]:
        yield from self.table.line_of(slot).write(cpu, self.activity)
        self.table.slots[slot] = None
        self._signatures -= 1
        if self._revoker is not None:
            self._revoker.poke(self, cpu.pending)

    # -- writers --------------------------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self.underlying.write_lock(cpu)
        if self.bias:
            self._revoker = cpu
            yield from self.underlying.line.write(cpu, self.activity)
            self.bias = False
            yield from self._await_signed_readers(cpu)
            self._inhibited_until = cpu.now + self.table.inhibit
            self._revoker = None

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.underlying.write_unlock(cpu)

    def _await_signed_readers(self, cpu: Cpu) -> Steps[None]:
        """Scan the table. A line that was written since the last scan comes from the cache of its writer."""
        table = self.table
        cpu.probe.bias_revoked(self, cpu)
        for line, slots in zip(table.lines, table.slots_by_line(), strict=True):
            cpu.work(table.scan_line, self.activity)
            yield cpu.take_pending()
            if not line.sharers and line.owner not in (MEMORY, cpu.id):
                yield from line.read(cpu, self.activity)
            for slot in slots:
                if self._is_signed(slot):
                    yield from spin_on(line, cpu, self, partial(self._is_signed, slot))

    def _is_signed(self, slot: int) -> bool:
        entry = self.table.slots[slot]
        return entry is not None and entry[0] is self
