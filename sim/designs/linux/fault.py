"""Anonymous page faults (arch/x86/mm/fault.c, mm/memory.c, mm/mmap_lock.c; 6.13)."""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.vma import Vma
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    READ,
    WRITE,
    OutOfMemory,
    PageTablePage,
    Present,
    SegmentationFault,
    slot_of,
)


def user_fault(mm: LinuxMm, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """do_user_addr_fault: under the VMA's lock if that works, else under mmap_lock.

    Raises `SegmentationFault` for what the VMA does not allow, and `OutOfMemory`, with no lock held.
    """
    if mm.switches.prefetchw_mmap_lock:
        yield from mm.mmap_lock.count.prefetch_write(cpu)
    vma = (yield from mm.lock_vma_under_rcu(cpu, page)) if mm.vma_locks.serve_faults else None
    if vma is not None:
        bad = _access_error(cpu, vma, page, write)
        done = False
        try:
            done = bad is not None or (yield from _handle(mm, cpu, vma, page, write, vma_locked=True))
        except OutOfMemory:
            yield from vma.lock.end_read(cpu)
            raise
        yield from vma.lock.end_read(cpu)
        if bad is not None:
            raise bad
        if done:
            return
    yield from mm.mmap_lock.read_lock(cpu)
    vma = yield from mm.tree.find(cpu, page)
    if vma is None:
        yield from mm.mmap_lock.read_unlock(cpu)
        raise SegmentationFault(f"{cpu} touched page {page:#x}, which no VMA covers")
    yield from vma.line.read(cpu, VMA_WORK)
    bad = _access_error(cpu, vma, page, write)
    try:
        if bad is None:
            yield from _handle(mm, cpu, vma, page, write, vma_locked=False)
    except OutOfMemory:
        yield from mm.mmap_lock.read_unlock(cpu)
        raise
    yield from mm.mmap_lock.read_unlock(cpu)
    if bad is not None:
        raise bad


def populate(mm: LinuxMm, cpu: Cpu, start: int, pages: int) -> Steps[None]:
    """__mm_populate (mm/gup.c): fault the pages in, under mmap_lock for reading.

    Nobody is told of what cannot be had: mmap has succeeded, and whoever touches the page will see.
    """
    yield from mm.mmap_lock.read_lock(cpu)
    vma = yield from mm.tree.find(cpu, start)
    try:
        for page in range(start, start + pages):
            if vma is None or page >= vma.end:
                vma = yield from mm.tree.find(cpu, page)
            if vma is None:
                break
            if vma.rights:
                yield from _handle(mm, cpu, vma, page, bool(vma.rights & WRITE), vma_locked=False)
    except OutOfMemory:
        pass
    yield from mm.mmap_lock.read_unlock(cpu)


def _access_error(cpu: Cpu, vma: Vma, page: int, write: bool) -> SegmentationFault | None:
    """access_error: the signal that the access gets where *vma* does not allow it."""
    if vma.rights & (WRITE if write else READ):
        return None
    return SegmentationFault(f"{cpu} may not {'write' if write else 'read'} page {page:#x} of {vma}")


def _handle(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, write: bool, *, vma_locked: bool) -> Steps[bool]:
    """handle_mm_fault -> do_anonymous_page. Value: False means try again under mmap_lock."""
    cpu.work(mm.cost.fault, PAGE_TABLE)
    table = yield from mm.ensure_leaf_table(cpu, page)
    slot = slot_of(page, 1)
    if table.get(slot) is not None:
        if write:
            yield from _reuse(mm, cpu, vma, table, slot)
        return True
    if vma.anon_vma is None:
        prepared = yield from _prepare_anon_vma(mm, cpu, vma, vma_locked)
        if not prepared:
            return False
    frame = yield from mm.new_zeroed_page(cpu)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    if table.get(slot) is not None:  # somebody else was faster
        yield from lock.release(cpu)
        yield from mm.pages.free(cpu, frame)
        return True
    yield from mm.lru.add(cpu, frame)
    yield from table.line(slot).store(cpu, PAGE_TABLE)
    table.set(slot, Present(frame, vma.rights))
    mm.stat.anon_pages += 1
    yield from lock.release(cpu)
    return True


def _reuse(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, slot: int) -> Steps[None]:
    """do_wp_page -> wp_page_reuse: a write to a page that has lost its write right; nobody shares it."""
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    entry = table.get(slot)
    if isinstance(entry, Present) and not entry.writable:
        yield from table.line(slot).store(cpu, PAGE_TABLE)
        table.set(slot, Present(entry.frame, vma.rights))
    yield from lock.release(cpu)


def _prepare_anon_vma(mm: LinuxMm, cpu: Cpu, vma: Vma, vma_locked: bool) -> Steps[bool]:
    """vmf_anon_prepare: the first fault of a VMA needs mmap_lock for reading, at least by trylock."""
    if vma_locked:
        taken = yield from mm.mmap_lock.read_trylock(cpu)
        if not taken:
            return False
    if vma.anon_vma is None:
        anon_vma = mm.new_anon_vma(cpu)
        yield from mm.page_table_lock.acquire(cpu)
        vma.anon_vma = vma.anon_vma or anon_vma
        yield from mm.page_table_lock.release(cpu)
    if vma_locked:
        yield from mm.mmap_lock.read_unlock(cpu)
    return True
