"""An index of VMAs alone, as a bench of the structure in user space: nothing is mapped.

The index is of the kind that the design has, with the locks of a process that nobody runs in:

    interval skip list   Query without a lock; Lock(range), Swap, Unlock to change it
    any other            look-ups in an RCU read section; who changes it takes one lock, beside the root: a
                         mutex of POSIX threads, which is what spinlock_t is in tools/include/linux

An *entry* is a pointer: the VMAs here take no memory of their own. Nodes come from the caches of the kernel;
those of user space (malloc, and a list of freed ones behind a mutex) are left out.

Source: kaist-cp/interval-vm at 23c1f4a, ds_benchmark/bench.py; Linux 6.8, tools/testing/radix-tree and
tools/include/linux/spinlock.h, recalled. What its programs islist and maple_b do could not be read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.addresses import FIRST_PAGE, HIGHEST_PAGE
from sim.designs.linux.slab import fill
from sim.designs.linux.vma import Area, Vma
from sim.designs.linux.vma_indexes import VMA_INDEXES, IndexSite, IntervalSkipList
from sim.designs.linux.vma_locks.interval import IntervalVmaLocks
from sim.engine import Activity, Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import READ_WRITE
from sim.sync import PthreadMutex

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm

LOCK_INDEX: Final = Activity("lock: index")
_ENTRY: Final = Area(READ_WRITE)


class BareIndex(ABC):
    """An *index*, with the locks of *mm*; *model* is the VMA whose memory and lock entries name."""

    __slots__ = ("_mm", "index", "model")

    def __init__(self, mm: LinuxMm, cpu: Cpu) -> None:
        self._mm = mm
        kernel = mm.kernel
        site = IndexSite(
            kernel.machine,
            mm.cost,
            kernel.machine.line("root of the index", cpu.socket, owner=cpu.id),
            kernel.rcu,
            kernel.slabs,
            kernel.spec.switches.tree_preallocation,
            kernel.spec.interval,
            mm.vma_locks,
        )
        self.index = VMA_INDEXES[kernel.spec.vma_index](site, cpu)
        self.model: Vma | None = None

    def place(self, cpu: Cpu, regions: Sequence[tuple[int, int]]) -> Steps[None]:
        """Store *regions*, in order; then all cpus have read all of it."""
        self.model = yield from self._mm.new_vma(cpu, 0, 1, _ENTRY)
        yield from self.index.expect(cpu, len(regions))
        for start, end in regions:
            yield from self.index.append(cpu, (yield from self._entry(cpu, start, end)))
        yield from self.index.settle(cpu)
        everybody = sum(other.bit for other in self._mm.kernel.machine.cpus)
        for line in self.index.lines():
            line.owner, line.sharers = cpu.id, everybody

    def _entry(self, cpu: Cpu, start: int, end: int) -> Steps[Vma]:
        assert self.model is not None
        return Vma(start, end, _ENTRY, self.model.memory, self.model.lock)
        yield

    def look_up(self, cpu: Cpu, page: int) -> Steps[bool]:
        """Whether something is stored at *page*."""
        outer, cpu.preempt_off = cpu.preempt_off, True  # rcu_read_lock
        found = yield from self.index.find(cpu, page)
        cpu.preempt_off = outer
        return found is not None

    @abstractmethod
    def write(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """Store something at [*start*, *end*), where nothing is, and nothing again."""

    @abstractmethod
    def allocate(self, cpu: Cpu, pages: int) -> Steps[int]:
        """Find room for *pages* pages and store something there. Value: where it begins."""

    def contradictions(self) -> Iterator[str]:
        yield from self.index.contradictions()


class LockedIndex(BareIndex):
    """One lock for all who change it."""

    __slots__ = ("_lock",)

    def __init__(self, mm: LinuxMm, cpu: Cpu) -> None:
        super().__init__(mm, cpu)
        kernel = mm.kernel
        self._lock = PthreadMutex(
            kernel.machine, kernel.osq_nodes, self.index.root_line, kernel.scheduler, LOCK_INDEX
        )

    def write(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        entry = yield from self._entry(cpu, start, end)
        yield from self._lock.acquire(cpu)
        yield from self.index.insert(cpu, entry)
        yield from self._lock.release(cpu)
        yield from self._lock.acquire(cpu)
        yield from self.index.remove(cpu, entry)
        yield from self._lock.release(cpu)

    def allocate(self, cpu: Cpu, pages: int) -> Steps[int]:
        yield from self._lock.acquire(cpu)
        start = yield from self.index.empty_area_rev(cpu, pages, FIRST_PAGE, HIGHEST_PAGE)
        if start is None:
            raise ModelError("the index has no room left")
        yield from self.index.insert(cpu, (yield from self._entry(cpu, start, start + pages)))
        yield from self._lock.release(cpu)
        return start


class IntervalIndex(BareIndex):
    """The list is its own lock."""

    __slots__ = ("_list", "_locks")

    def __init__(self, mm: LinuxMm, cpu: Cpu) -> None:
        super().__init__(mm, cpu)
        assert isinstance(self.index, IntervalSkipList)
        assert isinstance(mm.vma_locks, IntervalVmaLocks)
        self._list: IntervalSkipList = self.index
        self._locks: IntervalVmaLocks = mm.vma_locks

    def _entry(self, cpu: Cpu, start: int, end: int) -> Steps[Vma]:
        assert self.model is not None
        slabs = self._mm.kernel.slabs
        assert slabs.vma_lock is not None
        memory = yield from slabs.vma_lock.alloc(cpu)
        cpu.work(slabs.cost.alloc, VMA_WORK)
        yield from fill(cpu, VMA_WORK, memory)
        node = self._locks.new(cpu, start, memory)
        return Vma(start, end, _ENTRY, self.model.memory, node, lock_memory=memory)

    def write(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        entry = yield from self._entry(cpu, start, end)
        yield from self._list.lock_range(cpu, start, end)
        yield from self._list.insert(cpu, entry)
        yield from self._list.unlock(cpu)
        yield from self._list.lock_range(cpu, start, end)
        yield from entry.lock.start_write(cpu)
        yield from self._list.remove(cpu, entry)
        yield from self._locks.end_write_all(cpu)
        yield from self._list.unlock(cpu)
        assert self._mm.kernel.slabs.vma_lock is not None
        assert entry.lock_memory is not None
        cpu.work(self._mm.kernel.rcu.call_cost, VMA_WORK)
        yield from self._mm.kernel.slabs.vma_lock.release(cpu, entry.lock_memory)

    def allocate(self, cpu: Cpu, pages: int) -> Steps[int]:
        start = yield from self._list.lock_room(cpu, pages)
        if start is None:
            raise ModelError("an arena of the index has no room left")
        entry = yield from self._entry(cpu, start, start + pages)
        yield from self._list.insert(cpu, entry)
        yield from self._list.unlock(cpu)
        return start


def make_bare_index(mm: LinuxMm, cpu: Cpu) -> BareIndex:
    """An index as that of *mm*, for a bench."""
    return (LockedIndex if mm.kernel.spec.interval is None else IntervalIndex)(mm, cpu)
