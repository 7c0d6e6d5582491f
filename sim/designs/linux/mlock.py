"""mlock and munlock (mm/mlock.c, 6.13.7).

mmap_lock  |----------------------- write ------------------------|          |------- read -------|
            find | each VMA: join or cut, mark, its present pages   unlock     mlock: fault the rest in

No entry changes and nothing is flushed: what becomes locked, or is so no more, changes its list in the LRU.
The caller may lock as much as he likes (CAP_IPC_LOCK).
"""

from __future__ import annotations

from typing import Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.fault import populate
from sim.designs.linux.huge_pmd import lock_huge_pmd
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import modify
from sim.designs.linux.vma import Vma, VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, SYSCALL, Errno, Mlock, Munlock, Present, slot_of

LOCKED_MASK: Final = VmFlags.LOCKED | VmFlags.LOCKONFAULT


def mlock(mm: LinuxMm, cpu: Cpu, asked: Mlock) -> Steps[Errno | None]:
    """do_mlock. Pages that nobody may touch are `ENOMEM`, and a lack of memory for them is `EAGAIN`."""
    flags = LOCKED_MASK if asked.on_fault else VmFlags.LOCKED
    refused = yield from _lock(mm, cpu, asked, flags)
    if refused is not None:
        return refused
    refused = yield from populate(mm, cpu, asked.at, asked.pages, ignore_errors=False)
    return {None: None, Errno.EFAULT: Errno.ENOMEM, Errno.ENOMEM: Errno.EAGAIN}[refused]


def munlock(mm: LinuxMm, cpu: Cpu, asked: Munlock) -> Steps[Errno | None]:
    """munlock(2)."""
    return _lock(mm, cpu, asked, VmFlags.NONE)


def _lock(mm: LinuxMm, cpu: Cpu, asked: Mlock | Munlock, flags: VmFlags) -> Steps[Errno | None]:
    """apply_vma_lock_flags under the write lock."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    yield from mm.write_lock(cpu)
    refused = yield from _apply(mm, cpu, asked.at, asked.at + asked.pages, flags)
    yield from mm.write_unlock(cpu)
    return refused


def _apply(mm: LinuxMm, cpu: Cpu, page: int, end: int, flags: VmFlags) -> Steps[Errno | None]:
    if end < page:
        return Errno.EINVAL
    if end > page:
        yield from mm.tree.find(cpu, page)
    while page < end:
        vma = mm.tree.peek(page)
        if vma is None:
            return Errno.ENOMEM
        stop = min(end, vma.end)
        refused = yield from _fixup(mm, cpu, vma, page, stop, flags)
        if refused is not None:
            return refused
        page = stop
    return None


def _fixup(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, flags: VmFlags) -> Steps[Errno | None]:
    """mlock_fixup: the part [start, end) of *vma* is locked as *flags* say from now on."""
    cpu.work(mm.cost.mlock, VMA_WORK)
    yield from vma.line.read(cpu, VMA_WORK)
    before = vma.locked
    area = vma.area.with_flags(vma.area.flags & ~LOCKED_MASK | flags)
    if area == vma.area or vma.hugetlb or vma.special or vma.of_morsel:  # which stays in memory anyway
        return None
    part = yield from modify(mm, cpu, vma, start, end, area)
    if isinstance(part, Errno):
        return part
    yield from mm.stat.lock_pages(cpu, (end - start) * (bool(flags) - before))
    yield from part.lock.start_write(cpu)
    yield from part.line.store(cpu, VMA_WORK)
    mm.change_area(cpu, part, area)
    if bool(flags) != before:
        yield from mm.lru.drain(cpu)
        yield from _change_lists(mm, cpu, start, end)
        yield from mm.lru.drain(cpu)
    return None


def _change_lists(mm: LinuxMm, cpu: Cpu, start: int, end: int) -> Steps[None]:
    """mlock_pte_range, one level-1 table after the other, under its lock."""
    page = start
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        yield from mm.take_tables(cpu, page, stop)
        table = mm.leaf_table(page)
        if table is not None:
            lock, folio = mm.table_lock(table), -1
            yield from lock.acquire(cpu)
            for each in range(page, stop):
                entry = table.get(slot_of(each, 1))
                if isinstance(entry, Present) and not entry.special:
                    cpu.work(mm.cost.mlock_page, PAGE_TABLE)
                    before, folio = folio, mm.pages.in_use.head(entry.frame)
                    if folio != before:
                        yield from mm.lru.change_list(cpu, folio)
            yield from lock.release(cpu)
        elif (huge := mm.huge_table(page)) is not None:
            yield from lock_huge_pmd(mm, cpu, huge, page)
        page = stop
