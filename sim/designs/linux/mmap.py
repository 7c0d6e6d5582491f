"""mmap of private anonymous memory (mm/mmap.c do_mmap and mm/vma.c __mmap_region, 6.13)."""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import share_anon_vma
from sim.designs.linux.munmap import unmap_locked
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Mmap, Rights

HIGHEST_PAGE = (1 << 35) - 256
"""First page above the mmap area of a 47-bit address space: the search for gaps goes down from here."""


def mmap(mm: LinuxMm, cpu: Cpu, asked: Mmap) -> Steps[int]:
    """mmap(2) without and with MAP_FIXED. Value: the first page."""
    pages = asked.pages
    cpu.work(mm._syscall, SYSCALL)
    cpu.work(mm.cost.mmap_enter, SYSCALL)
    yield from mm.write_lock(cpu)
    if asked.at is None:
        start = yield from _get_unmapped_area(mm, cpu, pages)
    else:
        start = asked.at
        if mm.tree.overlapping(start, start + pages):
            yield from unmap_locked(mm, cpu, start, pages)  # replaced under the write lock, no downgrade
    end = start + pages
    cpu.work(mm.cost.mmap_region, VMA_WORK)
    yield from _map_region(mm, cpu, start, end, asked.rights)
    yield from mm.counters_line.store(cpu, VMA_WORK)  # map_count, total_vm, data_vm
    mm.stat.vm_stat_account(asked.rights, pages)
    yield from mm.write_unlock(cpu)
    return start


def _get_unmapped_area(mm: LinuxMm, cpu: Cpu, pages: int) -> Steps[int]:
    """vm_unmapped_area, top down: the maple tree finds the highest gap, here the one below the lowest VMA."""
    lowest = mm.tree.lowest()
    end = HIGHEST_PAGE if lowest is None else lowest.start
    yield from mm.tree.find(cpu, end - 1)
    return end - pages


def _map_region(mm: LinuxMm, cpu: Cpu, start: int, end: int, rights: Rights) -> Steps[None]:
    """vma_merge_new_range, or a new VMA. Neighbours with other rights do not merge."""
    yield from mm.tree.find(cpu, start)
    before, after = mm.tree.neighbours(start, end)
    for neighbour in (before, after):
        if neighbour is not None:
            yield from neighbour.line.read(cpu, VMA_WORK)
    before = before if before is not None and before.rights == rights else None
    after = after if after is not None and after.rights == rights else None
    if before is not None and after is not None and not share_anon_vma(before, after):
        after = None
    keep = before or after
    if keep is None:
        vma = mm.new_vma(cpu, start, end, rights)
        yield from vma.lock.start_write(cpu)
        yield from mm.tree.insert(cpu, vma)
        mm.stat.map_count += 1
        return
    cpu.work(mm.cost.vma_merge, VMA_WORK)
    yield from keep.lock.start_write(cpu)
    if before is not None and after is not None:
        # The gap closes: the upper VMA goes, the lower one covers all.
        yield from after.lock.start_write(cpu)
        before.anon_vma = before.anon_vma or after.anon_vma
        yield from mm.detach(cpu, after)
        mm.stat.map_count -= 1
        end = after.end
        cpu.work(mm.cost.vma_free, VMA_WORK)
    yield from keep.line.store(cpu, VMA_WORK)
    absorbed = [after] if keep is before and after is not None else []
    yield from mm.tree.extend(cpu, keep, min(keep.start, start), max(keep.end, end), *absorbed)
