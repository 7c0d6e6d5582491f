"""Faults in files and shared memory (mm/memory.c do_fault, mm/filemap.c filemap_map_pages; 6.13).

    read            what is cached of the 16 pages around, under one PTL; else the page itself
    write, private  a copy of the cached page is this process's own from now on
    write, shared   the cached page, dirty

A page that the file has not yet is made, which is what tmpfs does with a hole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.anon import add_to_lru, anon_vma_prepare, written_entry
from sim.designs.linux.page_cache import inode_of
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, BusError, OutOfMemory, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def do_fault(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, write: bool, *, vma_locked: bool
) -> Steps[bool]:
    """The first touch of *page*. Value: False means try again under mmap_lock.

    Raises `BusError` behind the end of the file.
    """
    if vma_locked and not mm.switches.file_fault_vma_lock:
        return False
    if not write:
        yield from _read(mm, cpu, vma, table, page)
    elif vma.area.shared:
        yield from _write_shared(mm, cpu, vma, table, page)
    else:
        return (yield from _write_private(mm, cpu, vma, table, page, vma_locked=vma_locked))
    return True


def _read(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int) -> Steps[None]:
    """do_read_fault."""
    if mm.kernel.spec.limits.fault_around > 1:
        yield from _fault_around(mm, cpu, vma, table, page)
        if table.get(slot_of(page, 1)) is not None:
            return
    frame = yield from _locked_page(mm, cpu, vma, page)
    yield from _map_cached(mm, cpu, vma, table, page, frame, write=False)
    yield from mm.kernel.descriptors.unlock(cpu, frame)


def _fault_around(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int) -> Steps[None]:
    """do_fault_around -> filemap_map_pages: map those pages around that are cached and that nobody locks."""
    inode, around = inode_of(vma), mm.kernel.spec.limits.fault_around
    first = max(page - page % around, vma.start, page - page % SLOTS)
    pages = range(first, min(page - page % around + around, vma.end))
    end_of_file = vma.start + inode.pages - vma.pgoff
    descriptors, lock = mm.kernel.descriptors, mm.table_lock(table)
    yield from inode.find(cpu, _index(vma, page))
    yield from lock.acquire(cpu)
    if mm.speculates and not (yield from mm.vma_locks.still_valid(cpu)):
        yield from lock.release(cpu)
        return
    for each in pages:
        frame = inode.frames.get(_index(vma, each))
        if frame is None or each >= end_of_file or table.get(slot_of(each, 1)) is not None:
            continue
        yield from descriptors.write(cpu, frame)  # folio_try_get
        if inode.frames.get(_index(vma, each)) != frame:
            continue
        mm.pages.in_use.get(frame)
        locked = yield from descriptors.try_lock(cpu, frame)
        if locked and inode.frames.get(_index(vma, each)) == frame:
            cost = mm.cost.file_page if each == page else mm.cost.file_around
            yield from _set_entry(mm, cpu, vma, table, each, frame, cost, write=False)
            yield from descriptors.unlock(cpu, frame)
            continue
        if locked:
            yield from descriptors.unlock(cpu, frame)
        yield from mm.kernel.put_page(cpu, frame)
    yield from lock.release(cpu)


def _write_shared(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int) -> Steps[None]:
    """do_shared_fault. tmpfs has no page_mkwrite; the page's dirty bit is set with its lock held."""
    frame = yield from _locked_page(mm, cpu, vma, page)
    yield from _map_cached(mm, cpu, vma, table, page, frame, write=True)
    yield from mm.kernel.descriptors.write(cpu, frame)  # fault_dirty_shared_page
    yield from mm.kernel.descriptors.unlock(cpu, frame)


def _write_private(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, *, vma_locked: bool
) -> Steps[bool]:
    """do_cow_fault: the new page first, then the cached one, which is copied under its lock."""
    prepared = yield from anon_vma_prepare(mm, cpu, vma, vma_locked=vma_locked)
    if not prepared:
        return False
    kernel = mm.kernel
    frame = yield from mm.pages.allocate(cpu)
    yield from mm.charge(cpu, frame)
    try:
        cached = yield from _locked_page(mm, cpu, vma, page)
    except (BusError, OutOfMemory):
        yield from mm.give_back(cpu, frame)
        raise
    yield from mm.copy_into(cpu, frame, cached)
    cpu.work(mm.cost.anon_page, PAGE_TABLE)
    slot, lock = slot_of(page, 1), mm.table_lock(table)
    yield from lock.acquire(cpu)
    valid = not mm.speculates or (yield from mm.vma_locks.still_valid(cpu))
    if valid and table.get(slot) is None:
        yield from add_to_lru(mm, cpu, vma, page, frame)
        yield from table.line(slot).store(cpu, PAGE_TABLE)
        table.set(slot, written_entry(frame, vma))
        yield from mm.stat.count_pages(cpu, anon=1)
        yield from lock.release(cpu)
    else:  # somebody else was faster
        yield from lock.release(cpu)
        yield from mm.give_back(cpu, frame)
    yield from kernel.descriptors.unlock(cpu, cached)
    yield from kernel.put_page(cpu, cached)
    return True


def _locked_page(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int) -> Steps[int]:
    """__do_fault -> shmem_fault: value is the frame of the cached page, locked, with a reference.

    Raises `BusError` if the file ends before it, and `OutOfMemory`.
    """
    inode, index = inode_of(vma), _index(vma, page)
    if index < inode.pages:
        frame, made = yield from inode.find_or_add(cpu, index)
        if index < inode.pages:
            return frame
        # The file has been cut off meanwhile, and who has done that may not have seen the new page.
        yield from mm.kernel.descriptors.unlock(cpu, frame)
        yield from mm.kernel.put_page(cpu, frame)
        if made:
            yield from inode.remove(cpu, [index])
    raise BusError(f"{cpu} touched page {page:#x}, behind the end of {inode}")


def _map_cached(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, frame: int, *, write: bool
) -> Steps[None]:
    """finish_fault: the entry takes over the reference, unless somebody else was faster."""
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    valid = not mm.speculates or (yield from mm.vma_locks.still_valid(cpu))
    if valid and table.get(slot_of(page, 1)) is None:
        yield from _set_entry(mm, cpu, vma, table, page, frame, mm.cost.file_page, write=write)
        yield from lock.release(cpu)
    else:
        yield from lock.release(cpu)
        yield from mm.kernel.put_page(cpu, frame)


def _set_entry(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, frame: int, cost: int, *, write: bool
) -> Steps[None]:
    """set_pte_range at *cost*, under the PTL. Shared memory of tmpfs is writable at once, a private page is
    copied."""
    slot = slot_of(page, 1)
    cpu.work(cost, PAGE_TABLE)
    yield from mm.kernel.descriptors.write(cpu, frame)  # folio_add_file_rmap_ptes
    if vma.locked:
        yield from mm.lru.change_list(cpu, frame)  # mlock_vma_folio
    yield from table.line(slot).store(cpu, PAGE_TABLE)
    table.set(slot, Present(frame, vma.rights, copy_on_write=not vma.area.shared, dirty=write))
    yield from mm.stat.count_pages(cpu, files=1)


def _index(vma: Vma, page: int) -> int:
    """The page of the file that is mapped at *page*."""
    return vma.pgoff + page - vma.start
