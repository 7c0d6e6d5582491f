"""Page faults as transactions (SOSP'25, figure 8; artifact, kernel/src/vm/vmar/mod.rs handle_page_fault).

allocate and zero a frame | lock the leaf's 2 MiB | what is there?
    a mark, anonymous       map the frame
    a mark, of a file       map the file's page, or a copy of it in the frame (`file_fault`)
    a page to be copied     the last owner may write it as it is, else a copy in the frame; flush + acks
    a page that is allowed  somebody else was faster
"""

from __future__ import annotations

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.file_fault import copy_into, file_fault
from sim.designs.cortenmm.file_maps import FileMapping
from sim.designs.cortenmm.marks import beside
from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    SLOTS,
    WRITE,
    Kind,
    OutOfMemory,
    Present,
    SegmentationFault,
    Status,
)


def user_fault(mm: CortenMm, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """Bring *page* in. A file's page that is not there is made outside of the transaction, which then begins
    again.

    Raises `SegmentationFault` for what is not allowed and `OutOfMemory`, with the transaction ended and the
    frame given back.
    """
    mm.tlb.catch_up(cpu)
    cpu.work(mm.cost.fault, PAGE_TABLE)
    frames = mm.kernel.frames
    spare = yield from frames.allocate(cpu)
    yield from mm.machine.memory.clear_page(cpu, frames.node(cpu, spare), spare)
    cpu.probe.frame_filled(cpu, spare, None)
    window = page - page % SLOTS
    try:
        while True:
            cursor = yield from mm.lock(cpu, window, window + SLOTS)
            used, missing = yield from mm.within(cursor, _bring_in(cursor, page, write, spare))
            yield from mm.unlock(cursor)
            if missing is None:
                break
            yield from missing.vmo.commit(cpu, missing.index(page))
    except (SegmentationFault, OutOfMemory):
        frames.free(cpu, spare)
        raise
    if not used:
        frames.free(cpu, spare)


def _bring_in(cursor: Cursor, page: int, write: bool, spare: int) -> Steps[tuple[bool, FileMapping | None]]:
    """Value: whether the frame *spare* is mapped now, and the mapping whose page has to be made first."""
    entry = yield from cursor.query(page)
    if isinstance(entry, Status) and entry.allows(write):
        if isinstance(entry.backing, FileMapping):
            return (yield from file_fault(cursor, page, entry, write, spare))
        if entry.kind is not Kind.PRIVATE_ANONYMOUS:
            raise ModelError(f"{cursor.cpu} touched page {page:#x}: a fault brings in no page of {entry}")
        yield from cursor.map(page, Present(spare, entry.rights, dirty=write), was=beside(entry))
        return True, None
    if isinstance(entry, Present) and entry.allows(write):
        return False, None
    if isinstance(entry, Present) and write and entry.rights & WRITE:
        return (yield from _copy_on_write(cursor, page, entry, spare)), None
    raise SegmentationFault(f"{cursor.cpu} touched page {page:#x}, which holds {entry}")


def _copy_on_write(cursor: Cursor, page: int, entry: Present, spare: int) -> Steps[bool]:
    """*page* is this process's own from now on. Value: whether it is a copy in *spare*.

    TLBs have the old entry, so they are flushed before the transaction ends, and the old frame lives as long.
    """
    space, cpu = cursor.space, cursor.cpu
    frames, old = space.kernel.frames, entry.frame
    owners = yield from frames.look_at(cpu, old)
    if owners == 1:
        yield from cursor.protect(page)
        entry.copy_on_write, entry.dirty = False, True
    else:
        yield from copy_into(cursor, spare, old)
        yield from cursor.map(page, Present(spare, entry.rights, dirty=True))
    yield from space.tlb.flush(cpu, [page])
    if owners > 1:
        frames.free(cpu, old)
    return owners > 1
