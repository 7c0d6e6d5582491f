"""mremap (mm/mremap.c, 6.13.7): shrink, grow in place, move.

mmap_lock  |------------------------------- write -------------------------------|
    grow     find, join what is behind                                             write_unlock
    move     find | VMA at the new place | tables: flush each chunk | unmap the old   write_unlock
           |------ write ------|------- read -------|
    shrink   find, as munmap     ^ downgrade          read_unlock

What is locked (mlock) and has grown is faulted in afterwards. Left out: MREMAP_DONTUNMAP (5.7), which is
refused as by a kernel before that, and moving an exmap, which is refused.
"""

from __future__ import annotations

from typing import Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.anon import prepare_to_copy
from sim.designs.linux.fault import populate
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.mmap import unmapped_area
from sim.designs.linux.modify import link_new, merge_new_range, read_around
from sim.designs.linux.move_tables import move_page_tables
from sim.designs.linux.munmap import unmap, unmap_locked
from sim.designs.linux.vma import Vma, VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Mremap, OutOfMemory, beyond_user_memory

SPARE: Final = 3
"""VMAs that a move must have room for: unmapping what it leaves may cut a VMA into three."""


def mremap(mm: LinuxMm, cpu: Cpu, asked: Mremap) -> Steps[int | Errno]:
    """mremap(2). Value: the first page of the range afterwards."""
    at, pages, new_pages = asked.at, asked.pages, asked.new_pages
    mm.machine.entry.syscall(cpu, SYSCALL)
    if new_pages <= 0 or pages < 0 or (asked.to is not None and not asked.may_move) or asked.keep:
        return Errno.EINVAL
    yield from mm.write_lock(cpu)
    cpu.work(mm.cost.mremap, VMA_WORK)
    vma = yield from mm.tree.find(cpu, at)
    value: int | Errno | None
    if vma is None:
        value = Errno.EFAULT
    elif vma.hugetlb or vma.special or vma.of_morsel:
        value = Errno.EINVAL
    elif asked.to is not None:
        value = yield from _mremap_to(mm, cpu, at, pages, asked.to, new_pages)
    elif new_pages > pages:
        value = yield from _expand(mm, cpu, vma, asked)
    elif new_pages == pages:
        value = at
    elif beyond_user_memory(at, pages):
        value = Errno.EINVAL
    else:
        value = yield from unmap(mm, cpu, at + new_pages, pages - new_pages)
        if value is None:
            return at
    locked = not isinstance(value, Errno) and (there := mm.tree.peek(value)) is not None and there.locked
    yield from mm.write_unlock(cpu)
    if locked and not isinstance(value, Errno) and new_pages > pages:
        yield from populate(mm, cpu, value + pages, new_pages - pages)
    return value


def _resize_is_valid(
    mm: LinuxMm, cpu: Cpu, vma: Vma, at: int, pages: int, new_pages: int
) -> Steps[Errno | None]:
    """resize_is_valid: a range lies in one VMA; only shared memory is mapped twice, by one of no length."""
    if pages == 0 and not vma.area.shared:
        return Errno.EINVAL
    if pages > vma.end - at:
        return Errno.EFAULT
    if pages != new_pages:
        yield from mm.stat.may_expand_vm(cpu, vma.area)
    return None


def _expand(mm: LinuxMm, cpu: Cpu, vma: Vma, asked: Mremap) -> Steps[int | Errno]:
    """In place where nothing is behind the VMA, else somewhere else if it may move."""
    at, pages, new_pages = asked.at, asked.pages, asked.new_pages
    yield from vma.line.read(cpu, VMA_WORK)
    refused = yield from _resize_is_valid(mm, cpu, vma, at, pages, new_pages)
    if refused is not None:
        return refused
    end, more = vma.end, new_pages - pages
    if at + pages == end and not beyond_user_memory(end, more) and not mm.tree.overlapping(end, end + more):
        if mm.recycler is not None:
            yield from mm.recycler.map_again(cpu, end, end + more)
        return (yield from _merge_extend(mm, cpu, vma, at, more))
    if not asked.may_move:
        return Errno.ENOMEM
    private = vma.area.file is None
    new = yield from unmapped_area(mm, cpu, new_pages, anonymous=private)
    if isinstance(new, Errno):
        return new
    return (yield from _move_vma(mm, cpu, vma, at, pages, new, new_pages))


def _merge_extend(mm: LinuxMm, cpu: Cpu, vma: Vma, at: int, more: int) -> Steps[int | Errno]:
    """vma_merge_extend: *vma* takes in the pages behind it, and its next neighbour if that fits then."""
    if more > mm.kernel.total_pages:  # __vm_enough_memory
        return Errno.ENOMEM
    if VmFlags.ACCOUNT in vma.area.flags:
        yield from mm.kernel.committed.add(cpu, more)
    end = vma.end
    _, after = mm.tree.neighbours(end, end + more)
    if after is not None:
        yield from after.line.read(cpu, VMA_WORK)
    yield from merge_new_range(
        mm, cpu, end, end + more, vma.area, vma, after, pgoff=vma.pgoff + vma.pages, anon_vma=vma.anon_vma
    )
    yield from mm.stat.vm_stat_account(cpu, vma.area, more)
    if vma.locked:
        yield from mm.stat.lock_pages(cpu, more)
    return at


