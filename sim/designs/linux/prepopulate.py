"""Memory that was written before anything is measured: the end state of populate_vma_page_range, in bulk.

The page tables are made as a fault makes them, under their locks; the entries of a whole new table then cost
one step. Its frames are a block of the buddy, and long on the LRU. What is no such case (the ends of a range,
files, locked memory, huge pages, memory of a userfaultfd or where swap is, frames from several nodes, memory
in small pieces) is faulted in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.anon import anon_vma_prepare
from sim.designs.linux.fault import fault_in
from sim.designs.linux.fault_retry import FaultRetry
from sim.designs.linux.huge_fault import allows_huge
from sim.designs.linux.tables import ensure_leaf_table
from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SLOTS, WRITE, Errno, OutOfMemory, Prepopulate, PresentRun

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

_ORDER = SLOTS.bit_length() - 1


def prepopulate(mm: LinuxMm, cpu: Cpu, asked: Prepopulate) -> Steps[Errno | None]:
    """All pages of the range, as MADV_POPULATE_WRITE brings them in."""
    page, end = asked.at, asked.at + asked.pages
    refused: Errno | None = None
    yield from mm.mmap_lock.read_lock(cpu)
    while page < end and refused is None:
        vma = mm.tree.peek(page)
        if vma is None:
            refused = Errno.ENOMEM
        elif not vma.rights & WRITE:
            refused = Errno.EFAULT
        else:
            stop = min(end, vma.end)
            try:
                refused = yield from _populate(mm, cpu, vma, page, stop)
            except FaultRetry as retry:
                stop = retry.page
                yield from mm.mmap_lock.read_lock(cpu)
            page = stop
    yield from mm.lru.drain(cpu)
    yield from mm.mmap_lock.read_unlock(cpu)
    return refused


def _populate(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, end: int) -> Steps[Errno | None]:
    """A part of *vma*, one level-1 table after the other."""
    plain = mm.kernel.swap is None and VmFlags.UFFD_MISSING not in vma.area.flags
    in_bulk = plain and vma.area.file is None and not vma.locked and not vma.hugetlb
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        filled = False
        huge = mm.huge_table(page) is not None or (mm.thp != "never" and allows_huge(mm, vma, page))
        if in_bulk and not huge and stop - page == SLOTS:
            try:
                filled = yield from _fill_table(mm, cpu, vma, page)
            except OutOfMemory:
                return Errno.ENOMEM
        if not filled:
            refused = yield from fault_in(mm, cpu, vma, page, stop, write=True)
            if refused is not None:
                return refused
        page = stop
    return None


def _fill_table(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int) -> Steps[bool]:
    """The 512 pages from *page* on; value: False where their table has been used before."""
    table = yield from ensure_leaf_table(mm, cpu, page)
    yield from anon_vma_prepare(mm, cpu, vma, vma_locked=False)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    frames = mm.pages.take_run(cpu, _ORDER) if table.untouched else None
    if frames is not None:
        table.fill_with(PresentRun(frames.start, vma.rights), cpu)
        mm.lru.put_run_on_lists(frames)
        mm.stat.add_at_once(anon=SLOTS)
        mm.tell_filled(cpu, frames)
    yield from lock.release(cpu)
    return frames is not None
