"""Clearing many entries of a table that was filled in bulk (`zap`; mm/memory.c zap_pte_range, 6.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PageTablePage, writable_quietly, write_quietly

if TYPE_CHECKING:
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm


def zap_run(
    mm: LinuxMm, cpu: Cpu, table: PageTablePage, slot: int, pages: int, gather: Gather, *, unseen: bool
) -> Steps[int]:
    """Clear up to *pages* entries from *slot* on, as the caller would; their pages are not locked in memory.

    *table* has a run, and *cpu* its lock; *unseen*: they belong to no mapping any more. Value: how many; 0
    where the next one needs a step of its own.
    """
    if cpu.pending:
        yield cpu.take_pending()
    run, each = table.run, cpu.work_time(mm.cost.zap_page)
    pages = min(pages, writable_quietly(cpu, each, unseen=unseen))
    frames = run.frames(slot, slot + pages) if run is not None and pages > 0 else None
    if frames is None:
        return 0
    stop, writing = write_quietly(table, cpu, slot, slot + pages, each, unseen=unseen)
    if stop > slot:
        table.clear_run(slot, stop, cpu)
        cpu.pay(writing, PAGE_TABLE)
        cpu.stall((stop - slot) * each, PAGE_TABLE)
        gather.cleared_run(table.base + slot, frames[: stop - slot])
    return stop - slot
