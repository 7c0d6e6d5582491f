"""Where something new is mapped, and the transaction over it.

    fixed            the range itself
    paper, artifact  addresses of the allocator, then the range itself
    rfc              1/N of the address space, N being the number of cpus: the first room in it; else another
                     part; else all (Asterinas, RFC-0003, "Address space allocation for mmap/mremap")

The RFC has no allocator. What is mapped it reads in the tables' metadata, which its cursor has locked: one
piece for all that lies side by side and is alike. So what others map in the same part waits, and where the
part does not lie below one slot of the root, whatever needs the root's lock does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.entry_cursor import EntryCursor
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.va_alloc import SearchedTables
from sim.engine import Steps
from sim.hardware import Cpu


class Place(NamedTuple):
    """*pages* for something new, inside what *cursor* has locked."""

    cursor: Cursor
    pages: range


def lock_new(
    mm: CortenMm, cpu: Cpu, pages: int, at: int | None, *, apart: bool = False
) -> Steps[Place | None]:
    """Lock *pages* from page *at* on, or anywhere where nothing is mapped; None where there is no such place.
    *apart*: the protocol may take them entry by entry; then it is `mark` that looks whether nothing is there.

    Raises `OutOfMemory`; nothing is locked then.
    """
    lock = mm.lock_range if apart else mm.lock
    if at is not None:
        cursor = yield from lock(cpu, at, at + pages)
        return Place(cursor, range(at, at + pages))
    if isinstance(mm.va, SearchedTables):
        return (yield from _search(mm, mm.va.slices, cpu, pages))
    while True:
        found = yield from mm.va.allocate(cpu, pages)
        if found is None:
            return None
        cursor = yield from lock(cpu, found, found + pages)
        if isinstance(cursor, EntryCursor):
            cursor.fresh = True
            return Place(cursor, range(found, found + pages))
        there = yield from cursor.query(found)
        if there is None:
            return Place(cursor, range(found, found + pages))
        yield from mm.unlock(cursor)  # what lies below has grown in place meanwhile


def _search(mm: CortenMm, slices: Sequence[range], cpu: Cpu, pages: int) -> Steps[Place | None]:
    for part in (slices[cpu.id], *slices, range(slices[0].start, slices[-1].stop)):
        cursor = yield from mm.lock(cpu, part.start, part.stop)
        found = yield from cursor.find_room(pages)
        if found is not None:
            return Place(cursor, range(found, found + pages))
        yield from mm.unlock(cursor)
    return None
