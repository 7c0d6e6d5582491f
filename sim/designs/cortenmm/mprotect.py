"""mprotect as a transaction (SOSP'25, section 4; artifact, kernel/src/vm/vmar and ostd/src/mm).

The flush is synchronous, unlike munmap's, and happens inside the transaction: a right that is taken away must
be gone when the call returns. With `mprotect_flush: undispatched` there is none.
"""

from __future__ import annotations

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    PAGES_PER_ENTRY,
    PTES_PER_LINE,
    Errno,
    Mprotect,
    OutOfMemory,
    PageTablePage,
    Present,
    Rights,
    Status,
    beyond_user_memory,
    slot_of,
)


def mprotect(mm: CortenMm, cpu: Cpu, asked: Mprotect) -> Steps[Errno | None]:
    """One transaction: rewrite every entry and every status of the range, then flush what was present.

    Holes are passed over, as in the artifact; Linux refuses at the first. `ENOMEM`, with all as it was, where
    there is no memory for a table.
    """
    mm.enter(cpu)
    if asked.pages == 0:
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    try:
        cursor = yield from mm.lock_range(cpu, asked.at, asked.at + asked.pages)
        yield from mm.within(cursor, cursor.apart(lambda part: _protect_and_flush(part, asked.rights)))
    except OutOfMemory:
        return Errno.ENOMEM
    yield from mm.unlock(cursor)
    return None


def _protect_and_flush(cursor: Cursor, rights: Rights) -> Steps[None]:
    """All of the range. Raises `OutOfMemory`, with all as it was."""
    yield from cursor.cut(empty=False)
    changed: list[int] = []
    yield from protect_entries(cursor, cursor.covering, cursor.start, cursor.end, rights, changed)
    if not changed:
        return
    space = cursor.space
    if space.kernel.spec.mprotect_flush == "synchronous":
        yield from space.tlb.flush(cursor.cpu, changed)
        return
    for page in changed:
        entry = space.root.walk(page)
        assert entry is not None
        space.unflushed.add((page, entry.frame))


def protect_entries(
    cursor: Cursor, table: PageTablePage, start: int, end: int, rights: Rights, changed: list[int]
) -> Steps[None]:
    """Give the entries of [start, end) below *table* other *rights*; present pages go to *changed*. Both ends
    have been `cut`."""
    if table.level == 1:
        yield from _protect_leaf(cursor, table, start, end, rights, changed)
        return
    span = PAGES_PER_ENTRY[table.level]
    page = start
    while page < end:
        slot = slot_of(page, table.level)
        stop = min(end, page - page % span + span)
        entry = table.get(slot)
        if isinstance(entry, PageTablePage):
            yield from protect_entries(cursor, entry, page, stop, rights, changed)
        elif isinstance(entry, Status):
            yield from cursor.store(table, slot, entry)
            cursor.cpu.work(cursor.space.cost.protect, PAGE_TABLE)
            table.set(slot, entry.with_rights(rights))
        page = stop


def _protect_leaf(
    cursor: Cursor, table: PageTablePage, start: int, end: int, rights: Rights, changed: list[int]
) -> Steps[None]:
    """The same in a level-1 table, under its lock; entries side by side on a line fetch it once."""
    page = start
    while page < end:
        slot = slot_of(page, 1)
        stop = min(end, page - slot % PTES_PER_LINE + PTES_PER_LINE)
        there = {each: table.get(slot_of(each, 1)) for each in range(page, stop)}
        written = {each: entry for each, entry in there.items() if entry is not None}
        if written:
            yield from cursor.store_all(table, {slot_of(each, 1): entry for each, entry in written.items()})
            cursor.cpu.work(len(written) * cursor.space.cost.protect, PAGE_TABLE)
        for each, entry in written.items():
            assert not isinstance(entry, PageTablePage)
            table.set(slot_of(each, 1), entry.with_rights(rights))
            if isinstance(entry, Present) and entry.rights != rights:
                changed.append(each)
        page = stop
