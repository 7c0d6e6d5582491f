"""Entries of level-2 tables that map a huge page of 2 MiB (mm/huge_memory.c, 6.13.7).

A huge page is one folio of 512 frames. An entry that maps all of it owns it once; where the entry has been
split, each of the 512 small entries does. The folio itself is never split: it is free when the last owner
has gone, whatever part of it was of use until then (only reclaim empties the list of deferred_split_folio).

    with each entry a page for a level-1 table is deposited, which counts as one (mm_inc_nr_ptes):

    split_huge_pmd   PMD lock |- invalid - flush + acks - 512 small entries in the deposited table -|
    zap_huge_pmd     PMD lock |- clear - the deposited table goes -|   flush + acks, then the folio

The lock is the level-2 table's own. Who holds it finds out whether somebody has split or zapped before. While
an entry is being changed nobody may use it (pmdp_invalidate): it is still there, and allows nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sim.designs.linux.tables import ensure_pmd_table
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    NOTHING,
    PAGE_TABLE,
    SLOTS,
    PageTablePage,
    Present,
    Reference,
    Rights,
    slot_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


class Deposits:
    """Pages for level-1 tables, by the level-2 table that they were deposited with (pmd_huge_pte)."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames: dict[PageTablePage, list[int]] = {}

    def deposit(self, table: PageTablePage, frame: int) -> None:
        """pgtable_trans_huge_deposit, under the table's lock."""
        self._frames.setdefault(table, []).append(frame)

    def withdraw(self, table: PageTablePage) -> int:
        """pgtable_trans_huge_withdraw, under the table's lock; value: the frame."""
        frames = self._frames[table]
        frame = frames.pop()
        if not frames:
            del self._frames[table]
        return frame

    def count(self, table: PageTablePage) -> int:
        """How many lie with *table*."""
        return len(self._frames.get(table, ()))

    def references(self) -> Iterator[Reference]:
        """The frames that wait there."""
        for table, frames in self._frames.items():
            for frame in frames:
                yield Reference(frame, "a table deposited for page", table.base)


def huge_entry(table: PageTablePage, page: int) -> Present | None:
    """The huge entry of *page* in its level-2 table, if it is one (pmd_trans_huge)."""
    entry = table.get(slot_of(page, 2))
    return entry if isinstance(entry, Present) else None


def split_huge_pmd(mm: LinuxMm, cpu: Cpu, table: PageTablePage, page: int) -> Steps[None]:
    """__split_huge_pmd: small entries in place of the huge one, to the same frames. The folio stays whole."""
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    entry = huge_entry(table, page)
    if entry is not None:
        yield from _split_locked(mm, cpu, table, page - page % SLOTS, entry)
    yield from lock.release(cpu)


def _split_locked(mm: LinuxMm, cpu: Cpu, table: PageTablePage, first: int, entry: Present) -> Steps[None]:
    """__split_huge_pmd_locked. The page of zeros becomes 512 times the small one."""
    yield from invalidate(mm, cpu, table, first, entry)
    frame = mm.kernel.deposits.withdraw(table)
    home = mm.machine.spec.topology.socket_of_node(mm.pages.node(cpu, frame))
    leaf = PageTablePage(mm.machine, 1, first, frame, home, maker=cpu.id)
    for slot in range(SLOTS):
        leaf.set(slot, replace(entry, frame=entry.frame_of(first + slot), level=1))
    if not entry.special:
        mm.pages.in_use.get(entry.frame, SLOTS - 1)  # page_ref_add
    cpu.work(mm.cost.split_huge, PAGE_TABLE)
    yield from table.line(slot_of(first, 2)).store(cpu, PAGE_TABLE)
    table.set(slot_of(first, 2), leaf)


def invalidate(
    mm: LinuxMm, cpu: Cpu, table: PageTablePage, first: int, entry: Present, *, huge: bool = False
) -> Steps[None]:
    """pmdp_invalidate, pmdp_huge_clear_flush: no cpu can use *entry* any more.

    The flush is one of 512 small pages (flush_pmd_tlb_range is flush_tlb_range, arch/x86), so of everything;
    where the VMA has pages of the pool (*huge*) it is one of a huge page.
    """
    slot = slot_of(first, 2)
    yield from table.line(slot).write(cpu, PAGE_TABLE)
    table.set(slot, entry.with_rights(NOTHING))
    yield from mm.tlb.flush(cpu, range(first, first + SLOTS, SLOTS if huge else 1))


def adjust_trans_huge(mm: LinuxMm, cpu: Cpu, at: int) -> Steps[None]:
    """vma_adjust_trans_huge: a VMA is about to end or begin at *at*, and an entry must not reach beyond."""
    if at % SLOTS and (table := mm.huge_table(at)) is not None:
        yield from split_huge_pmd(mm, cpu, table, at)


