"""Flushes that reclaim puts off (mm/rmap.c try_to_unmap_flush, arch/x86/mm/tlb.c arch_tlbbatch_flush; 6.13).

    clear an entry of a process that runs elsewhere   count a flush of it, remember the process
    before a page is written, and before any is free  one round of interrupts for all of them
    clear an entry of a process that runs only here   flush that page at once

Between the two a TLB may have what no table has any more. Whoever works on entries of such a process flushes
it first (flush_tlb_batched_pending), so that nobody thinks a page out of reach that is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Present, flush_batch

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.hardware import Machine


class TlbBatch:
    """struct tlbflush_unmap_batch of one reclaim: the processes whose flush is due."""

    __slots__ = ("_machine", "_pending", "_writable")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._pending: dict[LinuxMm, None] = {}
        self._writable = False

    def cleared(self, cpu: Cpu, mm: LinuxMm, page: int, entry: Present) -> Steps[None]:
        """should_defer_flush, set_tlb_ubc_flush_pending: *entry* of *page* is gone; its table is locked."""
        if not mm.tlb.runs_elsewhere(cpu):
            yield from mm.tlb.flush(cpu, range(page, page + 1))  # ptep_clear_flush
            return
        yield from mm.tlb.put_off(cpu)
        self._pending[mm] = None
        mm.flush_pending += 1
        self._writable = self._writable or entry.dirty

    def flush_dirty(self, cpu: Cpu) -> Steps[None]:
        """try_to_unmap_flush_dirty: nobody may write to a page any more that is about to be written out."""
        if self._writable:
            yield from self.flush(cpu)

    def flush(self, cpu: Cpu) -> Steps[None]:
        """try_to_unmap_flush."""
        if not self._pending:
            return
        pending, self._pending, self._writable = list(self._pending), {}, False
        yield from flush_batch(self._machine, cpu, [mm.tlb for mm in pending])


def flush_batched_pending(mm: LinuxMm, cpu: Cpu) -> Steps[None]:
    """flush_tlb_batched_pending, under a page-table lock: flush what a reclaim may have yet to flush."""
    if pending := mm.flush_pending:
        yield from mm.tlb.flush(cpu, range(0), whole=True)
        if mm.flush_pending == pending:
            mm.flush_pending = 0
