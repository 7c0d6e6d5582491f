"""mlock and munlock as transactions. The artifact has no such calls, the paper nothing of them.

    one transaction over the range: each mark says from now on that the memory is locked, or not any more
    mlock: a fault for each page that is not there, in transactions of their own

What is locked is written in the marks, as rights are, and beside the entries of present pages. No entry that
the hardware looks at changes, so nothing is flushed. The caller may lock as much as he likes.
"""

from __future__ import annotations

from dataclasses import replace

from sim.designs.cortenmm.cursor import EndOfWalk
from sim.designs.cortenmm.fault import user_fault
from sim.designs.cortenmm.marks import beside, mark_of
from sim.designs.cortenmm.metadata import Entry
from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    USER_PAGES,
    WRITE,
    Errno,
    Mlock,
    Munlock,
    OutOfMemory,
    Present,
    SegmentationFault,
    Status,
)


class _Hole(EndOfWalk):
    """A walk has met a page that is not mapped."""


def mlock(mm: CortenMm, cpu: Cpu, asked: Mlock) -> Steps[Errno | None]:
    """mlock2(2). Pages that nobody may touch are `ENOMEM`, and a lack of memory for them is `EAGAIN`."""
    refused = yield from _lock(mm, cpu, asked, locked=True, on_fault=asked.on_fault)
    if refused is not None or asked.on_fault:
        return refused
    return (yield from _bring_in(mm, cpu, range(asked.at, asked.at + asked.pages)))


def munlock(mm: CortenMm, cpu: Cpu, asked: Munlock) -> Steps[Errno | None]:
    """munlock(2)."""
    return _lock(mm, cpu, asked, locked=False, on_fault=False)


def _lock(
    mm: CortenMm, cpu: Cpu, asked: Mlock | Munlock, *, locked: bool, on_fault: bool
) -> Steps[Errno | None]:
    """Up to the first hole (`ENOMEM`). Without memory for a table it is `ENOMEM`, too, with all as it was."""
    mm.enter(cpu)
    end = min(asked.at + asked.pages, USER_PAGES)
    if asked.pages <= 0:
        return Errno.EINVAL if asked.pages else None
    if not 0 <= asked.at < end:
        return Errno.ENOMEM

    def change(page: int, entry: Entry, was: Status | None) -> tuple[Entry, Status | None]:
        if entry is None:
            raise _Hole
        if isinstance(entry, Present):
            return entry, beside(replace(mark_of(entry, was), locked=locked, on_fault=on_fault))
        return replace(entry, locked=locked, on_fault=on_fault), was

    hole = end < asked.at + asked.pages
    try:
        cursor = yield from mm.lock(cpu, asked.at, end)
        yield from mm.within(cursor, cursor.cut(empty=False))
    except OutOfMemory:
        return Errno.ENOMEM
    try:
        yield from cursor.rewrite(range(asked.at, end), change, mm.cost.protect)
    except _Hole:
        hole = True
    yield from mm.unlock(cursor)
    return Errno.ENOMEM if hole else None


def _bring_in(mm: CortenMm, cpu: Cpu, pages: range) -> Steps[Errno | None]:
    """As a write where that may be, so that no copy has to be made later."""
    for page in pages:
        mark = mm.mark(page)
        if mark is None:
            return Errno.ENOMEM
        if mark.on_fault:
            continue
        write = bool(mark.rights & WRITE) and not mark.shared
        try:
            while not _may_be_used(mm, cpu, page, write):
                yield from user_fault(mm, cpu, page, write)
        except SegmentationFault:
            return Errno.ENOMEM
        except OutOfMemory:
            return Errno.EAGAIN
    return None


def _may_be_used(mm: CortenMm, cpu: Cpu, page: int, write: bool) -> bool:
    """Whether no fault is needed. A page that others share needs two: it comes from swap, and is copied."""
    cpu.work(mm.cost.query, PAGE_TABLE)
    entry = mm.root.walk(page)
    return entry is not None and entry.allows(write)
