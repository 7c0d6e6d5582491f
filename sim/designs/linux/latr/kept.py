"""What LATR keeps of one process: pages that TLBs may still show, and VMAs that are gone.

    munmap   VMAs leave the tree | entries cleared | lazy flush | pages, tables and VMAs on lists
    2 s later                                                     freed

They wait for a fixed time in which every cpu has had ticks enough, not for the sweeps themselves. Each list
is a page more. When the process ends all of it goes at once (__mmput).

Source: sslab-gatech/latr at efad1a1, latr.patch with CONFIG_LAZY_MEM_FREE (mm/memory.c update_lazy_list and
tlb_flush_mmu_free, mm/mmap.c add_vmas_to_lazy_list, arch/x86/mm/tlb.c background_lazy_memory). As released
that option is off: pages are then freed at once, while TLBs still show them, which is not what the paper
describes, and not done here. Simplifications: what is due is freed by the next lazy flush of the process,
under the mmap_lock that it holds, instead of by a kernel thread that takes it; what TLBs may still show stays
even then; VMAs of files go at once; counters are brought up to date at once; a batch of 500 pages or more is
kept, too (the patch frees it).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.gather import free_collected
from sim.mm import PAGE_TABLE, OutOfMemory, PageTablePage, Reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.designs.linux.latr.lazy_flush import Record
    from sim.designs.linux.latr.spec import LatrSpec
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma
    from sim.engine import Steps
    from sim.hardware import Cpu


class KeptPages:
    """Pages of one flush, since time *at*: *frames* of cleared entries, *tables* that were unlinked, and what
    the *lists* of them are on."""

    __slots__ = ("at", "frames", "lists", "record", "tables")

    def __init__(
        self,
        at: int,
        record: Record | None,
        frames: Sequence[int | range],
        tables: Sequence[PageTablePage],
        lists: Sequence[int],
    ) -> None:
        self.at = at
        self.record = record
        self.frames = frames
        self.tables = tables
        self.lists = lists

    @property
    def shown(self) -> bool:
        """Whether a TLB may still show them."""
        return self.record is not None and self.record.shown

    def references(self) -> Iterator[Reference]:
        for each in self.frames:
            if isinstance(each, int):
                yield Reference(each, "LATR's list of pages")
            else:
                yield Reference(each.start, "LATR's list of pages", frames=len(each))
        for table in self.tables:
            yield Reference(table.frame, "LATR's list of pages, a table")
        for frame in self.lists:
            yield Reference(frame, "LATR's list of pages itself")


class KeptMemory:
    """All that is kept of *mm*."""

    __slots__ = ("_batch", "_hold", "_keep", "_mm", "_pages", "_vmas")

    def __init__(self, mm: LinuxMm, spec: LatrSpec) -> None:
        self._mm = mm
        self._hold = spec.hold
        self._batch = spec.pages_a_batch
        self._keep = spec.keep.at(mm.machine.spec.plain_clock)
        self._pages: deque[KeptPages] = deque()
        self._vmas: deque[tuple[int, Vma]] = deque()

    @property
    def vmas(self) -> Iterator[Vma]:
        """VMAs that are kept."""
        return (vma for _, vma in self._vmas)

    def keep_pages(
        self, cpu: Cpu, record: Record | None, frames: Sequence[int | range], tables: Sequence[PageTablePage]
    ) -> Steps[bool]:
        """update_lazy_list: put *frames* and *tables* on lists; value: whether there is memory for these."""
        mm, lists = self._mm, list[int]()
        pages = len(tables) + sum(1 if isinstance(each, int) else len(each) for each in frames)
        try:
            for _ in range(0, pages, self._batch):
                cpu.work(self._keep, PAGE_TABLE)
                frame = yield from mm.pages.allocate(cpu)
                lists.append(frame)
        except OutOfMemory:
            for frame in lists:
                yield from mm.pages.free(cpu, frame)
            return False
        self._pages.append(KeptPages(cpu.engine._now, record, frames, tables, lists))
        return True

    def keep_vma(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """__vma_add_lazy_list."""
        cpu.work(self._keep, VMA_WORK)
        yield from vma.line.store(cpu, VMA_WORK)
        self._vmas.append((cpu.engine._now, vma))

    def free_due(self, cpu: Cpu) -> Steps[None]:
        """process_lazy_mm: free what has been kept for longer than it must be."""
        before = cpu.engine._now - self._hold
        while self._pages and self._pages[0].at < before and not self._pages[0].shown:
            yield from self._free(cpu, self._pages.popleft())
        while self._vmas and self._vmas[0][0] < before:
            yield from self._mm.free_vma(cpu, self._vmas.popleft()[1])

    def free_all(self, cpu: Cpu) -> Steps[None]:
        """__process_lazy_mm by force: the process has ended, and no TLB has anything of it."""
        while self._pages:
            yield from self._free(cpu, self._pages.popleft())
        while self._vmas:
            yield from self._mm.free_vma(cpu, self._vmas.popleft()[1])

    def _free(self, cpu: Cpu, kept: KeptPages) -> Steps[None]:
        mm = self._mm
        yield from free_collected(mm, cpu, kept.frames, (), kept.tables)
        for frame in kept.lists:
            yield from mm.pages.free(cpu, frame)

    def references(self, *, shown: bool) -> Iterator[Reference]:
        """The frames that TLBs may still show, or those that they may not."""
        for kept in self._pages:
            if kept.shown == shown:
                yield from kept.references()
