"""mremap as transactions. The artifact has a stub (kernel/src/syscall/mremap.rs: ENOSYS; `resize_mapping` and
`remap` of kernel/src/vm/vmar/mod.rs are `todo!()`), the paper nothing of it.

    shrink   one transaction: unmap the end
    grow     one over the range as it is to be: look, and mark what is behind it if that is clear
    move     old range: look, take the pages out, flush + acks | new range: mark, put them in | old: unmap

Two ranges are never locked at a time: a cursor over both would lock all tables between them, and two cursors
may need the same table. So a mark that allows nothing keeps the old range while its pages are on their way.
It holds the tables, too: where there is no memory for those of the new range, the pages go back.

Without VMAs a mapping is what is alike: the same rights, the same lock, and of a file one page after the
other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sim.designs.cortenmm.cursor import Cursor
from sim.designs.cortenmm.file_maps import FileMapping
from sim.designs.cortenmm.marks import Moving, beside, mark_of
from sim.designs.cortenmm.metadata import Entry
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.mmap import populate
from sim.designs.cortenmm.munmap import unmap
from sim.designs.cortenmm.place import Place, lock_new
from sim.designs.cortenmm.vmo import PAGE_CACHE
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import NOTHING, Errno, Mremap, OutOfMemory, Piece, Present, Status, beyond_user_memory


class _Taken(NamedTuple):
    """What has been taken out of a range: the first page, its mark, and what was at which place behind it."""

    start: int
    mark: Status
    pages: dict[int, Present | Status]


def mremap(mm: CortenMm, cpu: Cpu, asked: Mremap) -> Steps[int | Errno]:
    """mremap(2). Value: the first page of the range afterwards."""
    mm.enter(cpu)
    at, pages, new_pages, to = asked.at, asked.pages, asked.new_pages, asked.to
    if new_pages <= 0 or pages < 0 or (to is not None and not asked.may_move):
        return Errno.EINVAL
    if asked.keep and (not asked.may_move or pages != new_pages):
        return Errno.EINVAL
    overlap = to is not None and at + pages > to and to + new_pages > at
    if overlap or beyond_user_memory(at, max(pages, 1)) or (to and beyond_user_memory(to, new_pages)):
        return Errno.EFAULT if at < 0 or mm.status(at) is None else Errno.EINVAL
    try:
        if to is not None:
            return (yield from _move_to(mm, cpu, asked, to))
        if new_pages <= pages and not asked.keep:
            return (yield from _shrink(mm, cpu, asked))
        grown = None if asked.keep else (yield from _grow(mm, cpu, asked))
        if grown is not None:
            return grown
        return (yield from _move_anywhere(mm, cpu, asked)) if asked.may_move else Errno.ENOMEM
    except OutOfMemory:
        return Errno.ENOMEM


def _shrink(mm: CortenMm, cpu: Cpu, asked: Mremap) -> Steps[int | Errno]:
    """Unmap the end. Raises `OutOfMemory`, with all as it was."""
    cursor = yield from mm.lock(cpu, asked.at, asked.at + asked.pages)
    first = yield from cursor.query(asked.at)
    if first is None or asked.new_pages == asked.pages:
        yield from mm.unlock(cursor)
        return Errno.EFAULT if first is None else asked.at
    tail = range(asked.at + asked.new_pages, asked.at + asked.pages)
    removed = yield from mm.within(cursor, cursor.unmap(tail))
    yield from mm.unlock_and_flush(cursor, removed)
    return asked.at


def _grow(mm: CortenMm, cpu: Cpu, asked: Mremap) -> Steps[int | Errno | None]:
    """In place. Value: None where something is behind the range. Raises `OutOfMemory`, with all as it was."""
    start, more = asked.at, range(asked.at + asked.pages, asked.at + asked.new_pages)
    room = bool(asked.pages) and not beyond_user_memory(start, asked.new_pages)
    if room:
        yield from mm.va.claim(cpu, more.start, len(more))
    cursor = yield from mm.lock(cpu, start, more.stop if room else start + max(asked.pages, 1))
    mark = yield from _look(cursor, start, asked.pages)
    clear, replaced = False, list[Piece]()
    if isinstance(mark, Status) and room:
        clear = yield from cursor.is_clear(more)
        if clear:
            replaced = yield from mm.within(cursor, cursor.mark(mark, more))
            yield from _write_down(cursor, mark)
    yield from mm.unlock_and_flush(cursor, replaced)
    if not isinstance(mark, Status):
        return mark or Errno.EFAULT
    if not clear:
        return None
    yield from _bring_in(mm, cpu, mark, more)
    return start


def _write_down(cursor: Cursor, mark: Status) -> Steps[None]:
    """vma_map says what is mapped of a file, if *mark* is of one."""
    mm, cpu = cursor.space, cursor.cpu
    if isinstance(mark.backing, FileMapping):
        yield from mm.maps.lock.write_lock(cpu)
        cpu.work(mm.cost.vma_map, PAGE_CACHE)
        yield from mm.maps.lock.write_unlock(cpu)


class _Looking:
    """What is found in a range: *mark* of its first page, and whether all that follows is *alike*."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.mark: Status | None = None
        self.alike = True

    def __call__(self, page: int, entry: Entry, was: Status | None) -> tuple[Entry, Status | None]:
        its = None if entry is None else mark_of(entry, was)
        if page == self.at:
            self.mark = its
        elif self.mark is None or its is None or not _is_same(self.mark, self.at, its, page):
            self.alike = False
        return entry, was


