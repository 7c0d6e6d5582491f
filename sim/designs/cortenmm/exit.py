"""The end of an address space as a transaction (artifact, kernel/src/vm/vmar/mod.rs clear_root_vmar).

One cursor over all of user memory unlinks the tables of the root's slots, subtree by subtree. Nobody runs in
the space any more, so nothing is flushed lazily, and what lazy flushes of its threads have kept goes as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.cortenmm.va_alloc import START_BRK
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, USER_PAGES, Exit
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm


def exit_(mm: CortenMm, cpu: Cpu, asked: Exit) -> Steps[None]:
    """The process's last thread ends, as far as its memory."""
    mm.enter(cpu)
    cpu.work(mm.cost.exit, SYSCALL)
    yield from mm.put(cpu)


def put_space(mm: CortenMm, cpu: Cpu) -> Steps[None]:
    """`CortenSpace.put`."""
    mm.users -= 1
    if mm.users:
        return
    cursor = yield from mm.lock(cpu, 0, USER_PAGES)
    removed = yield from cursor.unmap()
    yield from mm.unlock(cursor)
    yield from mm.tlb.flush(cpu, range(0), whole=True, freed_tables=True)
    mm.tlb.abandon(cpu)
    mm.maps.clear(cpu)
    yield from mm.maps.leave(cpu)
    mm.free_removed(cpu, removed, cursor.unlinked)
    mm.kernel.footprint.add("page_table", -PAGE_BYTES)  # the root
    if (array := mm.root.array) is not None:
        mm.root.array = None
        mm.kernel.free_array(cpu, array)
    if mm.kernel.swap is not None:
        yield from mm.kernel.swap.leave(cpu, mm)
    mm.va.clear()
    mm.brk = START_BRK
