"""A reference count in each VMA (since 6.15; include/linux/mmap_lock.h and mm/mmap_lock.c).

    vm_refcnt        0           detached: it is in no tree, and may be another VMA the next time one looks
                     1           attached: in the tree
                     + 1         for each reader
                     + OFFSET    a writer waits for readers, or marks it

    reader   mark == seq? | += 1, not from 0, not above OFFSET | mark == seq? mm and range? ... | -= 1
    writer   += OFFSET | wait until OFFSET + 1 | mark = seq | -= OFFSET | changes | seq += 1

Both keep to one line, the VMA's third. VMAs are freed at once and given out again while readers may still
look at them (SLAB_TYPESAFE_BY_RCU): what a reader has got is sure only after it has its reference. A writer
of any VMA of a process sleeps in the one `vma_writer_wait` of its mm; the last reader wakes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.linux.activities import LOCK_VMA, VMA_WORK
from sim.designs.linux.vma_locks.base import Site, VmaLock, VmaLocks
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import CacheLine, Cpu
from sim.sync import Lock, Scheduler, Sleeper, releases, takes, tries

if TYPE_CHECKING:
    from sim.designs.linux.slab import SlabObject

VMA_LOCK_OFFSET: Final = 0x40000000
_VM_REFCNT: Final = 128
"""Where vm_refcnt lies in struct vm_area_struct: at the beginning of its third line."""
VMA_REF_LIMIT: Final = VMA_LOCK_OFFSET - 1


class WriterWait:
    """vma_writer_wait (struct rcuwait): the one task that waits, on a line of mm_struct.

    Both ways write the line, whether or not the task has to sleep in between.
    """

    __slots__ = ("_line", "_scheduler", "_task")

    def __init__(self, line: CacheLine, scheduler: Scheduler) -> None:
        self._line = line
        self._scheduler = scheduler
        self._task: Sleeper | None = None

    def prepare(self, cpu: Cpu, reason: str) -> Steps[Sleeper]:
        """prepare_to_rcuwait: who looks at its condition from now on will be woken if that changes."""
        yield from self._line.store(cpu, LOCK_VMA)
        self._task = Sleeper(cpu, reason)
        return self._task

    def sleep(self, cpu: Cpu, sleeper: Sleeper) -> Steps[None]:
        """schedule(): until somebody wakes it, or not at all if that has happened since it looked."""
        return self._scheduler.sleep(cpu, sleeper, LOCK_VMA)

    def finish(self, cpu: Cpu) -> Steps[None]:
        """finish_rcuwait."""
        yield from self._line.store(cpu, LOCK_VMA)
        self._task = None

    def wake_up(self, cpu: Cpu) -> Steps[None]:
        """rcuwait_wake_up."""
        yield from self._line.read(cpu, LOCK_VMA)
        if self._task is not None:
            self._scheduler.wake(cpu, self._task)


class VmRefcnt(Lock):
    """vm_refcnt of one VMA, as a lock: a reader has a reference, a writer waits until nobody has one."""

    __slots__ = ("count", "line", "wait")

    removable: ClassVar[bool] = False

    def __init__(self, name: str, line: CacheLine, wait: WriterWait) -> None:
        super().__init__(name, LOCK_VMA)
        self.line = line
        self.wait = wait
        self.count = 0

    def describe_wait(self) -> str:
        return f"{self.name} ({self.count % VMA_LOCK_OFFSET} references)"

    def get(self, cpu: Cpu) -> Steps[bool]:
        """__refcount_inc_not_zero_limited_acquire: load, then cmpxchg until nobody was faster."""
        steps = self._get(cpu)
        return steps if cpu.plain_locks else tries(self, cpu, "read", steps)

    def _get(self, cpu: Cpu) -> Steps[bool]:
        return self._add(cpu, 1, VMA_REF_LIMIT)

    def put(self, cpu: Cpu) -> Steps[None]:
        """vma_refcount_put: the last reader before a writer wakes it."""
        steps = self._put(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _put(self, cpu: Cpu) -> Steps[None]:
        wait = self.wait  # the VMA may be another process's before the wake-up
        yield from self.line.write(cpu, LOCK_VMA)
        self.count -= 1
        if self.count in (VMA_LOCK_OFFSET, VMA_LOCK_OFFSET + 1):  # is_vma_writer_only
            yield from wait.wake_up(cpu)

    def exclude_readers(self, cpu: Cpu) -> Steps[None]:
        """The second half of __vma_enter_locked, for a VMA that is attached."""
        steps = self._exclude_readers(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _exclude_readers(self, cpu: Cpu) -> Steps[None]:
        return self.wait_for_readers(cpu, VMA_LOCK_OFFSET + 1)

    def admit_readers(self, cpu: Cpu) -> Steps[None]:
        """__vma_exit_locked."""
        steps = self._admit_readers(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _admit_readers(self, cpu: Cpu) -> Steps[None]:
        return self.subtract(cpu, VMA_LOCK_OFFSET)

    def announce_writer(self, cpu: Cpu) -> Steps[bool]:
        """refcount_add_not_zero of VMA_LOCK_OFFSET: no reader comes in any more. False for a detached VMA."""
        return self._add(cpu, VMA_LOCK_OFFSET)

    def wait_for_readers(self, cpu: Cpu, target: int) -> Steps[None]:
        """rcuwait_wait_event until the count is *target*."""
        sleeper = yield from self.wait.prepare(cpu, self.name)
        while True:
            yield from self.line.read(cpu, LOCK_VMA)
            if self.count == target:
                break
            yield from self.wait.sleep(cpu, sleeper)
        yield from self.wait.finish(cpu)

    def subtract(self, cpu: Cpu, number: int) -> Steps[None]:
        """refcount_sub_and_test; the caller looks at the count."""
        yield from self.line.write(cpu, LOCK_VMA)
        self.count -= number

    def set(self, cpu: Cpu, count: int) -> Steps[None]:
        """refcount_set_release."""
        yield from self.line.store(cpu, LOCK_VMA)
        self.count = count

    def _add(self, cpu: Cpu, number: int, limit: int | None = None) -> Steps[bool]:
        """Add *number* to a count that is not 0 and stays within *limit*. Value: whether it was so.

        A cmpxchg that comes too late fails, but it has brought the line: the next one follows while the line
        is still here, as in `RwSem.read_trylock`.
        """
        apart = yield from self.line.read_to_write(cpu, LOCK_VMA)
        seen = self.count
        if not self._may_add(number, limit):
            return False
        if apart:
            yield from self.line.write(cpu, LOCK_VMA)
        if self.count != seen:
            if not self._may_add(number, limit):
                return False
            cpu.stall(self.line.fabric.rmw, LOCK_VMA)
        self.count += number
        return True

    def _may_add(self, number: int, limit: int | None) -> bool:
        return self.count > 0 and (limit is None or self.count + number <= limit)


class RefcountVmaLocks(VmaLocks):
    """mm_lock_seq and vma_writer_wait of one process."""

    __slots__ = ("seq", "writer_wait")

    reuse_vmas: ClassVar[bool] = True

    def __init__(self, site: Site) -> None:
        self.seq = site.mm_lock_seq
        self.writer_wait = WriterWait(site.lines["vma_writer_wait"], site.scheduler)

    def new(self, cpu: Cpu, start: int, memory: SlabObject) -> RefcountVmaLock:
        refcnt = VmRefcnt(f"vm_refcnt of {start:#x}", memory.line(_VM_REFCNT), self.writer_wait)
        return RefcountVmaLock(self, refcnt)

    def renew(self, lock: VmaLock, start: int) -> None:
        assert isinstance(lock, RefcountVmaLock)
        lock.begin_anew(self, start)

    def begin_write(self, cpu: Cpu) -> Steps[None]:
        return self.seq.begin(cpu)

    def end_write_all(self, cpu: Cpu) -> Steps[None]:
        return self.seq.end(cpu)


class RefcountVmaLock(VmaLock):
    """vm_refcnt and vm_lock_seq of one VMA."""

    __slots__ = ("_mark", "_mm", "refcnt")

    def __init__(self, mm: RefcountVmaLocks, refcnt: VmRefcnt) -> None:
        self._mm = mm
        self.refcnt = refcnt
        self._mark = -1

    def begin_anew(self, mm: RefcountVmaLocks, start: int) -> None:
        """vma_lock_init of a VMA that was freed: nobody has a reference, and nobody can get one."""
        if self.refcnt.count:
            raise ModelError(f"{self.refcnt.name} has {self.refcnt.count} references and is given out again")
        self._mm = mm
        self._mark = -1
        self.refcnt.wait = mm.writer_wait
        self.refcnt.name = f"vm_refcnt of {start:#x}"

    def start_read(self, cpu: Cpu) -> Steps[bool]:
        seq = yield from self._mm.seq.read(cpu, VMA_WORK)
        if self._mark == seq:
            return False
        taken = yield from self.refcnt.get(cpu)
        if not taken:
            return False
        seq = yield from self._mm.seq.read(cpu, VMA_WORK)
        if self._mark == seq:  # a writer has come and gone since the first look
            yield from self.refcnt.put(cpu)
            return False
        return True

    @property
    def is_detached(self) -> bool:
        return not self.refcnt.count

    @property
    def is_attached(self) -> bool:
        return bool(self.refcnt.count)

    def end_read(self, cpu: Cpu) -> Steps[None]:
        return self.refcnt.put(cpu)

    def start_write(self, cpu: Cpu) -> Steps[None]:
        seq = yield from self._mm.seq.read(cpu, LOCK_VMA)
        if self._mark == seq:
            return
        attached = yield from self.refcnt.announce_writer(cpu)
        if not attached:  # a new VMA, which no reader can enter
            self._mark = seq
            return
        yield from self.refcnt.exclude_readers(cpu)
        self._mark = seq
        yield from self.refcnt.admit_readers(cpu)

    def mark_attached(self, cpu: Cpu) -> Steps[None]:
        return self.refcnt.set(cpu, 1)

    def mark_detached(self, cpu: Cpu) -> Steps[None]:
        """Its last reference goes. A reader that is about to see the mark may have one for a moment."""
        yield from self.refcnt.subtract(cpu, 1)
        if not self.refcnt.count:
            return
        present = yield from self.refcnt.announce_writer(cpu)
        if present:
            yield from self.refcnt.wait_for_readers(cpu, VMA_LOCK_OFFSET)
            yield from self.refcnt.subtract(cpu, VMA_LOCK_OFFSET)

    @property
    def is_write_locked(self) -> bool:
        return self._mark == self._mm.seq.value

    def contradiction(self) -> str | None:
        if self._mark > self._mm.seq.value:
            return f"is marked by writer {self._mark}, and there were {self._mm.seq.value}"
        if self.refcnt.count != 1:
            return f"has {self.refcnt.count} references where the tree has the only one"
        return None
