"""Clearing the entries of a range (mm/memory.c zap_pte_range, 6.13).

A page that somebody has written through a shared mapping keeps its map count until TLBs are flushed: until
then others may still write it (tlb_delay_rmap). So a table with such pages is flushed under its lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.huge_pmd import huge_entry, zap_huge_pmd
from sim.designs.linux.hugetlb import zap_hugetlb
from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.swap_in import forget_swapped
from sim.designs.linux.tlb_batch import flush_batched_pending
from sim.designs.linux.zap_run import zap_run
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PAGES_PER_ENTRY, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def zap(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, gather: Gather) -> Steps[None]:
    """unmap_page_range of a part of *vma*: one level-1 table or huge page after the other, and past empty
    entries of upper tables; pages go to *gather*."""
    if vma.special and mm.exmap is not None:
        yield from mm.exmap.invalidate(mm, cpu, start, end)
    page = start
    while page < end:
        table = mm.root.deepest(page)
        span = PAGES_PER_ENTRY[max(2, table.level)]
        stop = min(end, page - page % span + span)
        if table.level > 1:
            huge = table.level == 2 and huge_entry(table, page) is not None
            if huge and not vma.hugetlb:
                page = yield from zap_huge_pmd(mm, cpu, vma, table, page, stop, gather)
                continue
            if huge:
                yield from zap_hugetlb(mm, cpu, table, page, gather)
            cpu.work(mm.cost.empty_entry + mm.cost.cond_resched, PAGE_TABLE)
            page = stop
            continue
        if table.sharing is not None and mm.forked is not None:
            gone = yield from mm.forked.leave(mm, cpu, table, page, stop, gather)
            page = stop if gone else page
            continue
        page, flushed = yield from _zap_table(mm, cpu, vma, table, page, stop, gather)
        if flushed or gather.full:
            yield from gather.flush(cpu)


def _zap_table(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, stop: int, gather: Gather
) -> Steps[tuple[int, bool]]:
    """Value: where to go on, short of *stop* if *gather* is full; and whether TLBs were flushed."""
    found, folio, anon, files = False, -1, 0, 0
    delayed: list[int] = []
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    if mm.forked is not None and (table.sharing is not None or mm.leaf_table(page) is not table):
        yield from lock.release(cpu)  # a fork, while another process's truncate was on its way
        return page, False
    yield from flush_batched_pending(mm, cpu)
    gather.shared_by(table)
    while page < stop and not gather.full:
        slot = slot_of(page, 1)
        if table.run is not None and not vma.locked:
            pages = min(stop - page, gather.room)
            pages = yield from zap_run(mm, cpu, table, slot, pages, gather, unseen=vma.detached)
            anon += pages
            if pages:
                page, found = page + pages, True
                continue
        entry = table.get(slot)
        if isinstance(entry, Present):
            yield from table.line(slot).write(cpu, PAGE_TABLE)
            table.set(slot, None)
            cpu.work(mm.cost.zap_page, PAGE_TABLE)
            found = True
            if vma.locked and not entry.special:
                before, folio = folio, mm.pages.in_use.head(entry.frame)
                if folio != before:
                    yield from mm.lru.change_list(cpu, folio)  # munlock_vma_folio
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
        elif isinstance(entry, SwapEntry):
            yield from table.line(slot).write(cpu, PAGE_TABLE)
            table.set(slot, None)
            yield from forget_swapped(mm, cpu, entry)
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
