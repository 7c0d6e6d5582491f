"""madvise, process_madvise, msync and mincore as transactions.

    dontneed, free   each present page becomes the mark that it was; flush + acks inside the transaction
    populate         a fault for each page, in transactions of their own
    the rest         says nothing that a kernel without swap and huge pages would act on

The artifact (kernel/src/syscall/madvise.rs, msync.rs) does nothing for dontneed, unmaps for free and knows no
populate; the paper has none of them, and its transactions allow all. Memory that is given back must be seen
to be empty by all threads when the call returns, so the flush is not a lazy one.
"""

from __future__ import annotations

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.fault import user_fault
from sim.designs.cortenmm.file_maps import FileMapping
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.munmap import unmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    Advice,
    Errno,
    Madvise,
    Mincore,
    Msync,
    OutOfMemory,
    Present,
    ProcessMadvise,
    SegmentationFault,
    Status,
    beyond_user_memory,
)


def madvise(mm: CortenMm, cpu: Cpu, asked: Madvise) -> Steps[Errno | None]:
    """madvise(2)."""
    mm.enter(cpu)
    if asked.pages < 0:
        return Errno.EINVAL
    if asked.pages == 0:
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    return (yield from _advise(mm, cpu, asked.at, asked.at + asked.pages, asked.advice))


def process_madvise(mm: CortenMm, cpu: Cpu, asked: ProcessMadvise) -> Steps[int | Errno]:
    """process_madvise(2): a transaction for each part, up to the first that is refused."""
    mm.enter(cpu)
    done = 0
    for part in asked.parts:
        refused: Errno | None = None
        if part:
            refused = yield from _advise(mm, cpu, part.start, part.stop, asked.advice)
        if refused is not None:
            return done or refused
        done += len(part)
    return done


def _advise(mm: CortenMm, cpu: Cpu, start: int, end: int, advice: Advice) -> Steps[Errno | None]:
    if advice in ("populate_read", "populate_write"):
        return (yield from _populate(mm, cpu, range(start, end), write=advice == "populate_write"))
    if mm.kernel.spec.source == "artifact":
        return (yield from unmap(mm, cpu, start, end)) if advice == "free" else None
    refused: Errno | None
    try:
        if advice in ("dontneed", "dontneed_locked", "free"):
            cursor = yield from mm.lock_range(cpu, start, end)
            removed, refused = yield from cursor.discard(locked=advice == "dontneed_locked")
            yield from mm.end_discard(cursor, removed)
        else:
            unlocked = advice in ("cold", "pageout")
            refused = yield from mm.protocol.look(cpu, start, end, lambda part: part.lacks(unlocked=unlocked))
    except OutOfMemory:
        return Errno.EAGAIN
    if advice == "pageout" and refused is not Errno.EINVAL and mm.kernel.swap is not None:
        for page in range(start - start % SLOTS, end, SLOTS):
            part = range(max(page, start), min(page + SLOTS, end))
            yield from mm.kernel.swap.page_out(cpu, mm, part)
    return refused


def _populate(mm: CortenMm, cpu: Cpu, pages: range, *, write: bool) -> Steps[Errno | None]:
    for page in pages:
        if mm.status(page) is None:
            return Errno.ENOMEM
        try:
            yield from user_fault(mm, cpu, page, write)
        except SegmentationFault:
            return Errno.EFAULT
        except OutOfMemory:
            return Errno.ENOMEM
    return None


def msync(mm: CortenMm, cpu: Cpu, asked: Msync) -> Steps[Errno | None]:
    """msync(2): all who map a file have its pages, and files are in memory: holes are looked for, and locked
    memory where it may not be."""
    mm.enter(cpu)
    if asked.pages == 0 or mm.kernel.spec.source == "artifact":
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    start, end = asked.at, asked.at + asked.pages
    try:
        refused = yield from mm.protocol.look(
            cpu, start, end, lambda part: part.lacks(unlocked=asked.invalidate)
        )
    except OutOfMemory:
        return Errno.ENOMEM
    return Errno.EBUSY if refused is Errno.EINVAL else refused


def mincore(mm: CortenMm, cpu: Cpu, asked: Mincore) -> Steps[list[bool] | Errno]:
    """mincore(2)."""
    mm.enter(cpu)
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    if asked.pages == 0:
        return []
    try:
        there = yield from mm.protocol.look(cpu, asked.at, asked.at + asked.pages, _pages_there)
    except OutOfMemory:
        return Errno.EAGAIN
    return there if len(there) == asked.pages else Errno.ENOMEM


def _pages_there(cursor: Cursor) -> Steps[list[bool]]:
    """Whether each page of the range is in memory, up to the first that is not mapped."""
    there: list[bool] = []
    for page in range(cursor.start, cursor.end):
        entry = yield from cursor.query(page)
        if entry is None:
            break
        there.append(isinstance(entry, Present) or (yield from _is_cached(cursor, page, entry)))
    return there


def _is_cached(cursor: Cursor, page: int, entry: object) -> Steps[bool]:
    assert isinstance(entry, Status)
    if entry.slot is not None:
        assert cursor.space.kernel.swap is not None
        return (yield from cursor.space.kernel.swap.has(cursor.cpu, entry.slot))
    mapping = entry.backing
    if not isinstance(mapping, FileMapping):
        return False
    found = yield from mapping.vmo.find(cursor.cpu, mapping.index(page))
    return found is not None
