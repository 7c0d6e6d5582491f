"""Copying or sharing a whole table that was populated in bulk (`fork`; mm/memory.c copy_pte_range, 6.13).

Both tables are locked, their lines are the cpu's own, and nobody else goes on before the last entry is
written: so one step does what 512 steps would do, in the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.mm import PAGE_TABLE, SLOTS, PageTablePage, PresentRun

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.hardware import Cpu


def copy_run(mm: LinuxMm, child: LinuxMm, cpu: Cpu, source: PageTablePage, target: PageTablePage) -> bool:
    """All 512 pages of *source*; value: whether that was done, else each page needs steps of its own."""
    run, fabric, descriptors = source.run, mm.machine.fabric, mm.kernel.descriptors
    if run is None or not target.untouched or not run.is_whole():
        return False
    frames = range(run.frame, run.frame + SLOTS)
    alone = source.written_alone(0, SLOTS, cpu) == target.written_alone(0, SLOTS, cpu) == SLOTS
    stores = 1 if run.copy_on_write else 2  # ptep_set_wrprotect, and the child's
    used = cpu.work_time(2 * fabric.rmw)  # folio_get, folio_dup_anon_rmap_pte
    each = cpu.work_time(mm.cost.fork_page) + stores * fabric.hit
    if not alone or not _is_quiet(cpu, SLOTS * (each + used)):
        return False
    if not descriptors.write_run(cpu, frames, times=2):
        return False
    cpu.stall(SLOTS * each, PAGE_TABLE)
    mm.pages.in_use.get_run(frames)
    run.share()
    target.fill_with(PresentRun(run.frame, run.rights, copy_on_write=True, accessed=False), cpu)
    return True


def share_run(mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> bool:
    """All 512 pages of *table* get an owner more and are copied on a write from now on, by entries that stay
    in their place (COW PTE v5, copy_cow_pte_range); value: whether that was done."""
    run, fabric = table.run, mm.machine.fabric
    if run is None or not run.is_whole() or table.written_alone(0, SLOTS, cpu) < SLOTS:
        return False
    frames = range(run.frame, run.frame + SLOTS)
    stores = 1 if run.copy_on_write else 2  # ptep_set_wrprotect, set_pte_at
    each = cpu.work_time(mm.cost.fork_page) + stores * fabric.hit
    if not _is_quiet(cpu, SLOTS * (each + cpu.work_time(2 * fabric.rmw))):
        return False
    if not mm.kernel.descriptors.write_run(cpu, frames, times=2):
        return False
    cpu.stall(SLOTS * each, PAGE_TABLE)
    mm.pages.in_use.get_run(frames)
    run.share()
    return True


def copy_run_as_it_is(cpu: Cpu, source: PageTablePage, target: PageTablePage, work: int) -> bool:
    """All 512 entries of *source* stand in *target*, too, each for *work*, and their pages have no owner
    more; value: whether that was done."""
    run = source.run
    if run is None or not target.untouched or not run.is_whole():
        return False
    each = cpu.work_time(work) + source.fabric.hit
    alone = source.written_alone(0, SLOTS, cpu) == target.written_alone(0, SLOTS, cpu) == SLOTS
    if not alone or not _is_quiet(cpu, SLOTS * each):
        return False
    cpu.stall(SLOTS * each, PAGE_TABLE)
    copy = PresentRun(run.frame, run.rights, copy_on_write=run.copy_on_write, accessed=run.accessed)
    target.fill_with(copy, cpu)
    return True


def _is_quiet(cpu: Cpu, time: int) -> bool:
    """Whether nobody else goes on for so long (ps)."""
    engine = cpu.engine
    return engine._now + cpu.pending + time <= engine.quiet_until
