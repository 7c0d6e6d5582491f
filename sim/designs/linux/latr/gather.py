"""struct mmu_gather under LATR: munmap and MADV_DONTNEED flush lazily, and keep what they removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.gather import Gather, free_collected, tlb_gather_mmu
from sim.designs.linux.latr.lazy_flush import LatrFlush
from sim.mm import SLOTS

if TYPE_CHECKING:
    from sim.designs.linux.latr.kept import KeptMemory
    from sim.designs.linux.mm import LinuxMm
    from sim.engine import Steps
    from sim.hardware import Cpu


def tlb_gather_lazily(mm: LinuxMm, cpu: Cpu) -> Steps[Gather]:
    """tlb_gather_mmu of an operation during which the process says munmap_inprogress, if there is LATR."""
    gather = yield from tlb_gather_mmu(mm, cpu)
    return gather if mm.kept is None else LatrGather(mm, mm.kept)


class LatrGather(Gather):
    """What is cleared is flushed lazily and kept in *kept*.

    The patch tells lazy flushes by a flag of the process, so that one of another thread beside MADV_DONTNEED
    is lazy, too, though nobody keeps its page; here they are those of the call itself. Three kinds are never
    lazy here: pages of files that were written by way of a mapping (`flush_tlbs`), before their dirty bit
    counts for the last time; the pool's huge pages; all, where another gather is open (mm_tlb_flush_nested).
    """

    __slots__ = ("_kept",)

    def __init__(self, mm: LinuxMm, kept: KeptMemory) -> None:
        super().__init__(mm)
        self._kept = kept

    def flush(self, cpu: Cpu) -> Steps[None]:
        """tlb_flush_mmu."""
        mm = self._mm
        tlb = mm.tlb
        assert isinstance(tlb, LatrFlush)
        if self.hugetlb or self.whole or not self.high:
            yield from super().flush(cpu)
            return
        yield from self._kept.free_due(cpu)
        pages = range(self.low, self.high, SLOTS if self._huge and not self._small else 1)
        high, frames, tables = self.high, self.frames, self.tables
        self._reset()
        record = yield from tlb.flush_lazily(cpu, pages, high, frames, freed_tables=bool(tables))
        if not frames and not tables:
            return
        kept = yield from self._kept.keep_pages(cpu, record, frames, tables)
        if not kept:
            if record is not None:
                yield from tlb.flush(cpu, pages, freed_tables=bool(tables))
            yield from free_collected(mm, cpu, frames, (), tables)
