"""Clearing the entries of a range (mm/memory.c zap_pte_range, 6.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm


def zap(mm: LinuxMm, cpu: Cpu, start: int, end: int, gather: Gather) -> Steps[None]:
    """unmap_page_range: one level-1 table after the other, each under its lock; pages go to *gather*."""
    page = start
    while page < end:
        table = mm.leaf_table(page)
        stop = min(end, page - page % SLOTS + SLOTS)
        if table is None:
            page = stop
            continue
        page = yield from _zap_table(mm, cpu, table, page, stop, gather)
        if gather.full:
            yield from gather.flush(cpu)


def _zap_table(
    mm: LinuxMm, cpu: Cpu, table: PageTablePage, page: int, stop: int, gather: Gather
) -> Steps[int]:
    """Value: where to go on, short of *stop* if *gather* is full."""
    found = False
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
            if entry.special:
                gather.changed(page)
            else:
                mm.stat.anon_pages -= 1
                gather.cleared(page, entry.frame)
        page += 1
    if found:
        cpu.work(mm.cost.zap_table, PAGE_TABLE)
    yield from lock.release(cpu)
    return page
