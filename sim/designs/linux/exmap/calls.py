"""ALLOC, FREE and READ of an exmap (tuhhosg/exmap at 6ea8f03, module/driver.c and memory.c).

    mutex of the interface  |------------------------------------------------|
      alloc                   each word: pages from the pool, entries
      free                    mmap_lock R |- each word: entries cleared, pages to the pool -| flush, unlock
      read                    pages, entries, ask the drive, sleep

One page is one compare-and-swap on its entry and takes no lock. More are set or cleared under the page-table
lock, one table after the other. Pages are not zeroed and are on no list, no counter of the process changes,
and ALLOC flushes nothing: an entry that was not present is in no TLB. FREE flushes once, the whole space,
when all words are done, whatever they were about. A page is in the pool before that, unless the design file
says otherwise (`give`). So one that is full goes on to other interfaces while threads may still reach the
page at its old address.

The module leaves a lock taken where the pool runs dry in the middle of a table, and loses a page for each one
of several that is there already. Here what is meant is done: the lock is let go, and the page put back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.exmap.context import LOCK_INTERFACE, WORDS, Exmap, Interface
from sim.designs.linux.tables import ensure_leaf_table
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    READ_WRITE,
    SLOTS,
    SYSCALL,
    Errno,
    ExmapAlloc,
    ExmapCall,
    ExmapFree,
    ExmapRead,
    PageTablePage,
    Present,
    slot_of,
)

if TYPE_CHECKING:
    from sim.designs.linux.exmap.pool import MemoryPool
    from sim.designs.linux.mm import LinuxMm


def exmap_alloc(mm: LinuxMm, cpu: Cpu, asked: ExmapAlloc) -> Steps[int | Errno]:
    """exmap_action of ALLOC, or exmap_read_iter with that action: one range, and no word for it."""
    interface = yield from _enter(mm, cpu, asked, proxy=asked.by == "pread")
    if isinstance(interface, Errno):
        return interface
    exmap = _exmap(mm)
    came = 0
    for part in asked.parts:
        pages = yield from _insert(mm, cpu, exmap, interface, part)
        came += pages if pages >= 0 else ~pages
        if pages < 0:
            break
    yield from interface.mutex.release(cpu)
    return came


def exmap_read(mm: LinuxMm, cpu: Cpu, asked: ExmapRead) -> Steps[int | Errno]:
    """exmap_read_iter: the thread sleeps for the drive with the mutex of its interface."""
    interface = yield from _enter(mm, cpu, asked, proxy=True)
    if isinstance(interface, Errno):
        return interface
    read: int | Errno = 0
    drive = mm.kernel.drive
    (part,) = asked.parts
    if drive is None:
        read = Errno.EINVAL
    else:
        came = yield from _insert(mm, cpu, _exmap(mm), interface, part)
        if came == len(part):
            read = yield from drive.read_into(mm, cpu, part)
    yield from interface.mutex.release(cpu)
    return read


def exmap_free(mm: LinuxMm, cpu: Cpu, asked: ExmapFree) -> Steps[int | Errno]:
    """exmap_free."""
    interface = yield from _enter(mm, cpu, asked, proxy=False)
    if isinstance(interface, Errno):
        return interface
    exmap = _exmap(mm)
    assert exmap.pool is not None
    freed: list[int] = []
    if asked.parts:
        yield from mm.mmap_lock.read_lock(cpu)
        for part in asked.parts:
            cpu.work(exmap.cost.part, PAGE_TABLE)
            yield from _remove(mm, cpu, exmap, interface, part, freed)
        yield from mm.tlb.flush(cpu, range(0), whole=True)  # flush_tlb_mm
        if exmap.gives_early:
            exmap.is_flushed(freed)
        else:
            yield from _give(cpu, exmap.pool, interface, freed)
        yield from mm.mmap_lock.read_unlock(cpu)
    yield from interface.mutex.release(cpu)
    return len(freed)


def _exmap(mm: LinuxMm) -> Exmap:
    assert mm.exmap is not None
    return mm.exmap


def _enter(mm: LinuxMm, cpu: Cpu, asked: ExmapCall, *, proxy: bool) -> Steps[Interface | Errno]:
    """Enter the kernel, find the interface and lock it."""
    exmap = mm.exmap
    mm.machine.entry.syscall(cpu, SYSCALL)
    if exmap is None or not exmap.interfaces:
        return Errno.EBADF
    cpu.work(exmap.cost.proxy if proxy else exmap.cost.call, SYSCALL)
    most = 1 if proxy else WORDS
    if not 0 <= asked.interface < len(exmap.interfaces) or len(asked.parts) > most:
        return Errno.EINVAL
    if proxy and len(asked.parts) != 1:
        return Errno.EINVAL
    interface = exmap.interfaces[asked.interface]
    yield from interface.mutex.acquire(cpu)
    yield from exmap.line.read(cpu, LOCK_INTERFACE)
    if not exmap.active:
        yield from interface.mutex.release(cpu)
        return Errno.EPROTO
    return interface


# -- entries --------------------------------------------------------------------------------------------


def _insert(mm: LinuxMm, cpu: Cpu, exmap: Exmap, interface: Interface, part: range) -> Steps[int]:
    """insert_pages: value is how many pages came, less than nothing where the pool has no more: ~that."""
    cpu.work(exmap.cost.part, PAGE_TABLE)
    if not _inside(mm, part):
        return 0
    page, came = part.start, 0
    while page < part.stop:
        stop = min(part.stop, page - page % SLOTS + SLOTS)
        table = yield from ensure_leaf_table(mm, cpu, page)
        if stop - page == 1:
            there = yield from _insert_one(mm, cpu, exmap, interface, table, page)
        else:
            there = yield from _insert_locked(mm, cpu, exmap, interface, table, page, stop)
        came += there if there >= 0 else ~there
        if there < 0:
            return ~came
        page = stop
    return came


def _insert_one(
    mm: LinuxMm, cpu: Cpu, exmap: Exmap, interface: Interface, table: PageTablePage, page: int
) -> Steps[int]:
    """insert_page_fastpath: a compare-and-swap of nothing for the page. Value: 1 if it came, 0 if one was
    there already, ~0 without a page."""
    assert exmap.pool is not None
    frame = yield from exmap.pool.pop(cpu, interface.bundle)
    if frame is None:
        return ~0
    cpu.work(exmap.cost.page, PAGE_TABLE)
    slot = slot_of(page, 1)
    line = table.line(slot)
    yield from line.read(cpu, PAGE_TABLE)
    if table.get(slot) is None:
        yield from line.swap(cpu, PAGE_TABLE)
        if table.get(slot) is None:
            table.set(slot, Present(frame, READ_WRITE))
            return 1
    yield from exmap.pool.push(cpu, interface.bundle, frame)
    return 0


def _insert_locked(
    mm: LinuxMm, cpu: Cpu, exmap: Exmap, interface: Interface, table: PageTablePage, page: int, stop: int
) -> Steps[int]:
    """Several pages of one table, under its lock. Value: how many came, ~that where the pool is empty."""
    assert exmap.pool is not None
    lock, came = mm.table_lock(table), 0
    yield from lock.acquire(cpu)
    for each in range(page, stop):
        slot = slot_of(each, 1)
        if table.get(slot) is not None:
            continue
        frame = yield from exmap.pool.pop(cpu, interface.bundle)
        if frame is None:
            yield from lock.release(cpu)
            return ~came
        cpu.work(exmap.cost.page, PAGE_TABLE)
        yield from table.line(slot).swap(cpu, PAGE_TABLE)
        if table.get(slot) is not None:  # by a single page, which takes no lock
            yield from exmap.pool.push(cpu, interface.bundle, frame)
            continue
        table.set(slot, Present(frame, READ_WRITE))
        came += 1
    yield from lock.release(cpu)
    return came


def _remove(
    mm: LinuxMm, cpu: Cpu, exmap: Exmap, interface: Interface, part: range, freed: list[int]
) -> Steps[None]:
    """unmap_pages: clear the entries of *part*, whose frames join those *freed*."""
    if not _inside(mm, part):
        return
    page = part.start
    while page < part.stop:
        stop = min(part.stop, page - page % SLOTS + SLOTS)
        table = mm.leaf_table(page)
        if table is not None:
            alone = stop - page == 1
            lock = mm.table_lock(table)
            if not alone:
                yield from lock.acquire(cpu)
            for each in range(page, stop):
                yield from _remove_one(cpu, exmap, interface, table, each, freed)
            if not alone:
                yield from lock.release(cpu)
        page = stop


def _remove_one(
    cpu: Cpu, exmap: Exmap, interface: Interface, table: PageTablePage, page: int, freed: list[int]
) -> Steps[None]:
    """unmap_page_fastpath: a compare-and-swap of the page for nothing."""
    assert exmap.pool is not None
    slot = slot_of(page, 1)
    line = table.line(slot)
    yield from line.read(cpu, PAGE_TABLE)
    entry = table.get(slot)
    if not isinstance(entry, Present):
        return
    cpu.work(exmap.cost.page, PAGE_TABLE)
    yield from line.swap(cpu, PAGE_TABLE)
    if table.get(slot) is not entry:
        return
    table.set(slot, None)
    freed.append(entry.frame)
    if exmap.gives_early:
        exmap.is_out_early(freed[-1:])
        yield from _give(cpu, exmap.pool, interface, freed[-1:])


def _give(cpu: Cpu, pool: MemoryPool, interface: Interface, frames: list[int]) -> Steps[None]:
    """*frames* are the pool's again."""
    for frame in frames:
        yield from pool.push(cpu, interface.bundle, frame)


def _inside(mm: LinuxMm, part: range) -> bool:
    """Whether *part* lies in what is mapped; a word that does not has failed. (The module asks the VMA that
    it was mapped as, which may have gone.)"""
    vma = mm.tree.peek(part.start)
    return vma is not None and vma.special and part.stop <= vma.end
