"""struct mmu_gather: what was cleared, flushed together and freed afterwards (mm/mmu_gather.c, 6.13).

    tlb_gather_mmu | entries cleared, pages and tables collected ... | tlb_finish_mmu: flush, free
                     a full gather is flushed and freed in between

Pages and tables go back only when no TLB can reach them. Two gathers that are open in one process at a time
(nested) cannot know what the other has cleared and not flushed yet: each then flushes everything, on the
cpus in lazy-TLB mode too, even if it has cleared nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, PageTablePage

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm


class Gather:
    """The pages [*low*, *high*) contain all entries that were cleared or changed since the last flush.

    *frames* are those of cleared entries, one by one or many side by side, *pages* how many; *hugetlb*
    are those that belong to the pool of huge pages, *tables* those that were unlinked, and *shared* those
    that other processes may have, too.
    are those that belong to the pool of huge pages, *tables* those that were unlinked. *nodes* are the nodes
    whose tables had what was cleared or changed since the last flush, as bits, if each node has its own.
    """

    __slots__ = (
        "_huge",
        "_limit",
        "_mm",
        "_small",
        "frames",
        "high",
        "hugetlb",
        "low",
        "nodes",
        "pages",
        "shared",
        "tables",
        "whole",
    )

    def __init__(self, mm: LinuxMm) -> None:
        self._mm = mm
        self._limit = mm.kernel.spec.limits.gather_pages
        self.whole = False
        self._reset()

    def _reset(self) -> None:
        self._begin_range()
        self.pages = 0
        self.frames: list[int | range] = []
        self.hugetlb: list[int] = []
        self.tables: list[PageTablePage] = []
        self.shared: list[PageTablePage] = []

    def _begin_range(self) -> None:
        self.low, self.high = 1 << 62, 0
        self.nodes = 0
        self._small = self._huge = False  # cleared_ptes, cleared_pmds

    @property
    def full(self) -> bool:
        """Whether it has to be flushed before more is cleared."""
        return self.room <= 0

    @property
    def room(self) -> int:
        """How many pages more it takes."""
        return self._limit - self.pages - len(self.hugetlb)

    def changed(self, page: int) -> None:
        """tlb_flush_pte_range: the entry of *page* is not what TLBs may have."""
        self._small = True
        self.low = min(self.low, page)
        self.high = max(self.high, page + 1)

    def changed_huge(self, page: int) -> None:
        """tlb_flush_pmd_range: the same of the entry of a huge page, which begins with *page*."""
        self._huge = True
        self.low = min(self.low, page)
        self.high = max(self.high, page + SLOTS)

    def cleared(self, page: int, frame: int) -> None:
        """__tlb_remove_page: the entry of *page* is gone, and one reference of *frame* with it."""
        self.changed(page)
        self.pages += 1
        self.frames.append(frame)

    def cleared_run(self, page: int, frames: range) -> None:
        """The same of *page* and those behind it, whose *frames* lie side by side."""
        self.changed(page)
        self.changed(page + len(frames) - 1)
        self.pages += len(frames)
        self.frames.append(frames)

    def shared_by(self, table: PageTablePage) -> None:
        """Entries of *table* are about to be cleared or changed."""
        if self._mm.replicas is not None:
            self.nodes |= self._mm.replicas.nodes_with(table)

    def unlinked(self, table: PageTablePage, page: int) -> None:
        """pte_free_tlb, pmd_free_tlb, pud_free_tlb: *table*, which *page* was looked up in."""
        self.low = min(self.low, page)
        self.high = max(self.high, page + 1)
        self.tables.append(table)

    def left(self, table: PageTablePage) -> None:
        """*table*, which others may have, too, was unlinked with all its entries in it."""
        self.changed(table.base)
        self.changed(table.base + SLOTS - 1)
        self.shared.append(table)

    def flush_tlbs(self, cpu: Cpu) -> Steps[None]:
        """tlb_flush_mmu_tlbonly: flush what was cleared or changed, 2 MiB at a time where all of it is huge
        (tlb_get_unmap_shift)."""
        if self.high or self.whole:
            step = SLOTS if self._huge and not self._small else 1
            pages = range(self.low, self.high, step) if self.high else range(0)
            freed_tables = bool(self.tables or self.shared) or self.whole
            nodes, mm = self.nodes, self._mm
            self._begin_range()
            if mm.replicas is not None and not self.whole:
                yield from mm.replicas.flush(cpu, pages, nodes, freed_tables=freed_tables)
            else:
                yield from mm.tlb.flush(cpu, pages, whole=self.whole, freed_tables=freed_tables)

    def flush(self, cpu: Cpu) -> Steps[None]:
        """tlb_flush_mmu: flush, then free what was collected."""
        mm = self._mm
        yield from self.flush_tlbs(cpu)
        frames, hugetlb, tables, shared = self.frames, self.hugetlb, self.tables, self.shared
        self._reset()
        yield from free_collected(mm, cpu, frames, hugetlb, tables)
        for table in shared:
            assert mm.forked is not None
            yield from mm.forked.put(mm, cpu, table)


def free_collected(
    mm: LinuxMm,
    cpu: Cpu,
    frames: Sequence[int | range],
    hugetlb: Sequence[int],
    tables: Sequence[PageTablePage],
) -> Steps[None]:
    """tlb_flush_mmu_free: give up what a gather has collected, which no TLB shows any more."""
    if frames and (swap := mm.kernel.swap) is not None:  # free_pages_and_swap_cache
        for frame in frames:
            assert isinstance(frame, int), "with swap there are no runs"
            yield from swap.free_cache(cpu, frame)
    if frames:
        yield from mm.lru.release(cpu, frames)
    if hugetlb:
        yield from mm.kernel.hugetlb.put(cpu, hugetlb)
    for table in tables:
        if mm.vma_locks.rechecks:
            mm.kernel.free_table_later(cpu, table.frame)
        else:
            yield from mm.kernel.free_table(cpu, table.frame)


def tlb_gather_mmu(mm: LinuxMm, cpu: Cpu) -> Steps[Gather]:
    """inc_tlb_flush_pending."""
    yield from mm.lines["tlb_flush_pending"].write(cpu, PAGE_TABLE)
    mm.gathers += 1
    return Gather(mm)


def tlb_finish_mmu(mm: LinuxMm, cpu: Cpu, gather: Gather) -> Steps[None]:
    """Flush and free; dec_tlb_flush_pending."""
    yield from mm.lines["tlb_flush_pending"].read(cpu, PAGE_TABLE)
    if mm.gathers > 1:  # mm_tlb_flush_nested
        gather.whole = True
    yield from gather.flush(cpu)
    yield from mm.lines["tlb_flush_pending"].write(cpu, PAGE_TABLE)
    mm.gathers -= 1
