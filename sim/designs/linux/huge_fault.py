"""Faults that a huge page may serve (mm/memory.c __handle_mm_fault, mm/huge_memory.c; 6.13.7).

    2 MiB that no table stands for, all of it in one VMA that allows it (thp_vma_allowable_order)
        read   the huge page of zeros, if the system uses one (use_zero_page)
        write  a folio of 512 zeroed pages
               no such block is free: fall back to a small page
    the huge page of zeros   write  a folio of one's own  |= PMD lock: clear, flush, set =|   (since 6.13)
    a shared folio           write  its only owner by now: make it writable; else split the entry and copy
                                    one small page (since 5.8)

khugepaged is off: small pages never become huge ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.anon import add_to_lru, anon_vma_prepare
from sim.designs.linux.huge_pmd import huge_entry, invalidate, split_huge_pmd
from sim.designs.linux.tables import ensure_pmd_table
from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import HUGE_ORDER, PAGE_TABLE, SLOTS, ZERO_FRAME, OutOfMemory, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def allows_huge(mm: LinuxMm, vma: Vma, page: int) -> bool:
    """thp_vma_allowable_order, thp_vma_suitable_order: whether the 2 MiB around *page* may be one page.

    What another thread is to bring in (userfaultfd) comes page by page.
    """
    if vma.area.file is not None or vma.area.flags & (VmFlags.NOHUGEPAGE | VmFlags.UFFD_MISSING):
        return False
    if mm.thp == "madvise" and VmFlags.HUGEPAGE not in vma.area.flags:
        return False
    first = page - page % SLOTS
    return vma.start <= first and first + SLOTS <= vma.end


def handle_huge(
    mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, write: bool, *, vma_locked: bool
) -> Steps[bool | None]:
    """create_huge_pmd, wp_huge_pmd, huge_pmd_set_accessed.

    Value: None where a small page is to serve the fault (VM_FAULT_FALLBACK), False where it is to be tried
    again under mmap_lock.
    """
    slot = slot_of(page, 2)
    table = mm.table_at(page, 2)
    if table is None or table.get(slot) is None:
        if not allows_huge(mm, vma, page):
            return None
        table = yield from ensure_pmd_table(mm, cpu, page)
        if table.get(slot) is None:
            return (yield from _anonymous(mm, cpu, vma, table, page, write, vma_locked=vma_locked))
    entry = huge_entry(table, page)
    if entry is None:
        return None
    if write and not entry.writable:
        return (yield from _write_protected(mm, cpu, vma, table, page, entry))
    yield from mm.table_lock(table).acquire(cpu)  # huge_pmd_set_accessed
    yield from mm.table_lock(table).release(cpu)
    return True


def _anonymous(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, write: bool, *, vma_locked: bool
) -> Steps[bool | None]:
    """do_huge_pmd_anonymous_page."""
    prepared = yield from anon_vma_prepare(mm, cpu, vma, vma_locked=vma_locked)
    if not prepared:
        return False
    if not write and mm.kernel.spec.huge_pages.use_zero_page:
        there = yield from mm.kernel.huge_zero.get(mm, cpu)
        entry = Present(ZERO_FRAME, vma.rights, level=2, copy_on_write=True) if there else None
    else:
        entry = yield from _new_folio(mm, cpu, vma)
    if entry is None:
        return None
    try:
        deposited = yield from mm.new_zeroed_page(cpu)  # pte_alloc_one
    except OutOfMemory:
        yield from _put(mm, cpu, entry)
        raise
    yield from mm.kernel.charges.charge_kmem(cpu, deposited, mm.memcg)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    free = table.get(slot_of(page, 2)) is None
    if free:
        yield from _map(mm, cpu, vma, table, page, entry)
        mm.kernel.deposits.deposit(table, deposited)
        yield from mm.stat.inc_nr_ptes(cpu)
    yield from lock.release(cpu)
    if not free:  # somebody else was faster
        yield from mm.kernel.charges.uncharge_kmem(cpu, deposited)
        yield from mm.pages.free(cpu, deposited)
        yield from _put(mm, cpu, entry)
    return True


def _new_folio(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[Present | None]:
    """vma_alloc_anon_folio_pmd; value: an entry for it, None where no block of 2 MiB is free."""
    try:
        frame = yield from mm.pages.allocate(cpu, HUGE_ORDER)
    except OutOfMemory:
        return None
    yield from mm.clear_huge_page(cpu, frame)
    yield from mm.charge(cpu, frame, HUGE_ORDER)
    cpu.work(mm.cost.anon_page + mm.cost.huge_page, PAGE_TABLE)
    return Present(frame, vma.rights, level=2, accessed=True, dirty=True)


def _put(mm: LinuxMm, cpu: Cpu, entry: Present) -> Steps[None]:
    """What *entry* would have mapped is not needed."""
    if not entry.special:
        yield from mm.give_back(cpu, entry.frame, HUGE_ORDER)


def _map(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, entry: Present) -> Steps[None]:
    """map_anon_folio_pmd, under the PMD lock."""
    if not entry.special:
        yield from add_to_lru(mm, cpu, vma, page, entry.frame)
        yield from mm.stat.count_pages(cpu, anon=SLOTS)
    yield from table.line(slot_of(page, 2)).store(cpu, PAGE_TABLE)
    table.set(slot_of(page, 2), entry)


def _write_protected(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, entry: Present
) -> Steps[bool | None]:
    """do_huge_pmd_wp_page, do_huge_zero_wp_pmd. As above."""
    fresh = (yield from _new_folio(mm, cpu, vma)) if entry.special else None
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    if table.get(slot_of(page, 2)) is not entry:  # somebody else has been here
        yield from lock.release(cpu)
        if fresh is not None:
            yield from _put(mm, cpu, fresh)
        return True
    if entry.special and fresh is not None:
        yield from invalidate(mm, cpu, table, page - page % SLOTS, entry)
        yield from _map(mm, cpu, vma, table, page, fresh)
        yield from lock.release(cpu)
        return True
    alone = not entry.special and mm.pages.in_use.refcount[entry.frame] == 1
    if alone:
        yield from table.line(slot_of(page, 2)).store(cpu, PAGE_TABLE)
        reused = Present(entry.frame, vma.rights, level=2, accessed=True, dirty=True)
        table.set(slot_of(page, 2), reused)
    yield from lock.release(cpu)
    if alone:
        return True
    yield from split_huge_pmd(mm, cpu, table, page)
    return None


class HugeZero:
    """The huge page of zeros: made when it is needed first, and kept (mm_get_huge_zero_folio)."""

    __slots__ = ("frame",)

    def __init__(self) -> None:
        self.frame: int | None = None

    def _is_there(self) -> bool:
        return self.frame is not None

    def has(self, frame: int) -> bool:
        """Whether *frame* is a part of it."""
        return self.frame is not None and self.frame <= frame < self.frame + SLOTS

    def get(self, mm: LinuxMm, cpu: Cpu) -> Steps[bool]:
        """Value: whether it is there; there may be no memory for it."""
        if self._is_there():
            return True
        try:
            frame = yield from mm.pages.allocate(cpu, HUGE_ORDER)
        except OutOfMemory:
            return False
        yield from mm.clear_huge_page(cpu, frame)
        if not self._is_there():
            self.frame = frame
        else:  # cmpxchg: somebody else was faster
            yield from mm.pages.free(cpu, frame, HUGE_ORDER)
        return True
