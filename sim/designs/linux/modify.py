"""Cutting and joining VMAs (mm/vma.c: __split_vma, vma_modify, vma_merge_existing_range, vma_merge_new_range;
6.13).

The callers hold mmap_lock for writing.
"""

from __future__ import annotations

from collections.abc import Sequence

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.anon import prepare_to_copy
from sim.designs.linux.huge_pmd import adjust_trans_huge
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.page_cache import inode_of
from sim.designs.linux.vma import AnonVma, Area, Vma, may_share
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SLOTS, Errno, OutOfMemory


def split(mm: LinuxMm, cpu: Cpu, vma: Vma, at: int) -> Steps[Vma]:
    """__split_vma: *vma* keeps the part below *at*; value is the new VMA above.

    Raises `OutOfMemory`, with *vma* as it was.
    """
    yield from prepare_to_copy(mm, cpu, vma)
    if at % SLOTS:
        yield from mm.take_tables(cpu, at, at + 1)
    yield from vma.memory.whole.read(cpu, VMA_WORK)
    upper = yield from mm.new_vma(cpu, at, vma.end, vma.area, pgoff=vma.pgoff + at - vma.start, like=vma)
    yield from vma.lock.start_write(cpu)
    yield from upper.lock.start_write(cpu)
    try:
        yield from mm.anon_vma_clone(cpu, upper)
        yield from adjust_trans_huge(mm, cpu, at)
        yield from vma.line.store(cpu, VMA_WORK)
        yield from upper.lock.mark_attached(cpu)
        yield from mm.tree.split(cpu, vma, upper)
    except OutOfMemory:
        yield from _free_unlinked(mm, cpu, upper)
        raise
    yield from hold_file(cpu, upper)
    yield from change_file_mappings(mm, cpu, vma, new=[upper])
    yield from mm.stat.add_vmas(cpu, 1)
    return upper


def modify(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, area: Area) -> Steps[Vma | Errno]:
    """vma_modify: make [start, end) of *vma* a part of a neighbour that is *area*, or a VMA of its own.

    Value: the VMA that it is now; what it is, is the caller's to set. `ENOMEM` where that takes one VMA too
    many; what had to be split before stays split.
    """
    before, after = mm.tree.neighbours(vma.start, vma.end)
    for neighbour in (before, after):
        if neighbour is not None:
            yield from neighbour.line.read(cpu, VMA_WORK)
    pgoff = vma.pgoff + start - vma.start
    left = right = None
    if before is not None and start == vma.start and before.joins(area, pgoff, vma.anon_vma):
        left = before
    if after is not None and end == vma.end and after.is_joined_by(area, pgoff + end - start, vma.anon_vma):
        right = after
    if left is not None and right is not None and not may_share(left, right):
        right = None
    if left is not None or right is not None:
        return (yield from _join(mm, cpu, vma, start, end, left, right))
    if vma.start < start:
        may = yield from mm.may_split(cpu)
        if not may:
            return Errno.ENOMEM
        if not vma.may_split(start):
            return Errno.EINVAL
        try:
            vma = yield from split(mm, cpu, vma, start)
        except OutOfMemory:
            return Errno.ENOMEM
    if vma.end > end:
        may = yield from mm.may_split(cpu)
        if not may:
            return Errno.ENOMEM
        if not vma.may_split(end):
            return Errno.EINVAL
        try:
            yield from split(mm, cpu, vma, end)
        except OutOfMemory:
            return Errno.ENOMEM
    return vma


def _join(
    mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, left: Vma | None, right: Vma | None
) -> Steps[Vma]:
    """vma_merge_existing_range: [start, end) of *vma* goes to *left*, to *right*, or joins the two."""
    cpu.work(mm.cost.vma_merge, VMA_WORK)
    keep = left or right
    assert keep is not None
    whole = (start, end) == (vma.start, vma.end)
    gone = [vma] if whole else []
    if left is not None and right is not None:
        gone.append(right)
    for each in dict.fromkeys([keep, vma, *gone]):
        yield from each.lock.start_write(cpu)
    source = right if left is not None and right is not None and right.anon_vma is not None else vma
    if keep.inherit(source):
        yield from mm.anon_vma_clone(cpu, keep)  # dup_anon_vma
    yield from keep.line.store(cpu, VMA_WORK)
    if gone:
        low = min(keep.start, *(each.start for each in gone))
        high = max(keep.end, *(each.end for each in gone))
        yield from mm.tree.extend(cpu, keep, low, high, *gone)
    else:
        yield from vma.line.store(cpu, VMA_WORK)
        yield from adjust_trans_huge(mm, cpu, end if keep is left else start)
        lower, upper, at = (keep, vma, end) if keep is left else (vma, keep, start)
        yield from mm.tree.move_boundary(cpu, lower, upper, at)
    yield from change_file_mappings(mm, cpu, keep, gone=gone)
    for each in gone:
        yield from free_merged(mm, cpu, each)
    return keep