def zap_huge_pmd(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, start: int, stop: int, gather: Gather
) -> Steps[int]:
    """zap_pmd_range for one huge entry: of a part, it is split. Value: where to go on."""
    if stop - start < SLOTS:
        yield from split_huge_pmd(mm, cpu, table, start)
        return start
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    entry = huge_entry(table, start)
    if entry is None:  # somebody has split or zapped it
        yield from lock.release(cpu)
        return start
    slot = slot_of(start, 2)
    yield from table.line(slot).write(cpu, PAGE_TABLE)
    table.set(slot, None)
    cpu.work(mm.cost.zap_page, PAGE_TABLE)
    gather.changed_huge(start)
    if not entry.special:
        gather.frames.append(entry.frame)
        yield from mm.stat.add_rss_vec(cpu, anon=-SLOTS, files=0)
        if vma.locked:
            yield from mm.lru.change_list(cpu, entry.frame)
    deposited = mm.kernel.deposits.withdraw(table)  # zap_deposited_table
    yield from mm.kernel.charges.uncharge_kmem(cpu, deposited)
    yield from mm.pages.free(cpu, deposited)
    yield from mm.stat.dec_nr_ptes(cpu)
    yield from lock.release(cpu)
    return stop


def change_huge_pmd(
    mm: LinuxMm, cpu: Cpu, table: PageTablePage, start: int, stop: int, rights: Rights, gather: Gather
) -> Steps[bool]:
    """change_pmd_range for one huge entry. Value: False where it is split, and small ones are left to do."""
    if stop - start < SLOTS:
        yield from split_huge_pmd(mm, cpu, table, start)
        return False
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    entry = huge_entry(table, start)
    assert entry is not None, "nobody else zaps or splits under mmap_lock for writing"
    yield from table.line(slot_of(start, 2)).write(cpu, PAGE_TABLE)  # pmdp_invalidate_ad, which flushes not
    cpu.work(mm.cost.change_page, PAGE_TABLE)
    table.set(slot_of(start, 2), entry.with_rights(rights))
    if entry.rights not in (rights, NOTHING):
        gather.changed_huge(start)
    yield from lock.release(cpu)
    return True


def free_huge_pmd(
    mm: LinuxMm, cpu: Cpu, table: PageTablePage, start: int, stop: int, gather: Gather
) -> Steps[None]:
    """madvise_free_huge_pmd. A part of a folio would need it split: then nothing is done."""
    if stop - start < SLOTS:
        return
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    entry = huge_entry(table, start)
    if entry is not None and not entry.special and mm.pages.in_use.refcount[entry.frame] == 1:
        cpu.work(mm.cost.lazyfree_page, PAGE_TABLE)
        if entry.accessed or entry.dirty:
            yield from table.line(slot_of(start, 2)).write(cpu, PAGE_TABLE)
            entry.accessed = entry.dirty = False
            gather.changed_huge(start)
        yield from mm.lru.mark_lazyfree(cpu, entry.frame)
    yield from lock.release(cpu)


def lock_huge_pmd(mm: LinuxMm, cpu: Cpu, table: PageTablePage, page: int) -> Steps[None]:
    """mlock_pte_range for one huge entry, all of it in the VMA that is locked or unlocked."""
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    entry = huge_entry(table, page)
    if entry is not None and not entry.special:
        cpu.work(mm.cost.mlock_page, PAGE_TABLE)
        yield from mm.lru.change_list(cpu, entry.frame)
    yield from lock.release(cpu)


def copy_huge_pmd(mm: LinuxMm, child: LinuxMm, cpu: Cpu, source: PageTablePage, page: int) -> Steps[None]:
    """copy_huge_pmd: fork leaves the folio to both. Raises `OutOfMemory` where there is none for tables."""
    target = yield from ensure_pmd_table(child, cpu, page)
    deposited = yield from child.new_zeroed_page(cpu)  # pte_alloc_one
    yield from child.kernel.charges.charge_kmem(cpu, deposited, child.memcg)
    outer, inner = child.table_lock(target), mm.table_lock(source)
    yield from outer.acquire(cpu)
    yield from inner.acquire(cpu)
    entry = huge_entry(source, page)
    assert entry is not None, "nobody else zaps or splits under mmap_lock for writing"
    slot = slot_of(page, 2)
    cpu.work(mm.cost.fork_page, PAGE_TABLE)
    if not entry.special:
        yield from mm.kernel.descriptors.write(
            cpu, entry.frame, times=2
        )  # folio_get, folio_dup_anon_rmap_pmd
        mm.pages.in_use.get(entry.frame)
        yield from child.stat.add_rss_vec(cpu, anon=SLOTS, files=0)
    yield from child.stat.inc_nr_ptes(cpu)
    mm.kernel.deposits.deposit(target, deposited)
    if not entry.copy_on_write:
        yield from source.line(slot).store(cpu, PAGE_TABLE)  # pmdp_set_wrprotect
        entry.copy_on_write = True
    yield from target.line(slot).store(cpu, PAGE_TABLE)
    target.set(slot, replace(entry, accessed=False))
    yield from inner.release(cpu)
    yield from outer.release(cpu)


def move_huge_pmd(
    mm: LinuxMm, cpu: Cpu, source: PageTablePage, old: int, target: PageTablePage, new: int
) -> Steps[None]:
    """move_huge_pmd, under both locks. The deposited table moves to the other table's store."""
    entry = huge_entry(source, old)
    assert entry is not None
    yield from source.line(slot_of(old, 2)).write(cpu, PAGE_TABLE)
    source.set(slot_of(old, 2), None)
    cpu.work(mm.cost.move_page, PAGE_TABLE)
    mm.kernel.deposits.deposit(target, mm.kernel.deposits.withdraw(source))
    yield from target.line(slot_of(new, 2)).store(cpu, PAGE_TABLE)
    target.set(slot_of(new, 2), entry)
    yield from mm.tlb.flush(cpu, range(old, old + SLOTS))
