"""mmap as a transaction (SOSP'25, figure 8; artifact, kernel/src/vm/vmar/mod.rs VmarMapOptions::build)."""

from __future__ import annotations

from typing import TypeAlias

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.entry_cursor import Taken
from sim.designs.cortenmm.fault import user_fault
from sim.designs.cortenmm.file_maps import FileMapping
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.place import Place, lock_new
from sim.designs.cortenmm.vmo import PAGE_CACHE, Vmo
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    WRITE,
    Errno,
    Kind,
    Mmap,
    MmapFile,
    MmapShared,
    OutOfMemory,
    SegmentationFault,
    Status,
    beyond_user_memory,
)

Asked: TypeAlias = Mmap | MmapShared | MmapFile


def mmap(mm: CortenMm, cpu: Cpu, asked: Asked) -> Steps[int | Errno]:
    """Allocate addresses, then one transaction: check the range, mark it. No page is mapped.

    With MAP_POPULATE each page is faulted in afterwards, in a transaction of its own.
    """
    mm.enter(cpu)
    if asked.pages <= 0 or (isinstance(asked, MmapFile) and asked.offset < 0):
        return Errno.EINVAL
    if asked.at is not None:
        if beyond_user_memory(asked.at, asked.pages):
            return Errno.ENOMEM
        yield from mm.va.claim(cpu, asked.at, asked.pages)
    while True:
        try:
            place = yield from lock_new(mm, cpu, asked.pages, asked.at, apart=True)
            if place is None:
                return Errno.ENOMEM
            status = yield from _map(place, asked)
            break
        except Taken:
            continue
        except OutOfMemory:
            return Errno.ENOMEM
    if isinstance(status, Errno):
        return status
    if asked.populate and asked.rights:
        yield from populate(mm, cpu, place.pages, status)
    return place.pages.start


def _map(place: Place, asked: Asked) -> Steps[Status | Errno]:
    """The rest of the transaction; value: the mark.

    Raises `OutOfMemory`, with all as it was, and `Taken` where the place is no more free.
    """
    cursor, pages = place
    mm = cursor.space
    if asked.at is not None and not asked.replace:
        clear = yield from cursor.is_clear()
        if not clear:
            yield from mm.unlock(cursor)
            return Errno.EEXIST
    elif asked.at is not None:
        yield from cursor.query(asked.at)
    yield from mm.within(cursor, cursor.cut(pages, empty=True))
    status = Status(asked.rights)
    if not isinstance(asked, Mmap):
        status = yield from _map_object(cursor, pages.start, asked)
    try:
        replaced = yield from cursor.mark(status, pages)
    finally:
        if isinstance(status.backing, FileMapping):
            status.backing.vmo.release(cursor.cpu)
    yield from mm.unlock_and_flush(cursor, replaced)
    return status


def _map_object(cursor: Cursor, at: int, asked: MmapShared | MmapFile) -> Steps[Status]:
    """Enter a file, or new shared memory, into vma_map, and hold it. Value: the mark that means it."""
    mm, cpu = cursor.space, cursor.cpu
    if isinstance(asked, MmapFile):
        assert isinstance(asked.file, Vmo)
        kind = Kind.SHARED_FILE if asked.shared else Kind.PRIVATE_FILE
        mapping = FileMapping(asked.file, at, asked.offset, around=True)
    else:
        kind = Kind.SHARED_ANONYMOUS
        vmo = mm.kernel.vmos.create(cpu, "shared memory", asked.pages, pager=False)
        mapping = FileMapping(vmo, at, 0, around=False)
    yield from mm.maps.enter(cpu, mapping.vmo)
    yield from mm.maps.lock.write_lock(cpu)
    cpu.work(mm.cost.vma_map, PAGE_CACHE)
    mapping.vmo.hold()
    yield from mm.maps.lock.write_unlock(cpu)
    return Status(asked.rights, kind, backing=mapping)


def populate(mm: CortenMm, cpu: Cpu, pages: range, status: Status) -> Steps[None]:
    """Nobody is told of pages that cannot be had: the mapping is there, and whoever touches one will see.

    Other threads may meanwhile have unmapped some, or changed their rights.
    """
    write = bool(status.rights & WRITE) and not status.shared
    for page in pages:
        try:
            yield from user_fault(mm, cpu, page, write)
        except SegmentationFault:
            continue
        except OutOfMemory:
            return
