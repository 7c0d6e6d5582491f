"""Moving page-table entries from one range to another (mm/mremap.c move_page_tables, 6.13.7).

A part of 1 GiB or of 2 MiB that begins at its own multiple in both ranges moves with one entry of an upper
table, and the tables below it come along. All else moves page by page, 2 MiB of the one or the other range at
a time. Each part is flushed before its locks are let go: nobody must write to a page by its old address when
it can be found at the new one.

    old PTL |- new PTL |- clear old, set new ... | flush + acks -| -|
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.huge_pmd import move_huge_pmd, split_huge_pmd
from sim.designs.linux.page_cache import inode_of
from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.tables import ensure_leaf_table, ensure_table
from sim.designs.linux.tlb_batch import flush_batched_pending
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PAGES_PER_ENTRY, SLOTS, OutOfMemory, Present, slot_of
from sim.sync import QueuedSpinLock

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma
    from sim.mm import PageTablePage

PMD, PUD = 2, 3
"""The levels of the tables whose entries cover 2 MiB and 1 GiB."""


def move_page_tables(
    mm: LinuxMm, cpu: Cpu, vma: Vma, old: int, new_vma: Vma, new: int, pages: int, *, rmap_locks: bool
) -> Steps[int]:
    """Move what is present in *pages* from *old* on, a part of *vma*, to *new* on, a part of *new_vma*.

    The caller holds mmap_lock for writing and has locked both VMAs. *rmap_locks*: the reverse map is locked
    for single pages too. Value: how many of the pages were gone through before memory ran out.
    """
    end = old + pages
    if pages >= SLOTS - old % SLOTS:
        old, new = _realigned(mm, old, vma, new, new_vma)
    try:
        while old < end:
            extent = yield from _move(mm, cpu, vma, old, new, end, rmap_locks=rmap_locks)
            old, new = old + extent, new + extent
    except OutOfMemory:
        pass
    return max(0, pages - end + old)


def _realigned(mm: LinuxMm, old: int, vma: Vma, new: int, new_vma: Vma) -> tuple[int, int]:
    """try_realign_addr: begin below both, where nothing is, if they can then move with a whole table."""

    def is_free_below(start: int, its: Vma) -> bool:
        return its.start == start and not mm.tree.overlapping(start - start % SLOTS, start)

    below = old % SLOTS
    if not below or below != new % SLOTS or not (is_free_below(old, vma) and is_free_below(new, new_vma)):
        return old, new
    return old - below, new - below


def _move(mm: LinuxMm, cpu: Cpu, vma: Vma, old: int, new: int, end: int, *, rmap_locks: bool) -> Steps[int]:
    """One part, with as high an entry as can be. Value: its pages."""
    extent = _extent(old, new, end, SLOTS)
    if mm.replicas is not None and mm.leaf_table(old) is None:
        return extent
    for level in (PUD, PMD) if mm.replicas is None else ():
        extent = _extent(old, new, end, PAGES_PER_ENTRY[level])
        source = mm.table_at(old, level)
        if source is None or source.get(slot_of(old, level)) is None:
            return extent
        yield from mm.take_tables(cpu, old, old + extent)
        yield from mm.take_tables(cpu, new, new + extent)
        target = yield from ensure_table(mm, cpu, new, level)
        assert target is not None
        whole = extent == PAGES_PER_ENTRY[level] and target.get(slot_of(new, level)) is None
        whole = whole and not mm.vma_locks.rechecks  # a fault may have found the table by its old address
        if source.child(slot_of(old, level)) is None:
            if whole:
                yield from _move_huge(mm, cpu, vma, source, old, target, new, rmap_locks=rmap_locks)
                return extent
            yield from split_huge_pmd(mm, cpu, source, old)
        elif whole:
            yield from _move_table(mm, cpu, vma, source, old, target, new)
            return extent
    leaf = mm.leaf_table(old)
    assert leaf is not None
    target = yield from ensure_leaf_table(mm, cpu, new)
    if rmap_locks:
        yield from _lock_rmap(cpu, vma)
    yield from _move_ptes(mm, cpu, leaf, old, target, new, extent)
    if rmap_locks:
        yield from _unlock_rmap(cpu, vma)
    return extent


def _extent(old: int, new: int, end: int, size: int) -> int:
    """get_extent: to the next multiple of *size* in either range, or to the end."""
    return min(size - old % size, size - new % size, end - old)


def _move_table(
    mm: LinuxMm, cpu: Cpu, vma: Vma, source: PageTablePage, old: int, target: PageTablePage, new: int
) -> Steps[None]:
    """move_normal_pmd, move_normal_pud: the table below an entry changes its place."""
    level = source.level
    yield from _lock_rmap(cpu, vma)
    locks = [mm.table_lock(source), mm.table_lock(target)] if level == PMD else [mm.page_table_lock]
    yield from _acquire(cpu, locks)
    cpu.work(mm.cost.move_table, PAGE_TABLE)
    slot, new_slot = slot_of(old, level), slot_of(new, level)
    child = source.child(slot)
    assert child is not None
    yield from source.line(slot).store(cpu, PAGE_TABLE)
    source.set(slot, None)
    yield from target.line(new_slot).store(cpu, PAGE_TABLE)
    child.rebase(new)
    target.set(new_slot, child)
    yield from mm.tlb.flush(cpu, range(old, old + PAGES_PER_ENTRY[level]))
    yield from _release(cpu, locks)
    yield from _unlock_rmap(cpu, vma)


def _move_huge(
    mm: LinuxMm,
    cpu: Cpu,
    vma: Vma,
    source: PageTablePage,
    old: int,
    target: PageTablePage,
    new: int,
    *,
    rmap_locks: bool,
) -> Steps[None]:
    """move_pgt_entry of a huge page."""
    if rmap_locks:
        yield from _lock_rmap(cpu, vma)
    locks = [mm.table_lock(source), mm.table_lock(target)]
    yield from _acquire(cpu, locks)
    yield from move_huge_pmd(mm, cpu, source, old, target, new)
    yield from _release(cpu, locks)
    if rmap_locks:
        yield from _unlock_rmap(cpu, vma)


def _move_ptes(
    mm: LinuxMm, cpu: Cpu, source: PageTablePage, old: int, target: PageTablePage, new: int, pages: int
) -> Steps[None]:
    """move_ptes."""
    locks = [mm.table_lock(source), mm.table_lock(target)]
    yield from _acquire(cpu, locks)
    yield from flush_batched_pending(mm, cpu)
    found = False
    for page, new_page in zip(range(old, old + pages), range(new, new + pages), strict=True):
        slot, new_slot = slot_of(page, 1), slot_of(new_page, 1)
        entry = source.get(slot)
        if isinstance(entry, Present | SwapEntry):
            found = found or isinstance(entry, Present)
            yield from source.line(slot).write(cpu, PAGE_TABLE)
            source.set(slot, None)
            cpu.work(mm.cost.move_page, PAGE_TABLE)
            yield from target.line(new_slot).store(cpu, PAGE_TABLE)
            target.set(new_slot, entry)
    if found:
        yield from mm.tlb.flush(cpu, range(old, old + pages))
    yield from _release(cpu, locks)


def _acquire(cpu: Cpu, locks: list[QueuedSpinLock]) -> Steps[None]:
    """The old one first: who holds mmap_lock for writing is the only one that takes two."""
    for lock in dict.fromkeys(locks):
        yield from lock.acquire(cpu)


def _release(cpu: Cpu, locks: list[QueuedSpinLock]) -> Steps[None]:
    for lock in reversed(dict.fromkeys(locks)):
        yield from lock.release(cpu)


def _lock_rmap(cpu: Cpu, vma: Vma) -> Steps[None]:
    """take_rmap_locks: i_mmap_rwsem, and the anon_vma's rwsem, for which nobody else asks here
    (`LinuxMm.anon_vma_clone`)."""
    if vma.area.file is not None:
        yield from inode_of(vma).i_mmap_rwsem.write_lock(cpu)
    if vma.anon_vma is not None:
        yield from vma.anon_vma.rwsem.write(cpu, PAGE_TABLE)


def _unlock_rmap(cpu: Cpu, vma: Vma) -> Steps[None]:
    if vma.anon_vma is not None:
        yield from vma.anon_vma.rwsem.write(cpu, PAGE_TABLE)
    if vma.area.file is not None:
        yield from inode_of(vma).i_mmap_rwsem.write_unlock(cpu)
