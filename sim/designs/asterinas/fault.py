"""Page faults (vmar_impls/page_fault.rs, vm_mapping.rs handle_page_fault).

read lock | the mapping of the page | may it? | cursor over the page (a level-1 table) | what is there?
    nothing, anonymous      a frame, zeroed here, inside the transaction
    nothing, of an object   its page, or a copy of it; a read: the 16 pages about it
    a page not to be written  shared, or nobody else has it: the right to write, else a copy; flush + acks
    a page that is allowed    somebody else was faster
"""

from __future__ import annotations

from typing import Final

from sim.designs.asterinas.interval_set import MAPPINGS
from sim.designs.asterinas.mapping import Mapping
from sim.designs.asterinas.vmar import Vmar
from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.file_fault import copy_into
from sim.engine import Steps
from sim.hardware import TLB_FLUSH, Cpu
from sim.mm import PAGE_TABLE, READ, WRITE, BusError, OutOfMemory, Present, SegmentationFault

AROUND: Final = 16
"""SURROUNDING_PAGE_NUM."""


def user_fault(mm: Vmar, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """Bring *page* in. Raises `SegmentationFault` for what is not allowed and `OutOfMemory`, with the Vmar's
    lock and the transaction given up."""
    cpu.work(mm.cost.fault, PAGE_TABLE)
    yield from mm.look(cpu, _handle(mm, cpu, page, write))


def _handle(mm: Vmar, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    mapping = yield from mm.inner.find(cpu, page)
    cpu.work(mm.costs.permissions, MAPPINGS)
    if mapping is None or not mapping.rights & (WRITE if write else READ):
        raise SegmentationFault(f"{cpu} touched page {page:#x}, which is in {mapping}")
    pages = range(page, page + 1) if write else _around(mapping, page)
    cursor = yield from mm.lock(cpu, pages.start, pages.stop)
    if len(pages) > 1:
        yield from mm.within(cursor, _map_around(cursor, mapping))
    else:
        yield from mm.within(cursor, _bring_in(cursor, mapping, page, write))
    yield from mm.unlock(cursor)


def _around(mapping: Mapping, page: int) -> range:
    """What a fault that reads brings in: *page* alone, but for a file."""
    if mapping.vmo is None or not mapping.around:
        return range(page, page + 1)
    start = max(page - page % AROUND, mapping.start)
    size = min(max(0, mapping.vmo.pages - mapping.offset), mapping.end - mapping.start)
    end = min(start + AROUND, mapping.start + size)
    return range(start, end) if end > page else range(page, page + 1)


def _map_around(cursor: Cursor, mapping: Mapping) -> Steps[None]:
    for each in range(cursor.start, cursor.end):
        entry = yield from cursor.query(each)
        if entry is None:
            frame = yield from _page_of(cursor, mapping, each)
            if frame is not None:
                yield from _map_shared(cursor, mapping, each, frame)


def _bring_in(cursor: Cursor, mapping: Mapping, page: int, write: bool) -> Steps[None]:
    entry = yield from cursor.query(page)
    if not isinstance(entry, Present):
        yield from _map_new(cursor, mapping, page, write)
    elif entry.allows(write):
        cursor.cpu.tlb.invalidate([page])
        cursor.cpu.work(cursor.cpu.tlb.invalidate_cost, TLB_FLUSH)
    else:
        yield from _let_write(cursor, mapping, page, entry)


def _map_new(cursor: Cursor, mapping: Mapping, page: int, write: bool) -> Steps[None]:
    """`prepare_page`, and the entry."""
    behind = mapping.vmo is not None and mapping.page_of(page) >= mapping.vmo.pages
    if behind and mapping.shared:
        raise BusError(f"{cursor.cpu} touched page {page:#x}, behind the end of {mapping.vmo}")
    frame = None if mapping.vmo is None or behind else (yield from _page_of(cursor, mapping, page))
    if frame is None:
        frame = yield from _new_frame(cursor, zeroed=True)
    elif write and not mapping.shared:
        source = frame
        try:
            frame = yield from _new_frame(cursor, zeroed=False)
            yield from copy_into(cursor, frame, source)
        finally:
            _let_go(cursor, source)
    elif write:
        yield from _map_shared(cursor, mapping, page, frame, write=True)
        return
    else:
        yield from _map_shared(cursor, mapping, page, frame)
        return
    yield from cursor.map(page, Present(frame, mapping.rights, accessed=True, dirty=write))


def _page_of(cursor: Cursor, mapping: Mapping, page: int) -> Steps[int | None]:
    """The object's frame, made where it has none; None behind its end.

    The caller is an owner of it (`UFrame`), whether the file is cut off meanwhile or not.
    """
    vmo = mapping.vmo
    assert vmo is not None
    found = yield from vmo.find(cursor.cpu, mapping.page_of(page))
    if found is None:
        found = yield from vmo.commit(cursor.cpu, mapping.page_of(page))
    if found is not None:
        cursor.space.kernel.frames.in_use.get(found)
    return found


def _let_go(cursor: Cursor, frame: int) -> None:
    """An owner less of *frame*, which its object has still, or nobody. The write of its count is left out,
    unless it is the last."""
    frames = cursor.space.kernel.frames
    if frames.in_use.owners(frame) == 1:
        frames.free(cursor.cpu, frame)
    else:
        frames.in_use.put(frame)


def _map_shared(
    cursor: Cursor, mapping: Mapping, page: int, frame: int, *, write: bool = False
) -> Steps[None]:
    """A page that its object has, too. Who has only read it may not write it without a fault.

    The entry takes over the caller's share of it; the write of its count is paid here.
    """
    frames = cursor.space.kernel.frames
    yield from frames.look_at(cursor.cpu, frame)
    entry = Present(frame, mapping.rights, copy_on_write=not write, accessed=True, dirty=write)
    try:
        yield from cursor.map(page, entry)
    except OutOfMemory:  # the pages about it lie in two tables
        frames.free(cursor.cpu, frame)
        raise


def _let_write(cursor: Cursor, mapping: Mapping, page: int, entry: Present) -> Steps[None]:
    """*page* may be written from now on, as it is or as a copy."""
    space, cpu = cursor.space, cursor.cpu
    frames, old = space.kernel.frames, entry.frame
    owners = yield from frames.look_at(cpu, old)
    if mapping.shared or owners == 1:
        yield from cursor.protect(page)
        entry.copy_on_write, entry.accessed, entry.dirty = False, True, True
        yield from space.tlb.flush(cpu, [page])
        return
    copy = yield from _new_frame(cursor, zeroed=False)
    yield from copy_into(cursor, copy, old)
    yield from cursor.map(page, Present(copy, mapping.rights, accessed=True, dirty=True))
    yield from space.tlb.flush(cpu, [page])
    assert isinstance(space, Vmar)
    yield from space.free_later(cpu, [(page, entry)])


def _new_frame(cursor: Cursor, *, zeroed: bool) -> Steps[int]:
    """Allocated inside the transaction. Raises `OutOfMemory`."""
    cpu, space = cursor.cpu, cursor.space
    frames = space.kernel.frames
    frame = yield from frames.allocate(cpu)
    if zeroed:
        yield from space.machine.memory.clear_page(cpu, frames.node(cpu, frame), frame)
        cpu.probe.frame_filled(cpu, frame, None)
    return frame
