"""Page faults as transactions (SOSP'25, figure 8; artifact, kernel/src/vm/vmar)."""

from __future__ import annotations

from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, Kind, Present, SegmentationFault, Status


def user_fault(mm: CortenMm, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """Allocate and zero a frame first, then lock the leaf's 2 MiB window and map it.

    Raises `SegmentationFault` for what is not allowed, with the transaction ended and the frame given back.
    """
    mm.tlb.catch_up(cpu)
    cpu.work(mm.cost.fault, PAGE_TABLE)
    frames = mm.kernel.frames
    frame = yield from frames.allocate(cpu)
    yield from mm.machine.memory.clear_page(cpu, frames.node(cpu, frame), frame)
    cpu.probe.frame_filled(cpu, frame, None)
    window = page - page % SLOTS
    cursor = yield from mm.lock(cpu, window, window + SLOTS)
    entry = yield from cursor.query(page)
    if isinstance(entry, Status) and entry.allows(write):
        if entry.kind is not Kind.PRIVATE_ANONYMOUS:
            raise ModelError(f"{cpu} touched page {page:#x}: a fault brings in no page of {entry}")
        yield from cursor.map(page, Present(frame, entry.rights))
    elif isinstance(entry, Present) and entry.allows(write):
        frames.free(cpu, frame)  # somebody else was faster: a spurious fault
    else:
        frames.free(cpu, frame)
        yield from mm.unlock(cursor)
        raise SegmentationFault(f"{cpu} touched page {page:#x}, which holds {entry}")
    yield from mm.unlock(cursor)
