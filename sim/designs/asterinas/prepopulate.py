"""Memory that has been written before anything is measured: the end state of a fault on each page, in bulk.

The entries of an empty table in one mapping of private memory cost one step; the rest is faulted in.
"""

from __future__ import annotations

from typing import Final

from sim.designs.asterinas.fault import user_fault
from sim.designs.asterinas.vmar import Vmar
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    WRITE,
    Errno,
    OutOfMemory,
    Prepopulate,
    PresentRun,
    SegmentationFault,
    tell_filled,
)

_ORDER: Final = SLOTS.bit_length() - 1


def prepopulate(mm: Vmar, cpu: Cpu, asked: Prepopulate) -> Steps[Errno | None]:
    """All pages of the range."""
    page, end = asked.at, asked.at + asked.pages
    mm.enter(cpu)
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        try:
            filled = stop - page == SLOTS and (yield from mm.look(cpu, _fill_table(mm, cpu, page)))
            for each in () if filled else range(page, stop):
                mapping = yield from mm.look(cpu, mm.inner.find(cpu, each))
                if mapping is None:
                    return Errno.ENOMEM
                yield from _fault_in(mm, cpu, each)
        except SegmentationFault:
            return Errno.EFAULT
        except OutOfMemory:
            return Errno.ENOMEM
        page = stop
    return None


def _fault_in(mm: Vmar, cpu: Cpu, page: int) -> Steps[None]:
    """*page* alone. Raises what a fault raises."""
    entry = mm.root.walk(page)
    if entry is not None and entry.writable:
        return
    yield from user_fault(mm, cpu, page, write=True)
    entry = mm.root.walk(page)
    if entry is not None:
        entry.accessed = entry.dirty = True


def _fill_table(mm: Vmar, cpu: Cpu, page: int) -> Steps[bool]:
    """The 512 pages from *page* on; value: False where they are no empty table of one private mapping. Raises
    `OutOfMemory`."""
    mapping = yield from mm.inner.find(cpu, page)
    plain = mapping is not None and mapping.vmo is None and bool(mapping.rights & WRITE)
    if mapping is None or not plain or mapping.end < page + SLOTS:
        return False
    cursor = yield from mm.lock(cpu, page, page + SLOTS)
    table = cursor.covering
    frames = mm.kernel.frames.take_run(cpu, _ORDER) if table.untouched else None
    if frames is not None:
        table.fill_with(PresentRun(frames.start, mapping.rights), cpu)
        tell_filled(cpu, frames)
    yield from mm.unlock(cursor)
    return frames is not None
