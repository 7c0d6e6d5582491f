"""munmap (mm/vma.c do_vmi_align_munmap: gather, clear the tree, complete; 6.13).

Until 4.19 there was no downgrade (`munmap_downgrade`): faults waited for the zap and the flush as well.

mmap_lock  |------------ write -------------|------------- read --------------|
            find, split, gather, clear tree  drain, zap, flush + acks, free    read_unlock
                                            ^ downgrade: faults may run, the next writer may not
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.committed import accounted_pages
from sim.designs.linux.gather import tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.latr.gather import tlb_gather_lazily
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import split
from sim.designs.linux.morsel_maps import unlink_range
from sim.designs.linux.page_cache import inode_of
from sim.designs.linux.recycling.gather import tlb_gather_recycling
from sim.designs.linux.tables import free_pgtables, hole_around
from sim.designs.linux.truncate import let_go
from sim.designs.linux.vma import Vma
from sim.designs.linux.zap import zap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Munmap, OutOfMemory, beyond_user_memory


def munmap(mm: LinuxMm, cpu: Cpu, asked: Munmap) -> Steps[Errno | None]:
    """munmap(2). It is no error that nothing is mapped there."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    if asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    yield from mm.write_lock_range(cpu, asked.at, asked.at + asked.pages)
    refused = yield from unmap(mm, cpu, asked.at, asked.pages, lazily=True)
    if refused is not None:
        yield from mm.write_unlock(cpu)
    return refused


def unmap(mm: LinuxMm, cpu: Cpu, at: int, pages: int, *, lazily: bool = False) -> Steps[Errno | None]:
    """do_vmi_munmap with `unlock`: lets the caller's write lock go, unless it refuses.

    With LATR munmap(2) does it *lazily*, not who unmaps for another purpose.
    """
    vmas = yield from _gather(mm, cpu, at, at + pages)
    if isinstance(vmas, Errno):
        return vmas
    if not vmas:
        yield from mm.write_unlock(cpu)
        return None
    if mm.switches.munmap_downgrade:
        yield from mm.write_downgrade(cpu)
    yield from _complete(mm, cpu, vmas, lazily=lazily)
    if mm.switches.munmap_downgrade:
        yield from mm.locks.unlock_read(cpu)
    else:
        yield from mm.write_unlock(cpu)
    return None


def unmap_locked(
    mm: LinuxMm, cpu: Cpu, at: int, pages: int, *, unaccount: bool = True
) -> Steps[Errno | None]:
    """do_vmi_munmap without: all of it under the caller's write lock, which he keeps.

    Without *unaccount* it stays in vm_committed_as: it is mapped somewhere else.
    """
    vmas = yield from _gather(mm, cpu, at, at + pages)
    if isinstance(vmas, Errno):
        return vmas
    if vmas:
        yield from _complete(mm, cpu, vmas, unaccount=unaccount)
    return None


def _gather(mm: LinuxMm, cpu: Cpu, start: int, end: int) -> Steps[list[Vma] | Errno]:
    """vms_gather_munmap_vmas and vma_iter_clear_gfp: cut out the range; value is its VMAs, now detached."""
    yield from mm.tree.find(cpu, start)
    cpu.work(mm.cost.munmap_gather, VMA_WORK)
    vmas = mm.tree.overlapping(start, end)
    if not vmas:
        return []
    try:
        if vmas[0].start < start:
            if end < vmas[0].end:  # only a hole in the middle of a VMA makes one more
                may = yield from mm.may_split(cpu)
                if not may:
                    return Errno.ENOMEM
            if not vmas[0].may_split(start):
                return Errno.EINVAL
            vmas[0] = yield from split(mm, cpu, vmas[0], start)
        before, _ = mm.tree.beside(vmas[0].start)
        if before is not None:
            yield from before.line.read(cpu, VMA_WORK)  # where free_pgtables may begin
        if vmas[-1].end > end:
            if not vmas[-1].may_split(end):
                return Errno.EINVAL
            yield from split(mm, cpu, vmas[-1], end)
        for vma in vmas:
            yield from mm.take_edges(cpu, vma.start, vma.end)
    except OutOfMemory:
        return Errno.ENOMEM
    for vma in vmas:
        yield from vma.lock.start_write(cpu)
        yield from vma.line.store(cpu, VMA_WORK)
        yield from mm.detach(cpu, vma)
        yield from mm.tree.remove(cpu, vma)
    _, above = mm.tree.beside(vmas[-1].end)
    if above is not None:
        yield from above.line.read(cpu, VMA_WORK)  # and where it must end
    yield from mm.stat.add_vmas(cpu, -len(vmas))
    yield from mm.stat.lock_pages(cpu, -sum(vma.pages for vma in vmas if vma.locked))
    return vmas


