"""MADV_COLD and MADV_PAGEOUT (mm/madvise.c madvise_cold_or_pageout_pte_range, mm/vmscan.c; 6.13).

Pages that are mapped once, by this process, and stand on a list: those are moved to the inactive list, or
isolated and swapped out, used or not. Without swap, what was isolated goes to the active list. Pages of files
and huge pages are passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.gather import Gather, tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.tlb_batch import flush_batched_pending
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, Errno, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.lru_lists import Which
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def cold(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, _: Gather | None) -> Steps[Errno | None]:
    """madvise_cold: the pages are among the next to be scanned, as not used."""
    return _walk(mm, cpu, vma, start, end, pageout=False)


def pageout(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, _: Gather | None) -> Steps[Errno | None]:
    """madvise_pageout."""
    return _walk(mm, cpu, vma, start, end, pageout=True)


def _walk(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, *, pageout: bool) -> Steps[Errno | None]:
    """One level-1 table after the other; locked memory and huge pages of the pool are refused
    (can_madv_lru_vma)."""
    if vma.locked or vma.hugetlb:
        return Errno.EINVAL
    yield from mm.lru.drain(cpu)
    gather = yield from tlb_gather_mmu(mm, cpu)
    page = start
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        yield from mm.take_tables(cpu, page, stop)
        table = mm.leaf_table(page)
        if table is not None:
            frames = yield from _take(mm, cpu, table, page, stop, gather, pageout=pageout)
            if pageout:
                yield from _reclaim_pages(mm, cpu, frames)
            else:
                yield from mm.lru.deactivate(cpu, frames)
        page = stop
    yield from tlb_finish_mmu(mm, cpu, gather)
    return None


def _take(
    mm: LinuxMm, cpu: Cpu, table: PageTablePage, start: int, end: int, gather: Gather, *, pageout: bool
) -> Steps[list[int]]:
    """Under the page-table lock; value: the frames that are meant, isolated if they are to be paged out."""
    kernel = mm.kernel
    frames: list[int] = []
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    yield from flush_batched_pending(mm, cpu)
    for page in range(start, end):
        slot = slot_of(page, 1)
        entry = table.get(slot)
        if not isinstance(entry, Present) or entry.special or not _is_mapped_once(mm, entry.frame):
            continue
        cpu.work(mm.cost.lazyfree_page, PAGE_TABLE)
        if not pageout and entry.accessed:
            yield from table.line(slot).write(cpu, PAGE_TABLE)
            entry.accessed = False
            gather.changed(page)
        kernel.descriptors.referenced.discard(entry.frame)
        taken = not pageout or (yield from mm.lru.isolate_page(cpu, entry.frame))
        if taken:
            frames.append(entry.frame)
    yield from lock.release(cpu)
    return frames


def _is_mapped_once(mm: LinuxMm, frame: int) -> bool:
    """An anonymous page on a list that nobody else maps: it has this owner, and perhaps the swap cache."""
    kernel = mm.kernel
    if frame in kernel.descriptors.of_files or mm.lru.lists.which(frame) in (None, "unevictable"):
        return False
    cached = kernel.swap is not None and frame in kernel.swap.slot_of
    return kernel.pages.in_use.owners(frame) == 1 + cached


def _reclaim_pages(mm: LinuxMm, cpu: Cpu, frames: list[int]) -> Steps[None]:
    """reclaim_pages: node by node."""
    by_node: dict[int, list[int]] = {}
    for frame in frames:
        by_node.setdefault(mm.lru.node_of(frame), []).append(frame)
    for node, isolated in by_node.items():
        back: dict[int, Which] = dict.fromkeys(isolated, "active")
        if mm.kernel.reclaimer is not None:
            back, _ = yield from mm.kernel.reclaimer.shrink_pages(cpu, isolated, ignore_references=True)
        yield from mm.lru.put_back(cpu, node, back)