def _mremap_to(mm: LinuxMm, cpu: Cpu, at: int, pages: int, new: int, new_pages: int) -> Steps[int | Errno]:
    """mremap_to: at *new*, whatever is there (MREMAP_FIXED)."""
    if beyond_user_memory(new, new_pages) or (at + pages > new and new + new_pages > at):
        return Errno.EINVAL
    count = yield from mm.stat.read_map_count(cpu)
    if count + 2 >= mm.kernel.spec.limits.max_map_count - SPARE:
        return Errno.ENOMEM
    refused = yield from unmap_locked(mm, cpu, new, new_pages)
    if refused is None and pages > new_pages:
        refused = yield from unmap_locked(mm, cpu, at + new_pages, pages - new_pages)
        pages = new_pages
    if refused is not None:
        return refused
    vma = yield from mm.tree.find(cpu, at)
    if vma is None:
        return Errno.EFAULT
    refused = yield from _resize_is_valid(mm, cpu, vma, at, pages, new_pages)
    if refused is not None:
        return refused
    if mm.recycler is not None:
        yield from mm.recycler.map_again(cpu, new, new + new_pages)
    return (yield from _move_vma(mm, cpu, vma, at, pages, new, new_pages))


def _move_vma(
    mm: LinuxMm, cpu: Cpu, vma: Vma, old: int, pages: int, new: int, new_pages: int
) -> Steps[int | Errno]:
    """move_vma: a VMA at *new*, the entries moved to it, and the old range unmapped.

    Where there is no memory for tables the entries go back, and what is unmapped is the new range.
    """
    limits = mm.kernel.spec.limits
    count = yield from mm.stat.read_map_count(cpu)
    if count >= limits.max_map_count - SPARE or new_pages - pages > mm.kernel.total_pages:
        return Errno.ENOMEM
    area, locked = vma.area, vma.locked
    accounted = VmFlags.ACCOUNT in area.flags
    if accounted:
        yield from mm.kernel.committed.add(cpu, new_pages - pages)
    yield from vma.lock.start_write(cpu)
    try:
        vma, copy, rmap_locks = yield from _copy_vma(mm, cpu, vma, old, new, new_pages)
    except OutOfMemory:
        if accounted:
            yield from mm.kernel.committed.add(cpu, pages - new_pages)
        return Errno.ENOMEM
    copy.area = copy.area.with_flags(copy.area.flags & ~VmFlags.UFFD_MISSING)  # userfaultfd_reset_ctx
    yield from _keep_out(mm, cpu, [vma])
    moved = yield from move_page_tables(mm, cpu, vma, old, copy, new, pages, rmap_locks=rmap_locks)
    peak = yield from mm.stat.read_hiwater_vm(cpu)
    yield from mm.stat.vm_stat_account(cpu, area, new_pages)
    value: int | Errno = new
    if moved < pages:
        back = yield from move_page_tables(mm, cpu, copy, new, vma, old, moved, rmap_locks=True)
        assert back == moved
        if accounted:
            yield from mm.kernel.committed.add(cpu, pages - new_pages)
        old, pages, value = new, new_pages, Errno.ENOMEM
    if pages:
        refused = yield from unmap_locked(mm, cpu, old, pages, unaccount=False)
        if refused is not None and accounted:  # without memory to cut a VMA the old range stays mapped
            yield from mm.kernel.committed.add(cpu, pages)
    vma.moving = copy.moving = False
    yield from mm.stat.set_hiwater_vm(cpu, peak)  # both ranges were counted for a moment
    if locked:
        yield from mm.stat.lock_pages(cpu, new_pages)
    return value


def _keep_out(mm: LinuxMm, cpu: Cpu, vmas: list[Vma]) -> Steps[None]:
    """Where faults hold nothing, none may set an entry while those of these *vmas* move: it waits for
    mmap_lock. (Elsewhere the VMAs are locked.)"""
    if mm.vma_locks.rechecks:
        for vma in vmas:
            yield from vma.line.store(cpu, VMA_WORK)
            vma.moving = True


def _copy_vma(
    mm: LinuxMm, cpu: Cpu, vma: Vma, old: int, new: int, new_pages: int
) -> Steps[tuple[Vma, Vma, bool]]:
    """copy_vma (mm/vma.c). Value: the VMA that has the old range now, the one that has the new range, and
    whether the reverse map may see entries in the wrong order, so that they move under its lock. Raises
    `OutOfMemory`."""
    yield from prepare_to_copy(mm, cpu, vma)
    end = new + new_pages
    pgoff = vma.pgoff + old - vma.start
    if vma.area.file is None and vma.anon_vma is None:
        pgoff = new  # no page lies there yet: as if it were mapped there, which merges more often
    yield from mm.tree.find(cpu, new)
    yield from read_around(mm, cpu, new)
    before, after = mm.tree.neighbours(new, end)
    beside = [each for each in (before, after) if each is not None]
    yield from _keep_out(mm, cpu, beside)  # one of them may have the new range in a moment
    merged = yield from merge_new_range(
        mm, cpu, new, end, vma.area, before, after, pgoff=pgoff, anon_vma=vma.anon_vma
    )
    for each in beside:
        each.moving = False
    if merged is not None:
        merged.moving = mm.vma_locks.rechecks
        if merged.start <= vma.start < merged.end:
            vma = merged
        return vma, merged, merged.pgoff <= vma.pgoff
    copy = yield from mm.new_vma(cpu, new, end, vma.area, pgoff=pgoff, like=vma)
    try:
        yield from mm.anon_vma_clone(cpu, copy)
    except OutOfMemory:
        yield from mm.free_vma(cpu, copy)
        raise
    copy.moving = mm.vma_locks.rechecks
    yield from link_new(mm, cpu, copy)
    return vma, copy, False
