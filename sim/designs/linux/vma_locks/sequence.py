"""mm_lock_seq, by which VMAs are marked: the number of the write section (include/linux/mmap_lock.h).

    until 6.13   down_write | ...                     | seq += 1 | up_write or downgrade
    since 6.14   down_write | seq += 1 (odd) | ...    | seq += 1 | up_write or downgrade     (a seqcount)

A VMA whose mark equals the number is locked by the writer of this section; one store releases all of them.
"""

from __future__ import annotations

from sim.designs.linux.activities import LOCK_VMA
from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu


class MmLockSeq:
    """The number, *value*; as a *seqcount* it is odd inside of a write section."""

    __slots__ = ("_line", "_seqcount", "value")

    def __init__(self, line: CacheLine, *, seqcount: bool) -> None:
        self._line = line
        self._seqcount = seqcount
        self.value = 0

    def read(self, cpu: Cpu, activity: Activity) -> Steps[int]:
        """Look at it. Value: the number."""
        yield from self._line.read(cpu, activity)
        return self.value

    def begin(self, cpu: Cpu) -> Steps[None]:
        """*cpu* has just taken mmap_lock for writing (mm_lock_seqcount_begin)."""
        if self._seqcount:
            yield from self._line.store(cpu, LOCK_VMA)
            self.value += 1

    def end(self, cpu: Cpu) -> Steps[None]:
        """vma_end_write_all: *cpu* is about to let it go or to keep it for reading."""
        yield from self._line.store(cpu, LOCK_VMA)
        self.value += 1