def _complete(
    mm: LinuxMm, cpu: Cpu, vmas: list[Vma], *, unaccount: bool = True, lazily: bool = False
) -> Steps[None]:
    """vms_complete_munmap_vmas: zap, free the tables, flush, free the pages."""
    start, end = vmas[0].start, vmas[-1].end
    if mm.switches.lru_drain_on_zap:
        yield from mm.lru.drain(cpu)
    cpu.work(mm.cost.munmap_complete, VMA_WORK)
    recycler = mm.recycler if lazily else None
    if recycler is not None:
        gather = yield from tlb_gather_recycling(mm, cpu, recycler)
    else:
        gather = yield from tlb_gather_lazily(mm, cpu) if lazily else tlb_gather_mmu(mm, cpu)
    if mm.kernel.morsels is not None:
        yield from unlink_range(mm, cpu, vmas)
    yield from mm.stat.update_hiwater_rss(cpu)
    for vma in vmas:
        yield from zap(mm, cpu, vma, vma.start, vma.end, gather)
    for vma in vmas:
        yield from mm.unlink_anon_vmas(cpu, vma)
    yield from unlink_files(mm, cpu, vmas)
    floor, ceiling = hole_around(mm, start, end)
    if recycler is None:
        yield from free_pgtables(mm, cpu, start, end, floor, ceiling, gather)
        yield from tlb_finish_mmu(mm, cpu, gather)
    elif not recycler.is_full:
        yield from tlb_finish_mmu(mm, cpu, gather)
    else:
        last = recycler.begin_flush()
        gather.whole = True
        yield from free_pgtables(mm, cpu, start, end, floor, ceiling, gather)
        for part in [*recycler.holes()]:
            yield from free_pgtables(mm, cpu, part[0], part[1], part[2], part[3], gather)
        yield from tlb_finish_mmu(mm, cpu, gather)
        recycler.end_flush(last)
    yield from mm.stat.account_unmapped(cpu, vmas)
    for vma in vmas:
        if mm.kept is not None and lazily and vma.area.file is None and vma.reservation is None:
            yield from mm.kept.keep_vma(cpu, vma)
        else:
            yield from remove_vma(mm, cpu, vma)
    if unaccount and (pages := accounted_pages(vmas)):
        yield from mm.kernel.committed.add(cpu, -pages)


def unlink_files(mm: LinuxMm, cpu: Cpu, vmas: list[Vma]) -> Steps[None]:
    """unlink_file_vma_batch_process: some VMAs of one file, side by side, at a time."""
    most = mm.kernel.spec.limits.unlink_batch
    batch: list[Vma] = []
    for vma in [*vmas, None]:
        file = vma.area.file if vma is not None else None
        if batch and (file is not batch[0].area.file or len(batch) == most):
            yield from inode_of(batch[0]).change_mappings(mm, cpu, gone=batch)
            batch = []
        if vma is not None and file is not None:
            batch.append(vma)


def remove_vma(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """Put its file, give up what it has reserved, and free it."""
    if vma.reservation is not None:
        yield from mm.kernel.hugetlb.close(cpu, vma)
    if vma.special and mm.exmap is not None and not any(each.special for each in mm.tree):
        yield from mm.exmap.close(mm, cpu)
    if vma.area.file is not None:
        inode = inode_of(vma)
        yield from inode.count_users(cpu)  # fput
        yield from let_go(mm.kernel, cpu, inode)
    yield from mm.free_vma(cpu, vma)
