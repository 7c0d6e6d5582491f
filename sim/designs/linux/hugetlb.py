"""Huge pages of the pool (MAP_HUGETLB): reserved by mmap, taken by faults (mm/hugetlb.c, 6.13).

    mmap    reserves as many pages of the pool as the mapping has, or is refused
    fault   mutex of the page |- resv_map - hugetlb_lock: a page of the pool - zero it - PMD lock: set -|
    munmap  clear, flush, then each page back to the pool under hugetlb_lock; what is reserved is given up

The pool is made when the system boots. Such memory has no small pages: a mapping begins and ends at multiples
of 2 MiB, and so does each part of it that is unmapped or protected. What a fork leaves to both is copied by
the first write; the child has reserved nothing, and where the pool has no page left the access is a signal.

Left out: files of hugetlbfs and shared memory of this kind, pages beyond the pool (nr_overcommit), mremap
(refused, as until 5.15), the pages that an owner takes away from its children when the pool is empty
(unmap_ref_private), and a reservation that comes back with a page that MADV_DONTNEED has freed.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Final

from sim.designs.linux.anon import anon_vma_prepare
from sim.designs.linux.huge_pmd import huge_entry, invalidate
from sim.designs.linux.tables import ensure_pmd_table
from sim.designs.linux.vma import Reservation, Vma
from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm import (
    HUGE_ORDER,
    PAGE_TABLE,
    SLOTS,
    Allocator,
    BusError,
    Errno,
    OutOfMemory,
    PageTablePage,
    Present,
    Reference,
    slot_of,
)
from sim.sync import Mutex, QueueNodes, Scheduler, spin_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sim.designs.linux.descriptors import Descriptors
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm

LOCK_HUGETLB: Final = Activity("lock: hugetlb")

_MUTEXES_PER_CPU: Final = 8
"""hugetlb_fault_mutex_table has 8 mutexes a cpu, rounded up to a power of two."""


class HugePool:
    """struct hstate of 2 MiB: its *frames*, and how many of those that are free are *reserved*."""

    __slots__ = (
        "_descriptors",
        "_free",
        "_lock",
        "_machine",
        "_mutexes",
        "_numbers",
        "_osq_nodes",
        "_pages",
        "_scheduler",
        "frames",
        "reserved",
    )

    def __init__(
        self,
        machine: Machine,
        pages: Allocator,
        descriptors: Descriptors,
        nodes: QueueNodes,
        osq_nodes: QueueNodes,
        scheduler: Scheduler,
        size: int,
    ) -> None:
        self._machine = machine
        self._pages = pages
        self._descriptors = descriptors
        self._osq_nodes = osq_nodes
        self._scheduler = scheduler
        self._lock = spin_lock(nodes, machine.line("hugetlb_lock", 0), LOCK_HUGETLB)
        self._mutexes: dict[int, Mutex] = {}
        self._numbers = count()
        self._free: list[list[int]] = [[] for _ in range(machine.spec.topology.numa_nodes)]
        self.reserved = 0
        pools = [pool.buddy for pool in pages.buddies()]
        for index in range(size):  # alloc_pool_huge_folio: one node after the other
            node = index % len(pools)
            frame = pools[node].allocate(HUGE_ORDER)
            pages.in_use.add(frame, HUGE_ORDER)
            self._free[node].append(frame)
        self.frames = {frame for frames in self._free for frame in frames}

    @property
    def free(self) -> int:
        """Pages that nobody has."""
        return sum(map(len, self._free))

    def reserve(self, cpu: Cpu, first: int, pages: int) -> Steps[Reservation | Errno]:
        """hugetlb_reserve_pages, of [*first*, *first* + *pages*): all of them, or `ENOMEM`."""
        wanted = pages // SLOTS
        yield from self._lock.acquire(cpu)
        there = self.free - self.reserved >= wanted
        if there:
            self.reserved += wanted
        yield from self._lock.release(cpu)
        if not there:
            return Errno.ENOMEM
        return Reservation(next(self._numbers), range(first // SLOTS, first // SLOTS + wanted))

    def hand_over(self, cpu: Cpu, reservation: Reservation, to: Vma | Errno) -> Steps[None]:
        """The mapping that it was made for has it, or there is no mapping, and it is given up."""
        if isinstance(to, Errno):
            yield from self._lock.acquire(cpu)
            self.reserved -= len(reservation.blocks)
            yield from self._lock.release(cpu)
        else:
            to.reservation = reservation

    def close(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """hugetlb_vm_op_close: what *vma* has reserved and not used is given up."""
        assert vma.reservation is not None
        unused = _unused(vma)
        vma.reservation.blocks -= unused
        yield from self._lock.acquire(cpu)
        self.reserved -= len(unused)
        yield from self._lock.release(cpu)

    def take(self, cpu: Cpu, vma: Vma, page: int, *, reserved: bool) -> Steps[int | None]:
        """alloc_hugetlb_folio, of this node where there is one: value is its frame, None if none is left.

        *reserved*: the page may be the one that *vma* has reserved for *page*.
        """
        block = (vma.pgoff + page - vma.start) // SLOTS
        yield from self._lock.acquire(cpu)
        blocks = vma.reservation.blocks if reserved and vma.reservation is not None else set()
        frame = None
        if block in blocks or self.free > self.reserved:
            self.reserved -= block in blocks
            blocks.discard(block)
            node = self._pages.policy.node(cpu)
            frame = next(frames for frames in (self._free[node], *self._free) if frames).pop()
        yield from self._lock.release(cpu)
        return frame

    def put(self, cpu: Cpu, frames: Sequence[int]) -> Steps[None]:
        """free_huge_folio: one reference of each less; a page without any goes back to the pool."""
        in_use = self._pages.in_use
        for frame in frames:
            if in_use.refcount[frame] > 1:
                in_use.put(frame, HUGE_ORDER)
                continue
            self._descriptors.forget(frame)
            yield from self._lock.acquire(cpu)
            self._free[self._node_of(frame)].append(frame)
            yield from self._lock.release(cpu)

    def _node_of(self, frame: int) -> int:
        pools = self._pages.buddies()
        return next(node for node, pool in enumerate(pools) if frame in pool.memory)

    def mutex(self, vma: Vma, page: int) -> Mutex:
        """hugetlb_fault_mutex_table at the hash of mapping and offset."""
        size = 1 << (_MUTEXES_PER_CPU * len(self._machine.cpus) - 1).bit_length()
        number = 0 if vma.reservation is None else vma.reservation.number
        key = (number * 31 + (vma.pgoff + page - vma.start) // SLOTS) % size
        mutex = self._mutexes.get(key)
        if mutex is None:
            line = self._machine.line(f"hugetlb fault mutex {key}", 0)
            mutex = self._mutexes[key] = Mutex(self._osq_nodes, line, self._scheduler, LOCK_HUGETLB)
        return mutex

    # -- the end state --------------------------------------------------------------------------------------

    def references(self) -> Iterator[Reference]:
        """The pages that nobody has are the pool's own."""
        for node, frames in enumerate(self._free):
            for frame in frames:
                yield Reference(frame, "the pool of huge pages of node", node)

    def contradictions(self, vmas: Iterable[Vma]) -> Iterator[str]:
        """What is reserved is there, and *vmas*, those of all processes, may take it."""
        unused = sum(len(_unused(vma)) for vma in vmas)
        if not self.reserved == unused <= self.free:
            yield f"{self.reserved} huge pages are reserved, {unused} by VMAs, and {self.free} are free"


