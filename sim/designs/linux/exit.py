"""The end of an address space (mm/mmap.c exit_mmap, 6.13).

mmap_lock  |------ read -------|---------------- write ----------------|
            drain, zap all      free all tables, flush, free the VMAs

Nobody runs in it any more, so the VMAs are freed at once and there is one flush for everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.committed import accounted_pages
from sim.designs.linux.file_calls import exit_files
from sim.designs.linux.gather import tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.morsel_maps import unlink_all
from sim.designs.linux.munmap import remove_vma, unlink_files
from sim.designs.linux.tables import free_pgtables
from sim.designs.linux.zap import zap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGES_PER_ENTRY, SYSCALL, USER_PAGES, Exit
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm


def exit_(mm: LinuxMm, cpu: Cpu, asked: Exit) -> Steps[None]:
    """do_exit of the last thread, as far as its memory."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(mm.cost.exit, SYSCALL)
    yield from exit_files(mm, cpu)
    yield from mmput(mm, cpu)


def mmput(mm: LinuxMm, cpu: Cpu) -> Steps[None]:
    """One user less. With the last one go the memory (__mmput) and what the kernel has of it (__mmdrop)."""
    yield from mm.lines["pgtables_bytes"].write(cpu, SYSCALL)  # mm_users lies beside it
    mm.users -= 1
    if not mm.users:
        yield from exit_mmap(mm, cpu)
        if mm.kept is not None:
            mm.settle()  # the last flush has been one of everything
            yield from mm.kept.free_all(cpu)
        if mm.recycler is not None:
            mm.recycler.end_flush(mm.recycler.begin_flush())  # the same
        yield from mm.kernel.percpu.free(cpu)
        mm.kernel.footprint.add("page_table", -PAGE_BYTES * len(mm.roots()))


def exit_mmap(mm: LinuxMm, cpu: Cpu) -> Steps[None]:
    """exit_mmap: nothing is mapped any more, and no table is left but the root."""
    vmas = list(mm.tree)
    yield from mm.mmap_lock.read_lock(cpu)
    yield from mm.lru.drain(cpu)
    gather = yield from tlb_gather_mmu(mm, cpu)
    gather.whole = True  # tlb_gather_mmu_fullmm
    if mm.kernel.morsels is not None:
        yield from unlink_all(mm, cpu, vmas)
    for vma in vmas:
        yield from zap(mm, cpu, vma, vma.start, vma.end, gather)
    yield from mm.mmap_lock.read_unlock(cpu)
    yield from mm.write_lock(cpu)
    for vma in vmas:
        yield from mm.unlink_anon_vmas(cpu, vma)
    yield from unlink_files(mm, cpu, vmas)
    ceiling = PAGES_PER_ENTRY[mm.root.level + 1]
    yield from free_pgtables(mm, cpu, 0, USER_PAGES, 0, ceiling, gather)
    yield from tlb_finish_mmu(mm, cpu, gather)
    yield from mm.stat.account_unmapped(cpu, vmas)
    yield from mm.stat.add_vmas(cpu, -len(vmas))
    yield from mm.kernel.committed.add(cpu, -accounted_pages(vmas))
    yield from mm.stat.lock_pages(cpu, -sum(vma.pages for vma in vmas if vma.locked))
    yield from mm.tree.destroy(cpu)
    for vma in vmas:
        yield from vma.lock.start_write(cpu)
        yield from mm.detach(cpu, vma)
        yield from remove_vma(mm, cpu, vma)
    mm.brk = mm.start_brk
    yield from mm.write_unlock(cpu)
