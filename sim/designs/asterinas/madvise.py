"""madvise and msync under the Vmar's lock for reading (syscall/madvise.rs, msync.rs, vmar_impls/unmap.rs).

    dontneed   for each mapping: cursor, unmap, flush + acks; the mapping stays
    free, hugepage, nohugepage   a look whether all is mapped
    the rest   not known (EINVAL)

msync looks for holes; files are in memory here, so there is nothing to write.
"""

from __future__ import annotations

from sim.designs.asterinas.vmar import Vmar
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, Madvise, Msync, beyond_user_memory


def madvise(mm: Vmar, cpu: Cpu, asked: Madvise) -> Steps[Errno | None]:
    """madvise(2)."""
    mm.enter(cpu)
    if asked.advice not in ("dontneed", "free", "hugepage", "nohugepage"):
        return Errno.EINVAL
    if asked.pages == 0:
        return None
    if asked.pages < 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    start, end = asked.at, asked.at + asked.pages
    if asked.advice != "dontneed":
        return (yield from mm.look(cpu, _has_holes(mm, cpu, start, end)))
    return (yield from mm.look(cpu, _discard(mm, cpu, start, end)))


def _discard(mm: Vmar, cpu: Cpu, start: int, end: int) -> Steps[Errno | None]:
    """`discard_pages`."""
    reached = start
    for mapping in (yield from mm.inner.over(cpu, start, end)):
        if reached >= mapping.start:
            reached = mapping.end
        yield from mm.unmap_pages(cpu, max(start, mapping.start), min(end, mapping.end))
    return Errno.ENOMEM if reached < end else None


def msync(mm: Vmar, cpu: Cpu, asked: Msync) -> Steps[Errno | None]:
    """msync(2)."""
    mm.enter(cpu)
    if asked.pages == 0:
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    return (yield from mm.look(cpu, _has_holes(mm, cpu, asked.at, asked.at + asked.pages)))


def _has_holes(mm: Vmar, cpu: Cpu, start: int, end: int) -> Steps[Errno | None]:
    """`is_fully_mapped`."""
    reached = start
    for mapping in (yield from mm.inner.over(cpu, start, end)):
        if reached < mapping.start:
            break
        reached = mapping.end
    return Errno.ENOMEM if reached < end else None
