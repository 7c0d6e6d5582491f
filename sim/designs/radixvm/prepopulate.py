"""Memory that has been written before anything is measured: a fault on each page of it."""

from __future__ import annotations

from sim.designs.radixvm.fault import user_fault
from sim.designs.radixvm.vmap import Vmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, OutOfMemory, Prepopulate, SegmentationFault


def prepopulate(mm: Vmap, cpu: Cpu, asked: Prepopulate) -> Steps[Errno | None]:
    """All pages of the range."""
    yield from mm.enter(cpu)
    for page in range(asked.at, asked.at + asked.pages):
        if mm.tree.at(page) is None:
            return Errno.ENOMEM
        entry = mm.table_of(cpu).walk(page)
        if entry is not None and entry.writable:
            continue
        try:
            yield from user_fault(mm, cpu, page, write=True)
        except SegmentationFault:
            return Errno.EFAULT
        except OutOfMemory:
            return Errno.ENOMEM
    return None