def _look(cursor: Cursor, at: int, pages: int) -> Steps[Status | Errno | None]:
    """Value: the mark of page *at*, if all of the range is one mapping; None if nothing is mapped at *at*.
    Only shared memory is mapped twice, by a range of no pages."""
    looking = _Looking(at)
    yield from cursor.rewrite(range(at, at + max(pages, 1)), looking, 0)
    mark = looking.mark
    if mark is None or isinstance(mark.backing, Moving):
        return None
    if not pages and not mark.shared:
        return Errno.EINVAL
    return mark if looking.alike else Errno.EFAULT


def _is_same(one: Status, at: int, other: Status, page: int) -> bool:
    """Whether page *at* with mark *one* and *page* with *other* are parts of one mapping."""
    mine, its = one.backing, other.backing
    if isinstance(mine, FileMapping) and isinstance(its, FileMapping):
        if mine.vmo is not its.vmo or mine.index(at) - at != its.index(page) - page:
            return False
        other = replace(other, backing=mine)
    return one == other


def _move_to(mm: CortenMm, cpu: Cpu, asked: Mremap, to: int) -> Steps[int | Errno]:
    """MREMAP_FIXED: whatever is there goes, and so does what the range is to lose, even if the call is
    refused for what the range is."""
    at, pages, new_pages = asked.at, asked.pages, asked.new_pages
    yield from mm.va.claim(cpu, to, new_pages)
    if to == at and mm.status(at) is not None:  # no pages, onto themselves
        return (yield from unmap(mm, cpu, to, to + new_pages)) or Errno.EFAULT
    try:
        value = yield from _move(mm, cpu, asked, min(pages, new_pages), to)
    except OutOfMemory:
        value = Errno.ENOMEM
    if value is None:
        return Errno.EFAULT
    refused: Errno | None = None
    if isinstance(value, Errno):
        refused = yield from unmap(mm, cpu, to, to + new_pages)
    if pages > new_pages:
        refused = (yield from unmap(mm, cpu, at + new_pages, at + pages)) or refused
    return refused or value


def _move_anywhere(mm: CortenMm, cpu: Cpu, asked: Mremap) -> Steps[int | Errno]:
    """Raises `OutOfMemory`, with the pages where they were."""
    return (yield from _move(mm, cpu, asked, asked.pages, None)) or Errno.EFAULT


def _move(mm: CortenMm, cpu: Cpu, asked: Mremap, pages: int, to: int | None) -> Steps[int | Errno | None]:
    """*pages* of the range go to *to*, or anywhere, and are as many as they are to be there. Value: None if
    nothing is mapped at the first of them. Raises `OutOfMemory`, with the pages where they were."""
    old, keeper = range(asked.at, asked.at + pages), Status(NOTHING, backing=Moving())
    taken = yield from _take(mm, cpu, old, keeper)
    if not isinstance(taken, _Taken):
        return taken
    value = yield from _move_taken(mm, cpu, asked, old, keeper, taken, to)
    if isinstance(taken.mark.backing, FileMapping):
        taken.mark.backing.vmo.release(cpu)
    return value


def _move_taken(
    mm: CortenMm, cpu: Cpu, asked: Mremap, old: range, keeper: Status, taken: _Taken, to: int | None
) -> Steps[int | Errno]:
    """What was *taken* goes on its way, while *keeper* keeps its place."""
    put: tuple[int, Status] | None = None
    try:
        place = yield from lock_new(mm, cpu, asked.new_pages, to)
        if place is not None:
            put = place.pages.start, (yield from _put(place, taken, old))
    except OutOfMemory:
        put = None
    if put is None:
        if old:
            yield from _fill(mm, cpu, old, keeper, taken)
        return Errno.ENOMEM
    new, mark = put
    if asked.keep:
        left = replace(taken.mark, locked=False, on_fault=False)
        yield from _fill(mm, cpu, old, keeper, _Taken(old.start, left, {}))
    elif old:
        yield from unmap(mm, cpu, old.start, old.stop)
    yield from _bring_in(mm, cpu, mark, range(new + len(old), new + asked.new_pages))
    return new


