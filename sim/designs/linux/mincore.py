"""mincore (mm/mincore.c, 6.13.7).

a page for the answers | mmap_lock: read, the VMA's tables, unlock | copy | ... | the page goes back

One VMA at a time, and no more pages of it than there are bytes in a page: so much fits into the buffer.
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.huge_pmd import huge_entry
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.page_cache import inode_of
from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.swap_in import in_swap_cache
from sim.designs.linux.vma import Vma
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    PTES_PER_LINE,
    SLOTS,
    SYSCALL,
    Errno,
    Mincore,
    OutOfMemory,
    Present,
    beyond_user_memory,
    slot_of,
)
from sim.quantities import PAGE_BYTES


def mincore(mm: LinuxMm, cpu: Cpu, asked: Mincore) -> Steps[list[bool] | Errno]:
    """mincore(2)."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    try:
        buffer = yield from mm.pages.allocate(cpu)
    except OutOfMemory:
        return Errno.EAGAIN
    found: list[bool] = []
    refused: Errno | None = None
    while len(found) < asked.pages and refused is None:
        part = yield from _do_mincore(mm, cpu, asked.at + len(found), asked.pages - len(found))
        if isinstance(part, Errno):
            refused = part
        else:
            found += part
    yield from mm.pages.free(cpu, buffer)
    return found if refused is None else refused


def _do_mincore(mm: LinuxMm, cpu: Cpu, at: int, pages: int) -> Steps[list[bool] | Errno]:
    """Which pages are there, from *at* on, up to the end of the VMA."""
    yield from mm.mmap_lock.read_lock(cpu)
    vma = yield from mm.tree.find(cpu, at)
    if vma is None:
        yield from mm.mmap_lock.read_unlock(cpu)
        return Errno.ENOMEM
    yield from vma.line.read(cpu, VMA_WORK)
    end = min(vma.end, at + min(pages, PAGE_BYTES))
    found: list[bool] = []
    if vma.morsel is not None:
        found += yield from _look_into_morsel(mm, cpu, at, end)
        at = end
    while at < end:
        stop = min(end, at - at % SLOTS + SLOTS)
        found += yield from _look(mm, cpu, vma, at, stop)
        at = stop
    yield from mm.mmap_lock.read_unlock(cpu)
    return found


def _look(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int) -> Steps[list[bool]]:
    """mincore_pte_range: the entries of a level-1 table, under its lock; without one there are none."""
    table = mm.leaf_table(start)
    if table is None and (huge := mm.huge_table(start)) is not None:
        yield from mm.table_lock(huge).acquire(cpu)
        there = huge_entry(huge, start) is not None
        yield from mm.table_lock(huge).release(cpu)
        if there:
            return [True] * (end - start)
        table = mm.leaf_table(start)
    found = [False] * (end - start)
    lock = None if table is None else mm.table_lock(table)
    if lock is not None:
        yield from lock.acquire(cpu)
    for index, page in enumerate(range(start, end)):
        if table is not None:
            slot = slot_of(page, 1)
            if page == start or slot % PTES_PER_LINE == 0:
                yield from table.line(slot).read(cpu, PAGE_TABLE)
            cpu.work(mm.cost.mincore_page, PAGE_TABLE)
            entry = table.get(slot)
            found[index] = isinstance(entry, Present)
            if isinstance(entry, SwapEntry):
                found[index] = yield from in_swap_cache(mm, cpu, entry)
        if vma.area.file is not None and not found[index]:
            found[index] = yield from _cached(mm, cpu, vma, page)
    if lock is not None:
        yield from lock.release(cpu)
    return found


def _look_into_morsel(mm: LinuxMm, cpu: Cpu, start: int, end: int) -> Steps[list[bool]]:
    """The same where the tables are a morsel's: the walk goes down into it, and takes no lock there."""
    found: list[bool] = []
    for page in range(start, end):
        if page == start or page % PTES_PER_LINE == 0:
            yield from mm.root.walk_line(page).read(cpu, PAGE_TABLE)
        cpu.work(mm.cost.mincore_page, PAGE_TABLE)
        found.append(mm.root.walk(page) is not None)
    return found


def _cached(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int) -> Steps[bool]:
    """mincore_page: whether the file of *vma* has the page in memory."""
    frame = yield from inode_of(vma).find(cpu, vma.pgoff + page - vma.start)
    if frame is not None:
        yield from mm.kernel.descriptors.write(cpu, frame, times=2)  # folio_try_get, folio_put
    return frame is not None
