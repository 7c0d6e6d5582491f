"""Flushing by an instruction that all TLBs hear."""

from __future__ import annotations

from collections.abc import Sequence

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, CacheLine, Cpu, Machine
from sim.mm.flush.ipi import DEFAULT_WAYS, SynchronousFlush, Ways


class BroadcastFlush(SynchronousFlush):
    """INVLPGB (Linux arch/x86/mm/tlb.c broadcast_tlb_flush, 6.15): no IPIs and nothing to do for the others.

    A process begins with IPIs. The first flush that finds it on *start* cpus is its last by IPI: it gets a
    global number there (use_global_asid), under which instructions reach its entries on all cpus, also on
    those that idle or run something else. Linux looks at only one flush in 32 whether it is time.
    """

    __slots__ = ("_global_since", "_medium", "_start")

    def __init__(
        self,
        machine: Machine,
        generation_line: CacheLine,
        ways: Ways = DEFAULT_WAYS,
        *,
        start: int,
        mask: CacheLine | None = None,
    ) -> None:
        super().__init__(machine, generation_line, ways, mask=mask)
        assert machine.broadcast is not None
        self._medium = machine.broadcast
        self._start = start
        self._global_since: int | None = None

    @property
    def valid_from(self) -> int:
        return self.generation if self._global_since is None else self._global_since

    @property
    def by_instruction(self) -> bool:
        return self._global_since is not None

    def flush(
        self, cpu: Cpu, pages: Sequence[int], *, whole: bool = False, freed_tables: bool = False
    ) -> Steps[None]:
        if not self.by_instruction:
            enough = len(self._active) >= self._start
            yield from super().flush(cpu, pages, whole=whole, freed_tables=freed_tables)
            if enough and not self.by_instruction:
                self._global_since = self.generation
            return
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1
        cpu.probe.flush(cpu, 0 if whole else len(pages))
        whole = whole or len(pages) > self._ceiling
        yield from self._medium.invalidate(cpu, 0 if whole else len(pages))
        for other, asid in self._asid_on.items():
            if whole:
                other.tlb.flush(asid)
            else:
                other.tlb.invalidate(pages, asid)
