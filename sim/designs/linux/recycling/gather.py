"""struct mmu_gather of a munmap that skips the flush of other TLBs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.gather import Gather, free_collected, tlb_gather_mmu
from sim.hardware import TLB_FLUSH

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.recycling.recycler import Recycler
    from sim.engine import Steps
    from sim.hardware import Cpu


def tlb_gather_recycling(mm: LinuxMm, cpu: Cpu, recycler: Recycler) -> Steps[Gather]:
    """tlb_gather_mmu of munmap(2)."""
    yield from tlb_gather_mmu(mm, cpu)
    return RecyclingGather(mm, recycler)


class RecyclingGather(Gather):
    """What is cleared leaves the cpu's own TLB, and its frames are free at once. Where frames are not the
    process's alone, or tables go, it is flushed as ever."""

    __slots__ = ("_recycler",)

    def __init__(self, mm: LinuxMm, recycler: Recycler) -> None:
        super().__init__(mm)
        self._recycler = recycler

    def flush(self, cpu: Cpu) -> Steps[None]:
        """tlb_flush_mmu."""
        mm, recycler, low, high = self._mm, self._recycler, self.low, self.high
        frames = self.frames
        plain = bool(high) and not (self.whole or self.hugetlb or self.tables or self.shared)
        if not plain or not recycler.may_keep(frames):
            yield from super().flush(cpu)
            return
        self._reset()
        yield from recycler.keep(cpu, low, high, frames)
        if cpu.pending:
            yield cpu.take_pending()
        if cpu.heard:
            cpu.probe.tlb_flush(cpu, high - low, False)
        cpu.tlb.invalidate(range(low, high))
        cpu.work((high - low) * cpu.tlb.invalidate_cost, TLB_FLUSH)
        yield from free_collected(mm, cpu, frames, (), ())
