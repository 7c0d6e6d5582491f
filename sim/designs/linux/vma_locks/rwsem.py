"""A rwsem for each VMA (6.4 to 6.14; mm/memory.c and include/linux/mm.h of 6.13).

Faults read-lock it with a trylock. A writer takes it for a moment, to set the VMA's *mark* to the sequence
number of its mm; while the two are equal, faults go to mmap_lock. One store of the sequence then releases
every VMA that was marked in the section.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.linux.activities import LOCK_VMA, VMA_WORK
from sim.designs.linux.vma_locks.base import Site, VmaLock, VmaLocks
from sim.engine import Steps
from sim.hardware import Cpu
from sim.sync import RwSem

if TYPE_CHECKING:
    from sim.designs.linux.slab import SlabObject

_OWNER: Final = 8
"""Where the owner begins in struct rw_semaphore, behind the count; the OSQ and the wait list follow it."""


class RwSemVmaLocks(VmaLocks):
    """mm_lock_seq, and how rwsems are made."""

    __slots__ = ("_site", "seq")

    separate: ClassVar[bool] = True

    def __init__(self, site: Site) -> None:
        self._site = site
        self.seq = site.mm_lock_seq

    def new(self, cpu: Cpu, start: int, memory: SlabObject) -> RwSemVmaLock:
        site, name = self._site, f"vm_lock of {start:#x}"
        count, owner = memory.line(0), memory.line(_OWNER)
        rwsem = RwSem(name, count, owner, site.osq_nodes, site.scheduler, LOCK_VMA, site.rwsem)
        return RwSemVmaLock(self, rwsem)

    def begin_write(self, cpu: Cpu) -> Steps[None]:
        return self.seq.begin(cpu)

    def end_write_all(self, cpu: Cpu) -> Steps[None]:
        return self.seq.end(cpu)


class RwSemVmaLock(VmaLock):
    """The separately allocated `struct vma_lock`, and vm_lock_seq."""

    __slots__ = ("_mark", "_mm", "_rwsem")

    def __init__(self, mm: RwSemVmaLocks, rwsem: RwSem) -> None:
        self._mm = mm
        self._rwsem = rwsem
        self._mark = -1

    def start_read(self, cpu: Cpu) -> Steps[bool]:
        seq = yield from self._mm.seq.read(cpu, VMA_WORK)
        if self._mark == seq:
            return False
        taken = yield from self._rwsem.read_trylock(cpu)
        if not taken:
            return False
        seq = yield from self._mm.seq.read(cpu, VMA_WORK)
        if self._mark == seq:  # a writer has come and gone since the first look
            yield from self._rwsem.read_unlock(cpu)
            return False
        return True

    def end_read(self, cpu: Cpu) -> Steps[None]:
        return self._rwsem.read_unlock(cpu)

    def start_write(self, cpu: Cpu) -> Steps[None]:
        seq = yield from self._mm.seq.read(cpu, LOCK_VMA)
        if self._mark == seq:
            return
        yield from self._rwsem.write_lock(cpu)
        self._mark = seq
        yield from self._rwsem.write_unlock(cpu)

    @property
    def is_write_locked(self) -> bool:
        return self._mark == self._mm.seq.value

    def contradiction(self) -> str | None:
        if self._mark <= self._mm.seq.value:
            return None
        return f"is marked by writer {self._mark}, and there were {self._mm.seq.value}"

    def mark_detached(self, cpu: Cpu) -> Steps[None]:
        return  # a flag in the VMA; readers that took the lock before have left, and new ones see it
        yield
