"""Memory that has been written before anything is measured: the end state of a fault on each page, in bulk.

A transaction for each 2 MiB, as a fault has it; the entries of a table that is full of one status then cost
one step. What is no such case is faulted in page by page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.fault import user_fault
from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    Errno,
    Kind,
    OutOfMemory,
    PageTablePage,
    Prepopulate,
    PresentRun,
    SegmentationFault,
    slot_of,
    tell_filled,
)

M = TypeVar("M", bound=CortenMm)

ORDER: Final = SLOTS.bit_length() - 1
"""Of the block of frames for a whole table."""


def prepopulate(mm: CortenMm, cpu: Cpu, asked: Prepopulate) -> Steps[Errno | None]:
    """All pages of the range."""
    return table_by_table(mm, cpu, asked, _fill_table, _fault_in)


def table_by_table(
    mm: M,
    cpu: Cpu,
    asked: Prepopulate,
    fill_table: Callable[[M, Cpu, int], Steps[bool]],
    fault_in: Callable[[M, Cpu, int], Steps[bool]],
) -> Steps[Errno | None]:
    """All pages of the range: 512 at once where *fill_table* can (its value), and else each by *fault_in*,
    whose value is False where nothing is mapped."""
    page, end = asked.at, asked.at + asked.pages
    mm.enter(cpu)
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        try:
            filled = stop - page == SLOTS and (yield from fill_table(mm, cpu, page))
            for each in () if filled else range(page, stop):
                if not (yield from fault_in(mm, cpu, each)):
                    return Errno.ENOMEM
        except SegmentationFault:
            return Errno.EFAULT
        except OutOfMemory:
            return Errno.ENOMEM
        page = stop
    return None


def _fault_in(mm: CortenMm, cpu: Cpu, page: int) -> Steps[bool]:
    """*page* alone, until it may be written: one that others share comes from swap first, and is copied then.
    Raises what a fault raises."""
    if mm.status(page) is None:
        return False
    entry, faulted = mm.root.walk(page), False
    while entry is None or not entry.writable:
        yield from user_fault(mm, cpu, page, write=True)
        entry, faulted = mm.root.walk(page), True
    if faulted:
        entry.accessed = entry.dirty = True
    return True


def _fill_table(mm: CortenMm, cpu: Cpu, page: int) -> Steps[bool]:
    """The 512 pages from *page* on; value: False where their table has been used before, where nothing is
    mapped, and where each change of an entry has to be counted. Raises `OutOfMemory`."""
    if mm.protocol.versioned or not mm.status(page):
        return False
    cursor = yield from mm.lock(cpu, page, page + SLOTS)
    table = yield from mm.within(cursor, _leaf(cursor, page))
    status, frames = table.fill, None
    if (
        table.untouched
        and status is not None
        and status.kind is Kind.PRIVATE_ANONYMOUS
        and not status.locked
        and status.allows(True)
    ):
        frames = mm.kernel.frames.take_run(cpu, ORDER)
        if frames is not None:
            table.fill_with(PresentRun(frames.start, status.rights), cpu)
            tell_filled(cpu, frames)
            if mm.kernel.swap is not None:
                for number, frame in enumerate(frames):
                    mm.kernel.swap.maps(mm, page + number, frame)
    yield from mm.unlock(cursor)
    return frames is not None


def _leaf(cursor: Cursor, page: int) -> Steps[PageTablePage]:
    """The level-1 table of *page*, made if it has to be."""
    table = cursor.covering
    while table.level > 1:
        slot = slot_of(page, table.level)
        child = table.child(slot)
        table = child if child is not None else (yield from cursor.push_down(table, slot, page))
    return table
