"""A lock of ranges in the place of mmap_lock (A. Kogan, D. Dice, S. Issa, Scalable Range Locks for Scalable
Address Spaces and Beyond, EuroSys 2020).

    a fault         its page, to read
    mprotect        to read: which VMA is it, and what is the sequence | what changes, a page more at each
                    side, to write | is all as it was, and does the tree keep its shape? else everything
    mmap, munmap    everything, to write, as all others

The sequence counts the sections that had everything. What keeps the tree's shape are a VMA that changes as a
whole without being joined, and a boundary between two that moves. A page more at each side keeps out who
works on a neighbour that this one might be joined with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.committed import with_other_rights
from sim.designs.linux.space_locks.base import SpaceLocks
from sim.designs.linux.space_locks.whole import LOCK_MMAP
from sim.engine import Steps
from sim.hardware import Cpu, Task
from sim.mm import Rights
from sim.sync import Lock, RangeLock

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.layout import MmLines
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


class RangeSpace(SpaceLocks):
    """The list of held ranges; *sequence* is how often one of them was everything, to write.

    *_parts* are the threads that hold a part to write.
    """

    __slots__ = ("_parts", "_ranges", "_sequence_line", "sequence")

    def __init__(self, mm: LinuxMm, kernel: LinuxKernel, lines: MmLines, cpu: Cpu) -> None:
        ranges = RangeLock(kernel.machine, "mmap_lock", lines["mmap_lock.count"], LOCK_MMAP)
        super().__init__(mm, ranges, None)
        self._ranges = ranges
        self._parts: dict[Task, None] = {}
        self._sequence_line = kernel.machine.line("mm.range_sequence", cpu.socket, owner=cpu.id)
        self.sequence = 0

    # -- to change it ---------------------------------------------------------------------------------------

    def lock_all(self, cpu: Cpu) -> Steps[None]:
        yield from self._ranges.write_lock(cpu)
        yield from self._sequence_line.store(cpu, LOCK_MMAP)
        self.sequence += 1

    def lock_to_protect(self, cpu: Cpu, start: int, end: int, rights: Rights) -> Steps[None]:
        mm, ranges = self._mm, self._ranges
        if start < end:
            yield from ranges.acquire(cpu, start, end, write=False)
            yield from mm.tree.find(cpu, start)
            yield from self._sequence_line.read(cpu, VMA_WORK)
            sequence, part = self.sequence, self._part_to_change(start, end, rights)
            yield from ranges.release(cpu)
            if part is not None:
                low, high = part
                yield from ranges.acquire(cpu, low - 1, high + 1, write=True)
                yield from self._sequence_line.read(cpu, VMA_WORK)
                if self.sequence == sequence and self._part_to_change(start, end, rights) == part:
                    self._parts[cpu.current] = None
                    return
                yield from ranges.release(cpu)
        yield from self.lock_all(cpu)

    def _part_to_change(self, start: int, end: int, rights: Rights) -> tuple[int, int] | None:
        """The pages of all VMAs that change if [start, end) gets *rights*; None where the tree does, too, or
        it is not one VMA (`modify`)."""
        tree = self._mm.tree
        vma = tree.peek(start)
        if vma is None or end > vma.end:
            return None
        if vma.rights == rights:
            return vma.start, vma.end
        area, pgoff = with_other_rights(vma, rights), vma.pgoff + start - vma.start
        before, after = tree.neighbours(vma.start, vma.end)
        left = before if before is not None and start == vma.start else None
        right = after if after is not None and end == vma.end else None
        if left is not None and not left.joins(area, pgoff, vma.anon_vma):
            left = None
        if right is not None and not right.is_joined_by(area, pgoff + end - start, vma.anon_vma):
            right = None
        whole = (start, end) == (vma.start, vma.end)
        if left is None and right is None:
            return (start, end) if whole else None
        if whole or (left is not None and right is not None):
            return None
        return (left or vma).start, (right or vma).end

    def unlock(self, cpu: Cpu) -> Steps[None]:
        if cpu.current in self._parts:
            del self._parts[cpu.current]
            yield from self._ranges.release(cpu)
        else:
            yield from self._ranges.write_unlock(cpu)

    # -- to fault in it -------------------------------------------------------------------------------------

    def begin_fault(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        yield from self._ranges.acquire(cpu, page, page + 1, write=False)
        return (yield from self._mm.tree.find(cpu, page))

    def unlock_read(self, cpu: Cpu) -> Steps[None]:
        held = self._ranges.held_by(cpu.current)
        assert held is not None
        return self._ranges.read_unlock(cpu) if held.is_everything else self._ranges.release(cpu)

    # -- what is checked ------------------------------------------------------------------------------------

    def stored_under(self, task: Task, vma: Vma) -> Sequence[Lock]:
        """Nothing that the probe knows where a part is held that has all of *vma*."""
        held = self._ranges.held_by(task)
        part = task in self._parts and held is not None and held.write
        covered = held is not None and held.start <= vma.start and vma.end <= held.end
        return () if part and covered else (self._ranges,)
