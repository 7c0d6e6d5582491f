"""mmap of private anonymous memory (mm/mmap.c do_mmap and mm/vma.c __mmap_region, 6.13)."""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.fault import populate
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.munmap import unmap_locked
from sim.designs.linux.vma import Area, Vma, may_share
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Mmap, beyond_user_memory

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
        yield from mm.stat.may_expand_vm(cpu, asked.rights)
        yield from _map_region(mm, cpu, start, end, Area(asked.rights))
        yield from mm.stat.vm_stat_account(cpu, asked.rights, pages)
    yield from mm.write_unlock(cpu)
    if asked.populate and not isinstance(start, Errno):
        yield from populate(mm, cpu, start, pages)
    return start


def _place(mm: LinuxMm, cpu: Cpu, asked: Mmap) -> Steps[int | Errno]:
    """Limits, __get_unmapped_area, and what MAP_FIXED replaces. Value: the first page of the new mapping."""
    pages, limits = asked.pages, mm.kernel.spec.limits
    count = yield from mm.stat.read_map_count(cpu)
    if count > limits.max_map_count or pages > mm.kernel.total_pages:  # __vm_enough_memory
        return Errno.ENOMEM
    if asked.at is None:
        found = yield from mm.tree.empty_area_rev(cpu, pages, FIRST_PAGE, HIGHEST_PAGE)
        if found is None:
            return Errno.ENOMEM
        yield from _read_both(cpu, mm.tree.around(found))  # unmapped_area_topdown: stacks keep a gap
        return found
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


def _map_region(mm: LinuxMm, cpu: Cpu, start: int, end: int, area: Area) -> Steps[None]:
    """vma_merge_new_range, or a new VMA."""
    yield from mm.tree.find(cpu, start)
    yield from _read_both(cpu, mm.tree.around(start))
    before, after = mm.tree.neighbours(start, end)
    if before is not None and not before.joins(area, start, None):
        before = None
    if after is not None and not after.is_joined_by(area, end, None):
        after = None
    if before is not None and after is not None and not may_share(before, after):
        after = None
    keep = before or after
    if keep is None:
        vma = mm.new_vma(cpu, start, end, area)
        yield from vma.lock.start_write(cpu)
        yield from vma.lock.mark_attached(cpu)
        yield from mm.tree.insert(cpu, vma)
        yield from mm.stat.add_vmas(cpu, 1)
        return
    cpu.work(mm.cost.vma_merge, VMA_WORK)
    yield from keep.lock.start_write(cpu)
    if before is None or after is None:
        yield from keep.line.store(cpu, VMA_WORK)
        yield from mm.tree.extend(cpu, keep, min(keep.start, start), max(keep.end, end))
        return
    # The gap closes: the upper VMA goes, the lower one covers all.
    yield from after.lock.start_write(cpu)
    before.inherit(after)
    yield from before.line.store(cpu, VMA_WORK)
    yield from mm.tree.extend(cpu, before, before.start, after.end, after)
    yield from mm.detach(cpu, after)
    yield from mm.stat.add_vmas(cpu, -1)
    mm.free_vma(cpu, after)


def _read_both(cpu: Cpu, neighbours: tuple[Vma | None, Vma | None]) -> Steps[None]:
    """Look at the VMAs on both sides of a place, whether they touch it or not."""
    for vma in neighbours:
        if vma is not None:
            yield from vma.line.read(cpu, VMA_WORK)
