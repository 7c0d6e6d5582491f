"""Folios of 16 KiB to 1 MiB that a first write brings in, mapped page by page.

mm/memory.c alloc_anon_folio and do_anonymous_page, 6.13.7; since 6.8:

    of the sizes that the VMA may have, the largest
        whose place lies inside it, and has no entry yet     read the entries, without a lock
        and of which a block is free                         else the next smaller one
    zero it, charge it |- PTL: still no entry - LRU, at once - all entries -|

Such a folio is counted as one: by the allocator, the cgroup and the LRU. Its entries are 8 a cache line,
and one TLB entry each. Left out: that reclaim splits it (no such folios where there is swap), that khugepaged
makes a huge page of several, and cores that keep neighbouring entries as one in their TLB (Zen, contpte of
arm64).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PTES_PER_LINE, SLOTS, OutOfMemory, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

_TAILS: Final = SLOTS - 1
"""Descriptors that `huge_page` in the costs prepares."""


def allows_folios(mm: LinuxMm, vma: Vma) -> bool:
    """thp_vma_allowable_orders: whether *vma* may have any. Memory of a userfaultfd comes page by page."""
    if not mm.folio_orders or vma.area.flags & (VmFlags.NOHUGEPAGE | VmFlags.UFFD_MISSING):
        return False
    return mm.folios_for == "always" or VmFlags.HUGEPAGE in vma.area.flags


def new_folio(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int) -> Steps[tuple[int, int]]:
    """alloc_anon_folio: a charged folio of zeros for the first write to *page*.

    Value: its first frame and its order; the order is 0 where a single page has to do: nothing is taken then.
    """
    fitting = [order for order in mm.folio_orders if _fits(vma, page, order)]
    while fitting:
        empty = yield from _is_empty(cpu, table, page, fitting[0])
        if empty:
            break
        del fitting[0]
    for order in fitting:
        try:
            head = yield from mm.pages.allocate(cpu, order)
        except OutOfMemory:
            continue
        yield from mm.clear_huge_page(cpu, head, 1 << order)
        yield from mm.charge(cpu, head, order)
        cpu.work(mm.cost.anon_page + mm.cost.huge_page * ((1 << order) - 1) // _TAILS, PAGE_TABLE)
        return head, order
    return 0, 0


def map_folio(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, head: int, order: int
) -> Steps[None]:
    """Under the page-table lock: the entries of the folio at *head*, unless there is one by now."""
    pages = 1 << order
    first = slot_of(page, 1) & -pages
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    free = all(table.get(slot) is None for slot in range(first, first + pages))
    if free:
        mm.pages.in_use.add_folio(head)
        mm.pages.in_use.get(head, pages - 1)
        add = mm.lru.change_list(cpu, head, new=True) if vma.locked else mm.lru.add(cpu, head)
        yield from add
        yield from mm.stat.count_pages(cpu, anon=pages)
        for slot in range(first, first + pages, PTES_PER_LINE):
            yield from table.line(slot).store(cpu, PAGE_TABLE)
        for number in range(pages):
            table.set(first + number, Present(head + number, vma.rights, accessed=True, dirty=True))
    yield from lock.release(cpu)
    if not free:
        yield from mm.give_back(cpu, head, order)


def _fits(vma: Vma, page: int, order: int) -> bool:
    """thp_vma_suitable_order."""
    first = page & -(1 << order)
    return vma.start <= first and first + (1 << order) <= vma.end


def _is_empty(cpu: Cpu, table: PageTablePage, page: int, order: int) -> Steps[bool]:
    """pte_range_none: whether nothing stands where the folio of *page* would be."""
    first = slot_of(page, 1) & -(1 << order)
    end = first + (1 << order)
    for line in range(first, end, PTES_PER_LINE):
        yield from table.line(line).read(cpu, PAGE_TABLE)
        if any(table.get(slot) is not None for slot in range(line, min(line + PTES_PER_LINE, end))):
            return False
    return True
