"""LATR's flush of one address space, and the switch of threads in which its cpus sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.lazy_mm import LazyMm
from sim.hardware import TLB_FLUSH
from sim.mm import SynchronousFlush, Ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.designs.linux.latr.rings import LatrRings, Record
    from sim.designs.linux.layout import Layout, MmLines
    from sim.designs.linux.lazy_mm import MmCid
    from sim.engine import Steps
    from sim.hardware import CacheLine, Cpu, Machine
    from sim.sync import QueueNodes


class LatrFlush(SynchronousFlush):
    """Flushes by interrupt, and lazy ones beside them, which `LatrRings` publishes.

    A lazy flush counts as one of the space's (`generation`), so a cpu that has left the space finds, when it
    comes back, that it has missed it.
    """

    __slots__ = ("_rings",)

    def __init__(
        self,
        machine: Machine,
        generation_line: CacheLine,
        ways: Ways,
        rings: LatrRings,
        *,
        mask: CacheLine | None = None,
    ) -> None:
        super().__init__(machine, generation_line, ways, mask=mask)
        self._rings = rings

    def flush_lazily(
        self, cpu: Cpu, pages: range, high: int, frames: Sequence[int | range], *, freed_tables: bool
    ) -> Steps[Record | None]:
        """native_flush_tlb_others in munmap: flush *pages* here and publish them for the others. The last of
        them ends at *high*.

        Value: the record, until whose end *frames* must not be free; None if no other cpu can have them. The
        own TLB is flushed twice: flush_tlb_mm_range has just done it.
        """
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1
        cpu.probe.flush(cpu, len(pages))
        flushed = None if len(pages) > self._ceiling else pages
        cpu.work(self._flush_local(cpu, flushed, self.generation, remote=False), TLB_FLUSH)
        mask = 0
        for other in self._active:
            if other is not cpu:
                mask |= other.bit
        if not mask:
            return None
        record = yield from self._rings.publish(cpu, self, flushed, pages.start, high, frames, mask | cpu.bit)
        if record is None:
            yield from self.flush(cpu, pages, freed_tables=freed_tables)
            return None
        cpu.work(self._cost(cpu, flushed), TLB_FLUSH)
        return record

    def sweep(self, cpu: Cpu, record: Record) -> int:
        """flush_tlb_func on *cpu*, for *record*; value: what that takes. A cpu that has left the space does
        nothing."""
        seen = self._active.get(cpu)
        if seen is None:
            return 0
        if record.pages is None:
            cpu.tlb.flush()
            self._active[cpu] = self.generation
        else:
            cpu.tlb.invalidate(record.pages)
            if seen == record.generation - 1:
                self._active[cpu] = record.generation
        if cpu.heard:
            cpu.probe.tlb_flush(cpu, 0 if record.pages is None else len(record.pages), remote=True)
        return self._cost(cpu, record.pages)

    def _cost(self, cpu: Cpu, pages: Sequence[int] | None) -> int:
        return cpu.tlb.flush_cost if pages is None else len(pages) * cpu.tlb.invalidate_cost

    def leave(self, cpu: Cpu) -> Steps[int]:
        """A cpu sweeps before it loads another space (__schedule)."""
        yield from self._rings.sweep_at_switch(cpu)
        return (yield from super().leave(cpu))

    def drop(self, cpu: Cpu) -> int:
        self._rings.sweep(cpu)
        return super().drop(cpu)

    def may_show(self, page: int, frame: int | None) -> bool:
        """Whether some TLB may still translate *page* to *frame*, which a lazy flush has removed; None stands
        for a page of zeros, which nobody frees."""
        return any(record.may_show(page, frame) for record in self._rings.records_of(self))

    def settle(self) -> None:
        """No thread runs: all that was published is swept. Takes no time."""
        self._rings.settle(self)


class SweepingMm(LazyMm):
    """What a process lends, where a cpu sweeps before it idles and before a thread comes back."""

    __slots__ = ("_rings",)

    def __init__(
        self,
        lines: MmLines,
        layout: Layout,
        nodes: QueueNodes,
        mm_cid: MmCid,
        mask: CacheLine,
        rings: LatrRings,
    ) -> None:
        super().__init__(lines, layout, nodes, mm_cid, mask)
        self._rings = rings

    def borrow(self, cpu: Cpu) -> Steps[None]:
        yield from self._rings.sweep_at_switch(cpu)
        yield from super().borrow(cpu)

    def give_back(self, cpu: Cpu) -> Steps[None]:
        yield from self._rings.sweep_at_switch(cpu)
        yield from super().give_back(cpu)