def _unused(vma: Vma) -> set[int]:
    """The blocks that *vma* has reserved and not used."""
    if vma.reservation is None:
        return set()
    first = vma.pgoff // SLOTS
    return vma.reservation.blocks.intersection(range(first, first + vma.pages // SLOTS))


def hugetlb_fault(
    mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, write: bool, *, vma_locked: bool
) -> Steps[bool]:
    """hugetlb_fault. Value: False means again under mmap_lock. Raises `BusError` where the pool is empty."""
    mutex = mm.kernel.hugetlb.mutex(vma, page)
    yield from mutex.acquire(cpu)
    done: bool | None
    try:
        table = yield from ensure_pmd_table(mm, cpu, page)
        entry = huge_entry(table, page)
        if entry is not None and (entry.writable or not write):
            done = True
        else:
            done = yield from _new_page(mm, cpu, vma, table, page, entry, vma_locked=vma_locked)
    except OutOfMemory:
        yield from mutex.release(cpu)
        raise
    yield from mutex.release(cpu)
    if done is None:
        raise BusError(f"{cpu} touched page {page:#x} of {vma}, and the pool has no huge page left")
    return done


def _new_page(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, old: Present | None, *, vma_locked: bool
) -> Steps[bool | None]:
    """hugetlb_no_page, or hugetlb_wp of *old*. Value: None where there is no page for it."""
    prepared = yield from anon_vma_prepare(mm, cpu, vma, vma_locked=vma_locked)
    if not prepared:
        return False
    first, pool = page - page % SLOTS, mm.kernel.hugetlb
    lock, slot = mm.table_lock(table), slot_of(page, 2)
    if old is not None and mm.pages.in_use.refcount[old.frame] == 1:  # folio_mapcount: nobody else has it
        yield from lock.acquire(cpu)
        yield from table.line(slot).store(cpu, PAGE_TABLE)
        table.set(slot, Present(old.frame, vma.rights, level=2, accessed=True, dirty=True))
        yield from lock.release(cpu)
        return True
    frame = yield from pool.take(cpu, vma, page, reserved=old is None)
    if frame is None:
        return None
    if old is None:
        yield from mm.clear_huge_page(cpu, frame)
    else:
        yield from mm.copy_huge_page(cpu, frame, old.frame)
    cpu.work(mm.cost.anon_page, PAGE_TABLE)
    yield from lock.acquire(cpu)
    if table.get(slot) is not old:  # it was zapped meanwhile
        yield from lock.release(cpu)
        yield from pool.put(cpu, [frame])
        return True
    if old is not None:
        yield from invalidate(mm, cpu, table, first, old, huge=True)
    yield from table.line(slot).store(cpu, PAGE_TABLE)
    table.set(slot, Present(frame, vma.rights, level=2, accessed=True, dirty=True))
    mm.stat.hugetlb_pages += SLOTS if old is None else 0
    yield from lock.release(cpu)
    if old is not None:
        yield from pool.put(cpu, [old.frame])
    return True


def zap_hugetlb(mm: LinuxMm, cpu: Cpu, table: PageTablePage, start: int, gather: Gather) -> Steps[None]:
    """__unmap_hugepage_range, of one page."""
    lock, slot = mm.table_lock(table), slot_of(start, 2)
    yield from lock.acquire(cpu)
    entry = huge_entry(table, start)
    if entry is not None:
        yield from table.line(slot).write(cpu, PAGE_TABLE)
        table.set(slot, None)
        cpu.work(mm.cost.zap_page, PAGE_TABLE)
        gather.changed_huge(start)
        gather.hugetlb.append(entry.frame)
        mm.stat.hugetlb_pages -= SLOTS
    yield from lock.release(cpu)


def copy_hugetlb(mm: LinuxMm, child: LinuxMm, cpu: Cpu, source: PageTablePage, page: int) -> Steps[None]:
    """copy_hugetlb_page_range, of one page. Raises `OutOfMemory` where there is none for tables."""
    target = yield from ensure_pmd_table(child, cpu, page)
    outer, inner = child.table_lock(target), mm.table_lock(source)
    yield from outer.acquire(cpu)
    yield from inner.acquire(cpu)
    entry, slot = huge_entry(source, page), slot_of(page, 2)
    assert entry is not None, "nobody else zaps under mmap_lock for writing"
    cpu.work(mm.cost.fork_page, PAGE_TABLE)
    yield from mm.kernel.descriptors.write(cpu, entry.frame, times=2)  # folio_get, hugetlb_try_dup_anon_rmap
    mm.pages.in_use.get(entry.frame)
    child.stat.hugetlb_pages += SLOTS
    if not entry.copy_on_write:
        yield from source.line(slot).store(cpu, PAGE_TABLE)
        entry.copy_on_write = True
    yield from target.line(slot).store(cpu, PAGE_TABLE)
    target.set(slot, replace(entry, accessed=False))
    yield from inner.release(cpu)
    yield from outer.release(cpu)
