"""mremap, all of it under the Vmar's lock for writing (syscall/mremap.rs, vmar_impls/remap.rs).

    shorter     as munmap of the end
    longer      nothing behind it: the mapping grows in the set
    elsewhere   room as for mmap | the mapping out of the set, its rest in, the moved one in
                | one cursor over both places and what lies between: each page out and in | flush + acks

Two cursors would not be one operation, so this one has the tables between the two places, too, or the root.
Refused is what Linux refuses, in its order; a range without pages, which maps shared memory twice there, is
not known here (EINVAL).
"""

from __future__ import annotations

from sim.designs.asterinas.interval_set import MAPPINGS
from sim.designs.asterinas.mapping import Mapping
from sim.designs.asterinas.vmar import Vmar
from sim.designs.cortenmm.cursor import Cursor
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, Errno, Mremap, Present, beyond_user_memory, slot_of


def mremap(mm: Vmar, cpu: Cpu, asked: Mremap) -> Steps[int | Errno]:
    """mremap(2). Value: the first page of the range afterwards."""
    mm.enter(cpu)
    pages, new_pages, to = asked.pages, asked.new_pages, asked.to
    if new_pages <= 0 or pages <= 0 or (to is not None and not asked.may_move):
        return Errno.EINVAL
    if asked.keep and (not asked.may_move or pages != new_pages):
        return Errno.EINVAL
    return (yield from mm.change(cpu, _remap(mm, cpu, asked)))


def _remap(mm: Vmar, cpu: Cpu, asked: Mremap) -> Steps[int | Errno]:
    at, pages, new_pages, to = asked.at, asked.pages, asked.new_pages, asked.to
    found = yield from mm.inner.find(cpu, at)
    if found is None:
        return Errno.EFAULT
    overlap = to is not None and at + pages > to and to + new_pages > at
    if overlap or beyond_user_memory(at, pages) or (to is not None and beyond_user_memory(to, new_pages)):
        return Errno.EINVAL
    if new_pages < pages:
        yield from mm.truncate(cpu, at + new_pages, at + pages)
        pages = new_pages
    if to is None and pages == new_pages and not asked.keep:
        return at
    if to is not None:
        yield from mm.truncate(cpu, to, to + new_pages)
    mapping = yield from mm.inner.find(cpu, at)
    if mapping is None or at + pages > mapping.end:
        return Errno.EFAULT
    if to is None and not asked.keep:
        behind = yield from mm.inner.over(cpu, at + pages, at + new_pages)
        if not behind and not beyond_user_memory(at, new_pages):
            yield from _enlarge(mm, cpu, mapping, at + new_pages)
            return at
        if not asked.may_move:
            return Errno.ENOMEM
    if to is None:
        to = yield from mm.inner.room(cpu, new_pages, mm.room.start, mm.room.stop)
        if to is None:
            return Errno.ENOMEM
    yield from _move(mm, cpu, mapping, range(at, at + pages), range(to, to + new_pages), keep=asked.keep)
    return to


def _enlarge(mm: Vmar, cpu: Cpu, mapping: Mapping, end: int) -> Steps[None]:
    cpu.work(mm.costs.mapping, MAPPINGS)
    mm.kept.append(mapping)
    yield from mm.take_out(cpu, mapping)
    yield from mm.put_in_joined(cpu, mapping._replace(end=end))
    mm.drop(cpu, mapping)


def _move(mm: Vmar, cpu: Cpu, mapping: Mapping, old: range, new: range, *, keep: bool) -> Steps[None]:
    """Raises `OutOfMemory`, with all as it was: tables that the pages need come first."""
    yield from _make_leaves(mm, cpu, old, new)
    moved = mapping.part(old.start, old.stop).moved(new.start)._replace(end=new.stop)
    mm.hold(mapping)
    if not keep:
        yield from mm.take(cpu, mapping, old.start, old.stop)
        mm.drop(cpu, mapping)
    yield from mm.put_in_joined(cpu, moved)
    mm.drop(cpu, mapping)
    cursor = yield from mm.lock(cpu, min(old.start, new.start), max(old.stop, new.stop))
    present = _present(mm, old)
    for page in present:
        entry = yield from _take_page(cursor, page)
        yield from cursor.map(new.start + page - old.start, entry)
    if present:
        yield from mm.tlb.flush(cpu, present)
    yield from mm.unlock(cursor)


def _make_leaves(mm: Vmar, cpu: Cpu, old: range, new: range) -> Steps[None]:
    """A table for each page that is to come, in a transaction of its own where one is missing. The kernel
    makes them as it goes, and panics where it cannot."""
    pages = [new.start + page - old.start for page in _present(mm, old)]
    if all(mm.root.deepest(page).level == 1 for page in pages):
        return
    cursor = yield from mm.lock(cpu, new.start, new.stop)
    yield from mm.within(cursor, cursor.make_leaves(pages))
    yield from mm.unlock(cursor)


def _present(mm: Vmar, pages: range) -> list[int]:
    """Those that are present."""
    return [page for page in pages if mm.root.walk(page) is not None]


def _take_page(cursor: Cursor, page: int) -> Steps[Present]:
    """The entry of *page*, which is empty then."""
    entry = yield from cursor.query(page)
    assert isinstance(entry, Present)
    table, slot = cursor.covering.deepest(page), slot_of(page, 1)
    yield from cursor.store(table, slot, None)
    cursor.cpu.work(cursor.space.cost.unmap, PAGE_TABLE)
    table.set(slot, None)
    return entry