def _take(mm: CortenMm, cpu: Cpu, old: range, keeper: Status) -> Steps[_Taken | Errno | None]:
    """*keeper* keeps the place of all that was there, and no TLB has it any more; what it is of is held.
    Value: None if nothing is mapped there. Raises `OutOfMemory`, with all as it was."""
    cursor = yield from mm.lock(cpu, old.start, old.start + max(len(old), 1))
    if old:
        yield from mm.within(cursor, cursor.cut(empty=False))
    mark = yield from _look(cursor, old.start, len(old))
    if isinstance(mark, Status) and isinstance(mark.backing, FileMapping):
        mark.backing.vmo.hold()
    if not isinstance(mark, Status) or not old:
        yield from mm.unlock(cursor)
        return _Taken(old.start, mark, {}) if isinstance(mark, Status) else mark
    found: dict[int, Present | Status] = {}

    def take(page: int, entry: Entry, was: Status | None) -> tuple[Entry, Status | None]:
        if isinstance(entry, Present) or (entry is not None and entry.slot is not None):
            found[page - old.start] = entry
        return keeper, None

    yield from cursor.rewrite(old, take, mm.cost.unmap)
    present = [old.start + number for number, entry in found.items() if isinstance(entry, Present)]
    if present:
        yield from mm.tlb.flush(cpu, present)
    yield from mm.unlock(cursor)
    return _Taken(old.start, mark, found)


def _put(place: Place, taken: _Taken, old: range) -> Steps[Status]:
    """What was taken from *old* is in *place*, which is unlocked then; value: the mark there. Raises
    `OutOfMemory`; what was there has gone then."""
    cursor, new = place
    mm, cpu = cursor.space, cursor.cpu
    yield from mm.within(cursor, cursor.cut(new, empty=True))
    mark, backing = taken.mark, taken.mark.backing
    if isinstance(backing, FileMapping):
        mapping = FileMapping(backing.vmo, new.start, backing.index(old.start), around=backing.around)
        mark = replace(mark, backing=mapping)
        yield from _write_down(cursor, mark)
    replaced = yield from cursor.mark(mark, new)
    try:
        yield from cursor.make_leaves({new.start + number for number in taken.pages})
    except OutOfMemory:
        yield from cursor.unmap(new)
        yield from mm.unlock_and_flush(cursor, replaced)
        raise
    last = max(taken.pages, default=-1) + 1
    lost = yield from _place(cursor, new[:last], mark, taken._replace(mark=mark))
    yield from mm.unlock_and_flush(cursor, replaced)
    yield from _free(mm, cpu, lost)
    return mark


def _place(cursor: Cursor, part: range, instead: Status, taken: _Taken) -> Steps[list[Present | Status]]:
    """The pages that were taken stand in *part*, where *instead* keeps their places, and the mark for those
    that were not there. Value: the pages that have no place: others have mapped something there, or their
    file has lost them."""
    left, mark, source = dict(taken.pages), taken.mark, taken.start
    backing, space = mark.backing, cursor.space
    swap = space.kernel.swap

    def put(page: int, entry: Entry, was: Status | None) -> tuple[Entry, Status | None]:
        if not isinstance(entry, Status) or entry.backing is not instead.backing or entry.slot is not None:
            return entry, was
        its = left.get(page - part.start)
        if its is None or (isinstance(backing, FileMapping) and backing.index(page) >= backing.vmo.pages):
            return mark, None
        del left[page - part.start]
        if isinstance(its, Present):
            if swap is not None and swap.origins.get(its.frame) == (space.family, source + page - part.start):
                swap.maps(space, page, its.frame)
            return its, beside(mark)
        return replace(its, backing=backing), None

    yield from cursor.rewrite(part, put, cursor.space.cost.map)
    return list(left.values())


def _fill(mm: CortenMm, cpu: Cpu, old: range, keeper: Status, taken: _Taken) -> Steps[None]:
    """What was taken is where it was, in tables that are still there."""
    cursor = yield from mm.lock(cpu, old.start, old.stop)
    lost = yield from _place(cursor, old, keeper, taken)
    yield from mm.unlock(cursor)
    yield from _free(mm, cpu, lost)


def _free(mm: CortenMm, cpu: Cpu, lost: list[Present | Status]) -> Steps[None]:
    """Pages that have no place any more, in memory or swapped out."""
    for entry in lost:
        if isinstance(entry, Present):
            mm.kernel.frames.free(cpu, entry.frame)
        elif entry.slot is not None:
            assert mm.kernel.swap is not None
            yield from mm.kernel.swap.release(cpu, [entry.slot])


def _bring_in(mm: CortenMm, cpu: Cpu, mark: Status, more: range) -> Steps[None]:
    """What is locked and has grown is in memory when the call returns."""
    if mark.locked and not mark.on_fault:
        yield from populate(mm, cpu, more, mark)
