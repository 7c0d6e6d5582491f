"""Memory that has been written before anything is measured: the end state of a fault on each page, in bulk.

The entries of an empty table in one mapping of private memory cost one step; the rest is faulted in.
"""

from __future__ import annotations

from sim.designs.asterinas.fault import user_fault
from sim.designs.asterinas.vmar import Vmar
from sim.designs.cortenmm.prepopulate import ORDER, table_by_table
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    WRITE,
    Errno,
    Prepopulate,
    PresentRun,
    tell_filled,
)


def prepopulate(mm: Vmar, cpu: Cpu, asked: Prepopulate) -> Steps[Errno | None]:
    """All pages of the range."""
    return table_by_table(mm, cpu, asked, _look_and_fill, _fault_in)


def _fault_in(mm: Vmar, cpu: Cpu, page: int) -> Steps[bool]:
    """*page* alone; value: whether it is mapped. Raises what a fault raises."""
    mapping = yield from mm.look(cpu, mm.inner.find(cpu, page))
    if mapping is None:
        return False
    entry = mm.root.walk(page)
    if entry is None or not entry.writable:
        yield from user_fault(mm, cpu, page, write=True)
        entry = mm.root.walk(page)
        if entry is not None:
            entry.accessed = entry.dirty = True
    return True


def _look_and_fill(mm: Vmar, cpu: Cpu, page: int) -> Steps[bool]:
    return mm.look(cpu, _fill_table(mm, cpu, page))


def _fill_table(mm: Vmar, cpu: Cpu, page: int) -> Steps[bool]:
    """The 512 pages from *page* on; value: False where they are no empty table of one private mapping. Raises
    `OutOfMemory`."""
    mapping = yield from mm.inner.find(cpu, page)
    plain = mapping is not None and mapping.vmo is None and bool(mapping.rights & WRITE)
    if mapping is None or not plain or mapping.end < page + SLOTS:
        return False
    cursor = yield from mm.lock(cpu, page, page + SLOTS)
    table = cursor.covering
    frames = mm.kernel.frames.take_run(cpu, ORDER) if table.untouched else None
    if frames is not None:
        table.fill_with(PresentRun(frames.start, mapping.rights), cpu)
        tell_filled(cpu, frames)
    yield from mm.unlock(cursor)
    return frames is not None
