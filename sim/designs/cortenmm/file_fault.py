"""Faults on files and shared memory (artifact, kernel/src/vm/vmar/mod.rs handle_file_backed_pf_under_cursor).

    vma_map   |------------------------ read ------------------------|
               which object? | look the pages up, map those that are there

A read, and any fault on a shared file, maps what is there of the 16 pages around. A write to private memory
copies one page. Neither may wait for a pager: the caller does that outside and begins again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.cortenmm.file_maps import FileMapping
from sim.engine import Steps
from sim.mm import BusError, OutOfMemory, Present, Status

if TYPE_CHECKING:
    from sim.designs.cortenmm.cursor import Cursor


def file_fault(
    cursor: Cursor, page: int, status: Status, write: bool, spare: int
) -> Steps[tuple[bool, FileMapping | None]]:
    """Bring *page* in, of which *status* says what it is; *spare* is a frame of zeros that a copy may have.

    Value: whether it is mapped now, and the mapping whose page has to be made first. Raises `BusError` behind
    the end of the object.
    """
    space, cpu = cursor.space, cursor.cpu
    mapping, lock = status.backing, space.maps.lock
    assert isinstance(mapping, FileMapping)
    yield from lock.read_lock(cpu)
    try:
        if mapping.index(page) >= mapping.vmo.pages:
            return (yield from _behind_the_end(cursor, page, status, spare)), None
        frame = yield from mapping.vmo.find(cpu, mapping.index(page))
        if frame is None and mapping.vmo.pager:
            return False, mapping
        if frame is None:
            frame = yield from mapping.vmo.commit(cpu, mapping.index(page))
            assert frame is not None
        if write and not status.shared:
            yield from copy_into(cursor, spare, frame)
            its = Present(spare, status.rights, accessed=True, dirty=True)
            yield from cursor.map(page, its, was=status)
            return True, None
        yield from _map_around(cursor, page, status, frame, write=write)
        return False, None
    finally:
        yield from lock.read_unlock(cpu)


def _behind_the_end(cursor: Cursor, page: int, status: Status, spare: int) -> Steps[bool]:
    """The artifact maps zeros there, where memory is private. Value: whether it has."""
    if cursor.space.kernel.spec.source == "artifact" and not status.shared:
        yield from cursor.map(page, Present(spare, status.rights), was=status)
        return True
    raise BusError(f"{cursor.cpu} touched page {page:#x}, behind the end of {status.backing.vmo}")


def _map_around(cursor: Cursor, page: int, status: Status, frame: int, *, write: bool) -> Steps[None]:
    """Map *frame* at *page*, and neighbours that are there and may be touched in the same way. A private copy
    that is swapped out is none of them."""
    mapping: FileMapping = status.backing
    size = cursor.space.kernel.spec.limits.fault_around if mapping.around else 1
    first, end = page - page % size, mapping.at + mapping.vmo.pages - mapping.offset
    for each in range(first, min(first + size, end)):
        if each == page:
            yield from _map_cached(cursor, each, status, frame, dirty=write)
            continue
        its = yield from cursor.query(each)
        if isinstance(its, Status) and its.backing is mapping and its.slot is None and its.allows(write):
            there = yield from mapping.vmo.find(cursor.cpu, mapping.index(each))
            if there is not None:
                yield from _map_cached(cursor, each, its, there, dirty=False)


def _map_cached(cursor: Cursor, page: int, status: Status, frame: int, *, dirty: bool) -> Steps[None]:
    """A page of the object; who writes to private memory gets a copy later."""
    frames = cursor.space.kernel.frames
    yield from frames.share(cursor.cpu, frame)
    entry = Present(frame, status.rights, copy_on_write=not status.shared, dirty=dirty)
    try:
        yield from cursor.map(page, entry, was=status)
    except OutOfMemory:
        frames.free(cursor.cpu, frame)
        raise


def copy_into(cursor: Cursor, frame: int, source: int) -> Steps[None]:
    """What is in frame *source* is in *frame*, too."""
    cpu, frames = cursor.cpu, cursor.space.kernel.frames
    node, there = frames.node(cpu, frame), frames.node(cpu, source)
    yield from cursor.space.machine.memory.copy_page(cpu, node, frame, source=there)
    cpu.probe.frame_filled(cpu, frame, source)
