"""Page faults as transactions (SOSP'25, figure 8; artifact, kernel/src/vm/vmar/mod.rs handle_page_fault).

allocate and zero a frame | lock the leaf's 2 MiB | what is there?
    a mark, anonymous       map the frame
    a mark, of a file       map the file's page, or a copy of it in the frame (`file_fault`)
    a mark, swapped out     read it into the frame, outside of the transaction, and begin again (`swap`)
    a page to be copied     the last owner may write it as it is, else a copy in the frame; flush + acks
    a page that is allowed  somebody else was faster

The handler writes the bits that the hardware would set at once afterwards: a page is accessed, and dirty
after a write. So a page that is populated or copied is so before user code comes to it, as in Linux.
"""

from __future__ import annotations

from typing import NamedTuple

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


class _First(NamedTuple):
    """What has to be done outside of the transaction before it can bring a page in: *mapping*'s page is made,
    or what *swapped* says is read."""

    mapping: FileMapping | None = None
    swapped: Status | None = None


def user_fault(mm: CortenMm, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """Bring *page* in. A file's page that is not there is made outside of the transaction, and one that is
    swapped out is read there; then it begins again.

    Raises `SegmentationFault` for what is not allowed and `OutOfMemory`, with the transaction ended and the
    frame given back.
    """
    mm.tlb.catch_up(cpu)
    cpu.work(mm.cost.fault, PAGE_TABLE)
    if mm.protocol.versioned and (yield from _is_there(mm, cpu, page, write)):
        return
    frames, swap = mm.kernel.frames, mm.kernel.swap
    spare = yield from mm.kernel.new_frame(cpu)
    yield from mm.machine.memory.clear_page(cpu, frames.node(cpu, spare), spare)
    if cpu.heard:
        cpu.probe.frame_filled(cpu, spare, None)
    window = page - page % SLOTS
    read: Status | None = None
    while True:
        try:
            cursor = yield from mm.lock(cpu, window, window + SLOTS)
            used, first = yield from mm.within(cursor, _bring_in(cursor, page, write, spare, read))
            yield from mm.unlock(cursor)
            if first is None:
                break
            if first.mapping is not None:
                yield from first.mapping.vmo.commit(cpu, first.mapping.index(page))
            if first.swapped is not None:
                assert swap is not None
                read = first.swapped
                yield from swap.read(cpu, spare, read)
        except (SegmentationFault, OutOfMemory) as error:
            if isinstance(error, OutOfMemory) and swap is not None and (yield from swap.reclaim(cpu)):
                continue
            frames.free(cpu, spare)
            raise
    if not used:
        frames.free(cpu, spare)


def _is_there(mm: CortenMm, cpu: Cpu, page: int, write: bool) -> Steps[bool]:
    """Whether a look finds that somebody else was faster."""
    try:
        there = yield from mm.protocol.look(cpu, page, page + 1, lambda cursor: cursor.query(page))
    except OutOfMemory:  # of who has looked in vain and wants the lock
        return False
    return isinstance(there, Present) and there.allows(write)


def _bring_in(
    cursor: Cursor, page: int, write: bool, spare: int, read: Status | None
) -> Steps[tuple[bool, _First | None]]:
    """Value: whether the frame *spare* is mapped now, and what has to be done first. It has what the mark
    *read* says, or zeros."""
    entry = yield from cursor.query(page)
    swap = cursor.space.kernel.swap
    if isinstance(entry, Status) and entry.allows(write):
        if entry.kind is Kind.SWAPPED and swap is not None:
            done = yield from swap.bring_in(cursor, page, entry, write, spare, read=read is entry)
            return bool(done), _First(swapped=entry) if done is None else None
        if read is not None:
            yield from _clear_again(cursor, spare)
        if isinstance(entry.backing, FileMapping):
            used, missing = yield from file_fault(cursor, page, entry, write, spare)
            if used and swap is not None:
                swap.maps(cursor.space, page, spare)
            return used, None if missing is None else _First(mapping=missing)
        if entry.kind is not Kind.PRIVATE_ANONYMOUS:
            raise ModelError(f"{cursor.cpu} touched page {page:#x}: a fault brings in no page of {entry}")
        its = Present(spare, entry.rights, accessed=True, dirty=write)
        yield from cursor.map(page, its, was=beside(entry))
        if swap is not None:
            swap.maps(cursor.space, page, spare)
        return True, None
    if isinstance(entry, Present) and entry.allows(write):
        return False, None
    if isinstance(entry, Present) and write and entry.rights & WRITE:
        return (yield from _copy_on_write(cursor, page, entry, spare)), None
    raise SegmentationFault(f"{cursor.cpu} touched page {page:#x}, which holds {entry}")


def _clear_again(cursor: Cursor, spare: int) -> Steps[None]:
    """What was swapped out has been given back while it was read."""
    cpu, space = cursor.cpu, cursor.space
    yield from space.machine.memory.clear_page(cpu, space.kernel.frames.node(cpu, spare), spare)
    if cpu.heard:
        cpu.probe.frame_filled(cpu, spare, None)


def _copy_on_write(cursor: Cursor, page: int, entry: Present, spare: int) -> Steps[bool]:
    """*page* is this process's own from now on. Value: whether it is a copy in *spare*.

    TLBs have the old entry, so they are flushed before the transaction ends, and the old frame lives as long.
    """
    space, cpu = cursor.space, cursor.cpu
    frames, old = space.kernel.frames, entry.frame
    owners = yield from frames.look_at(cpu, old)
    if owners == 1:
        yield from cursor.protect(page)
        entry.copy_on_write, entry.accessed, entry.dirty = False, True, True
    else:
        yield from copy_into(cursor, spare, old)
        yield from cursor.map(page, Present(spare, entry.rights, accessed=True, dirty=True))
    yield from space.tlb.flush(cpu, [page])
    if owners > 1:
        frames.free(cpu, old)
    if space.kernel.swap is not None:
        space.kernel.swap.maps(space, page, spare if owners > 1 else old)
    return owners > 1
