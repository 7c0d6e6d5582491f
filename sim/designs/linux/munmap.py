"""munmap (mm/vma.c do_vmi_align_munmap: gather, clear the tree, complete; 6.13).

mmap_lock  |------------ write -------------|------------- read --------------|
            find, split, gather, clear tree  drain, zap, flush + acks, free    read_unlock
                                            ^ downgrade: faults may run, the next writer may not
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.gather import tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import split
from sim.designs.linux.tables import free_pgtables, hole_around
from sim.designs.linux.vma import Vma
from sim.designs.linux.zap import zap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SYSCALL, Errno, Munmap, OutOfMemory, beyond_user_memory


def munmap(mm: LinuxMm, cpu: Cpu, asked: Munmap) -> Steps[Errno | None]:
    """munmap(2). It is no error that nothing is mapped there."""
    cpu.work(mm._syscall, SYSCALL)
    if asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    yield from mm.write_lock(cpu)
    vmas = yield from _gather(mm, cpu, asked.at, asked.at + asked.pages)
    if isinstance(vmas, Errno) or not vmas:
        yield from mm.write_unlock(cpu)
        return vmas if isinstance(vmas, Errno) else None
    yield from mm.write_downgrade(cpu)
    yield from _complete(mm, cpu, vmas)
    yield from mm.mmap_lock.read_unlock(cpu)
    return None


def unmap_locked(mm: LinuxMm, cpu: Cpu, at: int, pages: int) -> Steps[Errno | None]:
    """The same for MAP_FIXED over existing mappings: all of it under the caller's write lock."""
    vmas = yield from _gather(mm, cpu, at, at + pages)
    if isinstance(vmas, Errno):
        return vmas
    yield from _complete(mm, cpu, vmas)
    return None


def _gather(mm: LinuxMm, cpu: Cpu, start: int, end: int) -> Steps[list[Vma] | Errno]:
    """vms_gather_munmap_vmas and vma_iter_clear_gfp: cut out the range; value is its VMAs, now detached."""
    yield from mm.tree.find(cpu, start)
    cpu.work(mm.cost.munmap_gather, VMA_WORK)
    vmas = mm.tree.overlapping(start, end)
    if vmas and vmas[0].start < start:
        # Only a hole in the middle of a VMA makes one more.
        if end < vmas[0].end and not mm.may_split():
            return Errno.ENOMEM
        try:
            vmas[0] = yield from split(mm, cpu, vmas[0], start)
        except OutOfMemory:
            return Errno.ENOMEM
    if vmas and vmas[-1].end > end:
        try:
            yield from split(mm, cpu, vmas[-1], end)
        except OutOfMemory:
            return Errno.ENOMEM
    for vma in vmas:
        yield from vma.lock.start_write(cpu)
        yield from vma.line.store(cpu, VMA_WORK)
        yield from mm.detach(cpu, vma)
        yield from mm.tree.remove(cpu, vma)
    if vmas:
        yield from mm.counters_line.store(cpu, VMA_WORK)
        mm.stat.map_count -= len(vmas)
    return vmas


def _complete(mm: LinuxMm, cpu: Cpu, vmas: list[Vma]) -> Steps[None]:
    """vms_complete_munmap_vmas: zap, free the tables, flush, free the pages."""
    start, end = vmas[0].start, vmas[-1].end
    if mm.switches.lru_drain_on_zap:
        yield from mm.lru.drain(cpu)
    cpu.work(mm.cost.munmap_complete, VMA_WORK)
    gather = yield from tlb_gather_mmu(mm, cpu)
    for vma in vmas:
        yield from zap(mm, cpu, vma.start, vma.end, gather)
    for vma in vmas:
        yield from mm.unlink_anon_vmas(cpu, vma)
    floor, ceiling = hole_around(mm, start, end)
    yield from free_pgtables(mm, cpu, start, end, floor, ceiling, gather)
    yield from tlb_finish_mmu(mm, cpu, gather)
    yield from mm.counters_line.store(cpu, PAGE_TABLE)  # total_vm, data_vm, exec_vm
    for vma in vmas:
        mm.stat.vm_stat_account(vma.rights, -vma.pages)
        yield from mm.free_vma(cpu, vma)
