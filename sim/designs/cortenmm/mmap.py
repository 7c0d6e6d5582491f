"""mmap as a transaction (SOSP'25, figure 8; artifact, kernel/src/vm/vmar)."""

from __future__ import annotations

from sim.designs.cortenmm.fault import user_fault
from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import WRITE, Errno, Mmap, OutOfMemory, SegmentationFault, Status, beyond_user_memory


def mmap(mm: CortenMm, cpu: Cpu, asked: Mmap) -> Steps[int | Errno]:
    """Allocate addresses, then one transaction: check the range, mark it. No page is mapped.

    With MAP_POPULATE each page is faulted in afterwards, in a transaction of its own.
    """
    mm.enter(cpu)
    if asked.pages <= 0:
        return Errno.EINVAL
    if asked.at is None:
        at = yield from mm.va.allocate(cpu, asked.pages)
    elif beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    else:
        at = asked.at
        yield from mm.va.claim(cpu, at, asked.pages)
    cursor = yield from mm.lock(cpu, at, at + asked.pages)
    if not asked.replace:
        clear = yield from cursor.is_clear()
        if not clear:
            yield from mm.unlock(cursor)
            return Errno.EEXIST
    else:
        yield from cursor.query(at)
    replaced = yield from cursor.mark(Status(asked.rights))
    yield from mm.unlock_and_flush(cursor, replaced)
    if asked.populate and asked.rights:
        yield from _populate(mm, cpu, at, asked.pages, write=bool(asked.rights & WRITE))
    return at


def _populate(mm: CortenMm, cpu: Cpu, at: int, pages: int, *, write: bool) -> Steps[None]:
    """Nobody is told of pages that cannot be had: the mapping is there, and whoever touches one will see.

    Other threads may meanwhile have unmapped some, or changed their rights.
    """
    for page in range(at, at + pages):
        try:
            yield from user_fault(mm, cpu, page, write)
        except SegmentationFault:
            continue
        except OutOfMemory:
            return
