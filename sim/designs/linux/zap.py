"""Clearing the entries of a range (mm/memory.c zap_pte_range, 6.13).

A page that somebody has written through a shared mapping keeps its map count until TLBs are flushed: until
then others may still write it (tlb_delay_rmap). So a table with such pages is flushed under its lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def zap(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, gather: Gather) -> Steps[None]:
    """unmap_page_range of a part of *vma*: one level-1 table after the other; pages go to *gather*."""
    page = start
    while page < end:
        table = mm.leaf_table(page)
        stop = min(end, page - page % SLOTS + SLOTS)
        if table is None:
            page = stop
            continue
        page, flushed = yield from _zap_table(mm, cpu, vma, table, page, stop, gather)
        if flushed or gather.full:
            yield from gather.flush(cpu)


def _zap_table(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, stop: int, gather: Gather
) -> Steps[tuple[int, bool]]:
    """Value: where to go on, short of *stop* if *gather* is full; and whether TLBs were flushed."""
    found, anon, files = False, 0, 0
    delayed: list[int] = []
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    while page < stop and not gather.full:
        slot = slot_of(page, 1)
        entry = table.get(slot)
        if isinstance(entry, Present):
            yield from table.line(slot).write(cpu, PAGE_TABLE)
            table.set(slot, None)
            cpu.work(mm.cost.zap_page, PAGE_TABLE)
            found = True
            if vma.locked and not entry.special:
                yield from mm.lru.change_list(cpu, entry.frame)  # munlock_vma_folio
            if entry.special:
                gather.changed(page)
            elif entry.frame in mm.kernel.descriptors.of_files:
                files += 1
                gather.cleared(page, entry.frame)
                if vma.area.shared and entry.dirty:
                    delayed.append(entry.frame)
                else:
                    yield from mm.kernel.descriptors.write(cpu, entry.frame)  # folio_remove_rmap_ptes
            else:
                anon += 1
                gather.cleared(page, entry.frame)
        page += 1
    if found:
        cpu.work(mm.cost.zap_table, PAGE_TABLE)
        yield from mm.stat.add_rss_vec(cpu, anon=-anon, files=-files)
    if delayed:
        yield from gather.flush_tlbs(cpu)
        for frame in delayed:  # tlb_flush_rmaps
            yield from mm.kernel.descriptors.write(cpu, frame)
    yield from lock.release(cpu)
    return page, bool(delayed)
