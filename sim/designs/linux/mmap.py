"""mmap of private anonymous memory (mm/mmap.c do_mmap and mm/vma.c __mmap_region, 6.13)."""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.fault import populate
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.munmap import unmap_locked
from sim.designs.linux.vma import Area, may_share
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Mmap, OutOfMemory, beyond_user_memory

HIGHEST_PAGE = (1 << 35) - 256
"""First page above the mmap area of a 47-bit address space: the search for gaps goes down from here."""
FIRST_PAGE = 16
"""The lowest page that may be mapped without asking for it (64 KiB, mmap_min_addr)."""


def mmap(mm: LinuxMm, cpu: Cpu, asked: Mmap) -> Steps[int | Errno]:
    """mmap(2) without and with MAP_FIXED. Value: the first page."""
    pages = asked.pages
    cpu.work(mm._syscall, SYSCALL)
    if pages <= 0:
        return Errno.EINVAL
    cpu.work(mm.cost.mmap_enter, SYSCALL)
    yield from mm.write_lock(cpu)
    start = yield from _place(mm, cpu, asked)
    if not isinstance(start, Errno):
        end = start + pages
        cpu.work(mm.cost.mmap_region, VMA_WORK)
        refused = yield from _map_region(mm, cpu, start, end, Area(asked.rights))
        if refused is None:
            yield from mm.counters_line.store(cpu, VMA_WORK)  # map_count, total_vm, data_vm
            mm.stat.vm_stat_account(asked.rights, pages)
        else:
            start = refused
    yield from mm.write_unlock(cpu)
    if asked.populate and not isinstance(start, Errno):
        yield from populate(mm, cpu, start, pages)
    return start


def _place(mm: LinuxMm, cpu: Cpu, asked: Mmap) -> Steps[int | Errno]:
    """Limits, __get_unmapped_area, and what MAP_FIXED replaces. Value: the first page of the new mapping."""
    pages, limits = asked.pages, mm.kernel.spec.limits
    if mm.stat.map_count > limits.max_map_count or pages > mm.kernel.total_pages:  # __vm_enough_memory
        return Errno.ENOMEM
    if asked.at is None:
        found = yield from mm.tree.empty_area_rev(cpu, pages, FIRST_PAGE, HIGHEST_PAGE)
        return Errno.ENOMEM if found is None else found
    if beyond_user_memory(asked.at, pages):
        return Errno.ENOMEM
    if mm.tree.overlapping(asked.at, asked.at + pages):
        if not asked.replace:
            yield from mm.tree.find(cpu, asked.at)
            return Errno.EEXIST
        # Replaced under the write lock, without a downgrade.
        refused = yield from unmap_locked(mm, cpu, asked.at, pages)
        if refused is not None:
            return refused
    return asked.at


def _map_region(mm: LinuxMm, cpu: Cpu, start: int, end: int, area: Area) -> Steps[Errno | None]:
    """vma_merge_new_range, or a new VMA, which is refused where there is no page left for it."""
    yield from mm.tree.find(cpu, start)
    before, after = mm.tree.neighbours(start, end)
    for neighbour in (before, after):
        if neighbour is not None:
            yield from neighbour.line.read(cpu, VMA_WORK)
    if before is not None and not before.joins(area, start, None):
        before = None
    if after is not None and not after.is_joined_by(area, end, None):
        after = None
    if before is not None and after is not None and not may_share(before, after):
        after = None
    keep = before or after
    if keep is None:
        return (yield from _map_new(mm, cpu, start, end, area))
    cpu.work(mm.cost.vma_merge, VMA_WORK)
    yield from keep.lock.start_write(cpu)
    if before is not None and after is not None:
        # The gap closes: the upper VMA goes, the lower one covers all.
        yield from after.lock.start_write(cpu)
        if before.inherit(after):
            yield from mm.anon_vma_clone(cpu, before)
        yield from mm.detach(cpu, after)
        mm.stat.map_count -= 1
        end = after.end
    yield from keep.line.store(cpu, VMA_WORK)
    absorbed = [after] if keep is before and after is not None else []
    yield from mm.tree.extend(cpu, keep, min(keep.start, start), max(keep.end, end), *absorbed)
    for gone in absorbed:  # vma_complete
        yield from mm.unlink_anon_vmas(cpu, gone)
        yield from mm.free_vma(cpu, gone)
    return None


def _map_new(mm: LinuxMm, cpu: Cpu, start: int, end: int, area: Area) -> Steps[Errno | None]:
    """__mmap_new_vma."""
    try:
        vma = yield from mm.new_vma(cpu, start, end, area)
    except OutOfMemory:
        return Errno.ENOMEM
    yield from vma.lock.start_write(cpu)
    try:
        yield from mm.tree.insert(cpu, vma)
    except OutOfMemory:
        yield from mm.free_vma(cpu, vma)
        return Errno.ENOMEM
    mm.stat.map_count += 1
    return None
