"""Cutting and joining VMAs (mm/vma.c: __split_vma, vma_modify, vma_merge_existing_range; 6.13).

The callers hold mmap_lock for writing.
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.vma import Area, Vma, may_share
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, OutOfMemory


def split(mm: LinuxMm, cpu: Cpu, vma: Vma, at: int) -> Steps[Vma]:
    """__split_vma: *vma* keeps the part below *at*; value is the new VMA above.

    Raises `OutOfMemory`, with *vma* as it was.
    """
    yield from vma.memory.whole.read(cpu, VMA_WORK)
    upper = yield from mm.new_vma(cpu, at, vma.end, vma.area, pgoff=vma.pgoff + at - vma.start, like=vma)
    yield from vma.lock.start_write(cpu)
    upper.lock.start_write_new()
    try:
        yield from mm.anon_vma_clone(cpu, upper)
        yield from vma.line.store(cpu, VMA_WORK)
        yield from mm.tree.split(cpu, vma, upper)
    except OutOfMemory:
        yield from mm.unlink_anon_vmas(cpu, upper)
        yield from mm.free_vma(cpu, upper)
        raise
    mm.stat.map_count += 1
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
        if not mm.may_split():
            return Errno.ENOMEM
        try:
            vma = yield from split(mm, cpu, vma, start)
        except OutOfMemory:
            return Errno.ENOMEM
    if vma.end > end:
        if not mm.may_split():
            return Errno.ENOMEM
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
    if keep.inherit(vma):
        yield from mm.anon_vma_clone(cpu, keep)
    yield from keep.line.store(cpu, VMA_WORK)
    if gone:
        low = min(keep.start, *(each.start for each in gone))
        high = max(keep.end, *(each.end for each in gone))
        yield from mm.tree.extend(cpu, keep, low, high, *gone)
        for each in gone:
            yield from mm.detach(cpu, each)
            mm.stat.map_count -= 1
            yield from mm.unlink_anon_vmas(cpu, each)
            yield from mm.free_vma(cpu, each)
    else:
        yield from vma.line.store(cpu, VMA_WORK)
        lower, upper, at = (keep, vma, end) if keep is left else (vma, keep, start)
        yield from mm.tree.move_boundary(cpu, lower, upper, at)
    return keep