def merge_new_range(
    mm: LinuxMm,
    cpu: Cpu,
    start: int,
    end: int,
    area: Area,
    before: Vma | None,
    after: Vma | None,
    *,
    pgoff: int,
    anon_vma: AnonVma | None = None,
) -> Steps[Vma | None]:
    """vma_merge_new_range: let the VMA that ends at *start*, the one that begins at *end*, or both take in
    what lies between, where nothing is yet. It is *area*, its first page *pgoff*, its pages in *anon_vma*.

    Value: the VMA that covers it now, None where neither can.
    """
    if before is not None and not before.joins(area, pgoff, anon_vma):
        before = None
    if after is not None and not after.is_joined_by(area, pgoff + end - start, anon_vma):
        after = None
    if before is not None and after is not None and not may_share(before, after):
        after = None
    keep = before or after
    if keep is None:
        return None
    cpu.work(mm.cost.vma_merge, VMA_WORK)
    yield from keep.lock.start_write(cpu)
    gone: list[Vma] = []
    if before is not None and after is not None:
        # The gap closes: the upper VMA goes, the lower one covers all.
        yield from after.lock.start_write(cpu)
        if before.inherit(after):
            yield from mm.anon_vma_clone(cpu, before)
        gone, end = [after], after.end
    yield from keep.line.store(cpu, VMA_WORK)
    yield from mm.tree.extend(cpu, keep, min(keep.start, start), max(keep.end, end), *gone)
    yield from change_file_mappings(mm, cpu, keep, gone=gone)
    for each in gone:
        yield from free_merged(mm, cpu, each)
    return keep


def link_new(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """vma_link: *vma*, which is new, enters the tree and the mappings of its file.

    Raises `OutOfMemory`, with *vma* freed.
    """
    yield from vma.lock.start_write(cpu)
    yield from vma.lock.mark_attached(cpu)
    try:
        yield from mm.tree.insert(cpu, vma)
    except OutOfMemory:
        yield from _free_unlinked(mm, cpu, vma)
        raise
    yield from hold_file(cpu, vma)
    yield from mm.stat.add_vmas(cpu, 1)
    yield from change_file_mappings(mm, cpu, vma, new=[vma])


def free_merged(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """vma_complete: *vma* has become a part of another: it goes, and holds nothing any more."""
    yield from mm.detach(cpu, vma)
    if vma.area.file is not None:
        yield from inode_of(vma).count_users(cpu)  # fput
    yield from mm.unlink_anon_vmas(cpu, vma)
    yield from mm.stat.add_vmas(cpu, -1)
    yield from mm.free_vma(cpu, vma)


def _free_unlinked(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """*vma*, which is new, has not got into the tree."""
    if vma.lock.is_attached:
        yield from vma.lock.mark_detached(cpu)
    yield from mm.unlink_anon_vmas(cpu, vma)
    yield from mm.free_vma(cpu, vma)


def read_around(mm: LinuxMm, cpu: Cpu, page: int) -> Steps[None]:
    """Look at the VMAs on both sides of a place, whether they touch it or not."""
    for vma in mm.tree.beside(page):
        if vma is not None:
            yield from vma.line.read(cpu, VMA_WORK)


def hold_file(cpu: Cpu, vma: Vma) -> Steps[None]:
    """get_file for a VMA that is new."""
    if vma.area.file is not None:
        yield from inode_of(vma).count_users(cpu)


def change_file_mappings(
    mm: LinuxMm, cpu: Cpu, vma: Vma, *, new: Sequence[Vma] = (), gone: Sequence[Vma] = ()
) -> Steps[None]:
    """vma_prepare to vma_complete: the interval tree of the file learns what has become of *vma*."""
    if vma.area.file is not None:
        yield from inode_of(vma).change_mappings(mm, cpu, new=new, gone=gone)
