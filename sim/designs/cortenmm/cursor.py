"""The transactional cursor: lock what covers a range, change it, unlock.

The *covering page* of a range is the deepest page-table page that contains it and has to be locked: the page
where the range leaves a single slot, or a leaf. How it is found and locked is the protocol's (`protocols`).

All stores to entries go through `store`, all looks at them through `load`: there the layout of metadata and
the protocols that count versions have their lines.

Source: SOSP'25, section 4; artifact, ostd/src/mm/page_table/cursor/locking.rs (adv and rw trees).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from sim.designs.cortenmm.file_maps import FileMapping
from sim.designs.cortenmm.marks import mark_of, slots_of
from sim.designs.cortenmm.metadata import Entry, add_array, lines_of
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    PAGES_PER_ENTRY,
    PTES_PER_LINE,
    SLOTS,
    Errno,
    Kind,
    PageTablePage,
    Piece,
    Present,
    Status,
    slot_of,
)

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm

T = TypeVar("T")

Change: TypeAlias = Callable[[int, Any, Status | None], tuple[Entry, Status | None]]
"""A page, what stands for it, and what is kept beside a present entry -> the two afterwards."""


class EndOfWalk(Exception):
    """What a `Change` raises where the walk is to end."""


class LockedMemory(Exception):
    """A walk has met memory that is locked."""


class _Search:
    """For *pages* free pages: there is nothing from *start* on."""

    def __init__(self, pages: int, start: int) -> None:
        self.pages = pages
        self.start = start

    def is_over(self, page: int) -> bool:
        """Whether there is room, as nothing lies below *page* either."""
        return page - self.start >= self.pages


class Cursor:
    """A locked range [start, end) in pages.

    *covering* is the covering page; *locked* are the pages whose locks this cursor holds, in the order taken
    (adv), and *path* the read-locked ancestors (rw). *unlinked* are tables to be freed after the TLB flush,
    *slots* the swap slots that marks said which are gone, *written* the entries whose versions count as being
    changed. Operations stay inside the range.
    """

    __slots__ = ("covering", "cpu", "end", "locked", "path", "slots", "space", "start", "unlinked", "written")

    whole: ClassVar[bool] = True
    """Whether it has its range to itself from its lock to its unlock."""

    def __init__(self, space: CortenMm, cpu: Cpu, start: int, end: int) -> None:
        self.space = space
        self.cpu = cpu
        self.start = start
        self.end = end
        self.covering = space.root
        self.locked: list[PageTablePage] = []
        self.path: list[PageTablePage] = []
        self.unlinked: list[PageTablePage] = []
        self.slots: list[int] = []
        self.written: dict[tuple[PageTablePage, int], None] = {}

    # -- lines of entries -----------------------------------------------------------------------------------

    def load(self, table: PageTablePage, slot: int) -> Steps[None]:
        """Read the entry in *slot*: its line, and that of its metadata where it is kept apart."""
        return self.load_all(table, (slot,))

    def load_all(self, table: PageTablePage, slots: Collection[int]) -> Steps[None]:
        """The same of several slots, which lie on one line."""
        yield from table.line(next(iter(slots))).read(self.cpu, PAGE_TABLE)
        if table.array is None:
            return
        versioned = self.space.protocol.versioned
        apart = {
            table.array.line(slot): None
            for slot in slots
            if versioned or not isinstance(table.get(slot), Present | PageTablePage)
        }
        for line in apart:
            yield from line.read(self.cpu, PAGE_TABLE)

    def store(self, table: PageTablePage, slot: int, entry: Entry | PageTablePage) -> Steps[None]:
        """The lines are here to make what is in *slot* to *entry*, which the caller does at once."""
        return self.store_all(table, {slot: entry})

    def store_all(
        self,
        table: PageTablePage,
        entries: Mapping[int, Entry | PageTablePage],
        *,
        quiet: bool = False,
        statuses: Collection[int] = (),
    ) -> Steps[None]:
        """The same of several slots, which lie on one line. *quiet*: nobody looks at them without the lock,
        so a line that the cpu has to itself costs nothing. In the slots *statuses* what is kept beside a
        present page changes."""
        space, cpu = self.space, self.cpu
        if space.kernel.arrays is None:
            line = table.line(next(iter(entries)))
            if not quiet or not line.exclusive_to(cpu):
                yield from line.store(cpu, PAGE_TABLE)
            return
        for line in lines_of(table, entries, statuses, versioned=space.protocol.versioned):
            if not quiet or not line.exclusive_to(cpu):
                yield from line.store(cpu, PAGE_TABLE)
        if space.protocol.versioned:
            space.protocol.change(self, table, entries)

    # -- parts of the range ---------------------------------------------------------------------------------

    def apart(self, body: Callable[[Cursor], Steps[T]]) -> Steps[list[T]]:
        """Do *body* in the transactions that the range has: this one. Value: what each of them gave."""
        return [(yield from body(self))]

    # -- what is there --------------------------------------------------------------------------------------

    def query(self, page: int) -> Steps[PageTablePage | Present | Status | None]:
        """Value: what stands for *page*: a present entry, a status or None."""
        space, table = self.space, self.covering
        while True:
            slot = slot_of(page, table.level)
            self.cpu.work(space.cost.walk_level, PAGE_TABLE)
            yield from self.load(table, slot)
            child = table.child(slot)
            if child is None:
                self.cpu.work(space.cost.query, PAGE_TABLE)
                return table.get(slot)
            table = child

    def is_clear(self, part: range | None = None) -> Steps[bool]:
        """Value: whether nothing is mapped or marked in *part*, or in the whole range."""
        where = range(self.start, self.end) if part is None else part
        return (yield from self._is_clear(self.covering, where.start, where.stop))

    def _is_clear(self, table: PageTablePage, start: int, end: int) -> Steps[bool]:
        span = PAGES_PER_ENTRY[table.level]
        page = start
        while page < end:
            slot, stop = slot_of(page, table.level), min(end, page - page % span + span)
            self.cpu.work(self.space.cost.query, PAGE_TABLE)
            yield from self.load(table, slot)
            child = table.child(slot)
            if child is None:
                if table.get(slot) is not None:
                    return False
            elif not (yield from self._is_clear(child, page, stop)):
                return False
            page = stop
        return True

    def cut(self, part: range | None = None, *, empty: bool) -> Steps[None]:
        """Make the tables that both ends of *part*, or of the whole range, need where they lie inside an
        entry, or, with *empty*, inside a slot that has none: then the tables that marks are written to get
        arrays, too. What is done to it afterwards needs no memory.

        Raises `OutOfMemory`; nobody can see then what has been done.
        """
        where = range(self.start, self.end) if part is None else part
        arrays = empty and self.space.kernel.arrays is not None
        for page in (where.start, where.stop):
            table = self.covering
            while True:
                if arrays and table.array is None and _has_whole_slot(table, where):
                    yield from add_array(self.space, self.cpu, table)
                if table.level == 1 or page % PAGES_PER_ENTRY[table.level] == 0:
                    break
                slot = slot_of(page, table.level)
                child = table.child(slot)
                if child is None:
                    if not empty and table.get(slot) is None:
                        break
                    child = yield from self.push_down(table, slot, page)
                table = child

    def find_room(self, pages: int) -> Steps[int | None]:
        """Value: the first page of the lowest room for so many pages in the range in which nothing is mapped.

        It is read in the tables' metadata, piece by piece: what lies side by side and is alike is one.
        """
        search = _Search(pages, self.start)
        yield from self._find_room(self.covering, self.start, self.end, search)
        return search.start if search.is_over(self.end) else None

    def _find_room(self, table: PageTablePage, start: int, end: int, search: _Search) -> Steps[None]:
        """The same below *table*, up to where the search is over."""
        span = PAGES_PER_ENTRY[table.level]
        self.cpu.work(self.space.cost.walk_level, PAGE_TABLE)
        yield from table.meta.read(self.cpu, PAGE_TABLE)
        page, before = start, object()
        while page < end and not search.is_over(page):
            slot, stop = slot_of(page, table.level), min(end, page - page % span + span)
            entry = table.get(slot)
            if isinstance(entry, PageTablePage):
                yield from self._find_room(entry, page, stop, search)
                page, before = stop, entry
                continue
            mark = None if entry is None else mark_of(entry, table.metadata.get(slot))
            if mark != before:
                self.cpu.work(self.space.cost.query, PAGE_TABLE)
            if mark is not None:
                search.start = stop
            page, before = stop, mark

    def mark(self, status: Status, part: range | None = None) -> Steps[list[Piece]]:
        """Give *part*, or the whole range, a status, in the largest aligned pieces. Value: the entries it
        replaced.

        Raises `OutOfMemory`, with all as it was.
        """
        where = range(self.start, self.end) if part is None else part
        yield from self.cut(where, empty=True)
        replaced: list[Piece] = []
        yield from self._set_range(
            self.covering, where.start, where.stop, status, self.space.cost.mark, replaced
        )
        self.space.maps.unmapped(self.cpu, where.start, where.stop)
        if isinstance(status.backing, FileMapping):
            self.space.maps.marked(status.backing, where.start, where.stop)
        return replaced

    def unmap(self, part: range | None = None) -> Steps[list[Piece]]:
        """Clear *part*, or the whole range. Value: the mappings that were in it.

        Raises `OutOfMemory`, with all as it was.
        """
        self.cpu.work(self.space.cost.unmap_range, PAGE_TABLE)
        return (yield from self.clear(part))

    def clear(self, part: range | None = None) -> Steps[list[Piece]]:
        """The same, without what the call takes beside its entries."""
        where = range(self.start, self.end) if part is None else part
        removed: list[Piece] = []
        yield from self.cut(where, empty=False)
        yield from self._set_range(
            self.covering, where.start, where.stop, None, self.space.cost.unmap, removed
        )
        self.space.maps.unmapped(self.cpu, where.start, where.stop)
        return removed

    def map(self, page: int, entry: Present, *, was: Status | None = None) -> Steps[None]:
        """Make *page* present. *was* is what its mark said, where that is more than its rights.

        Raises `OutOfMemory`, with all as it was.
        """
        table = self.covering
        while table.level > 1:
            slot = slot_of(page, table.level)
            child = table.child(slot)
            table = child if child is not None else (yield from self.push_down(table, slot, page))
        slot = slot_of(page, 1)
        yield from self.store(table, slot, entry)
        self.cpu.work(self.space.cost.map, PAGE_TABLE)
        table.set(slot, entry)
        if was is not None:
            table.metadata[slot] = was

    def protect(self, page: int) -> Steps[None]:
        """Write the present entry of *page* again; what changes in it is the caller's."""
        table = self.covering.deepest(page)
        yield from self.store(table, slot_of(page, 1), table.entry_of(page))
        self.cpu.work(self.space.cost.protect, PAGE_TABLE)

    def set_mark(self, page: int, mark: Status) -> Steps[None]:
        """*mark* stands where the present entry of *page* was."""
        table, slot = self.covering.deepest(page), slot_of(page, 1)
        yield from self.store(table, slot, mark)
        self.cpu.work(self.space.cost.unmap, PAGE_TABLE)
        table.set(slot, mark)
        table.metadata.pop(slot, None)

    def discard(self, *, locked: bool) -> Steps[tuple[list[tuple[int, Present | Status]], Errno | None]]:
        """Each page of the range is again what its mark said, up to the first that is locked, or those as
        well.

        Value: the entries that were there, of pages that are present or swapped out, and `EINVAL` for locked
        memory, else `ENOMEM` where something of the range is not mapped.
        """
        removed: list[tuple[int, Present | Status]] = []
        try:
            holes = yield from self._discard(self.covering, self.start, self.end, removed, locked=locked)
        except LockedMemory:
            return removed, Errno.EINVAL
        return removed, Errno.ENOMEM if holes else None

    def lacks(self, *, unlocked: bool) -> Steps[Errno | None]:
        """Value: `ENOMEM` where something of the range is not mapped, `EINVAL` where something of it is
        locked and all should be *unlocked*."""
        try:
            holes = yield from self._discard(self.covering, self.start, self.end, None, locked=not unlocked)
        except LockedMemory:
            return Errno.EINVAL
        return Errno.ENOMEM if holes else None

    def _discard(
        self,
        table: PageTablePage,
        start: int,
        end: int,
        removed: list[tuple[int, Present | Status]] | None,
        *,
        locked: bool = True,
    ) -> Steps[bool]:
        """The same below *table*. Value: whether there is a hole. Without *removed* it only looks. Raises
        `LockedMemory` unless *locked*."""
        span = PAGES_PER_ENTRY[table.level]
        page, holes = start, False
        while page < end:
            slot, stop = slot_of(page, table.level), min(end, page - page % span + span)
            if slot % PTES_PER_LINE == 0 or page == start or table.array is not None or not self.whole:
                yield from self.load(table, slot)
            self.cpu.work(self.space.cost.query, PAGE_TABLE)
            entry = table.get(slot)
            if isinstance(entry, PageTablePage):
                holes |= yield from self._discard(entry, page, stop, removed, locked=locked)
            elif entry is None:
                holes = True
            else:
                was = table.metadata.get(slot) if isinstance(entry, Present) else entry
                if was is not None and was.locked and not locked:
                    raise LockedMemory
                if removed is not None and (isinstance(entry, Present) or entry.kind is Kind.SWAPPED):
                    mark = mark_of(entry, was)
                    yield from self.store(table, slot, mark)
                    self.cpu.work(self.space.cost.unmap, PAGE_TABLE)
                    table.set(slot, mark)
                    table.metadata.pop(slot, None)
                    removed.append((page, entry))
                    if isinstance(entry, Status) and entry.slot is not None:
                        self.slots.append(entry.slot)
            page = stop
        return holes

    def make_leaves(self, pages: Iterable[int]) -> Steps[None]:
        """Each of *pages* has a level-1 table. Raises `OutOfMemory`; nobody can see then what was done."""
        for page in sorted({page - page % SLOTS for page in pages}):
            table = self.covering
            while table.level > 1:
                slot = slot_of(page, table.level)
                child = table.child(slot)
                table = child if child is not None else (yield from self.push_down(table, slot, page))

    def rewrite(self, part: range, change: Change, cost: int) -> Steps[None]:
        """Look at each entry of *part*, whose ends have been `cut`, in order; what *change* makes of it
        stands there from now on, at *cost* each. Raises `EndOfWalk` where *change* does."""
        yield from self._rewrite(self.covering, part.start, part.stop, change, cost)

    def _rewrite(self, table: PageTablePage, start: int, end: int, change: Change, cost: int) -> Steps[None]:
        """The same below *table*; entries side by side on a line fetch it once."""
        span = PAGES_PER_ENTRY[table.level]
        page = start
        while page < end:
            slot = slot_of(page, table.level)
            child = table.child(slot)
            if child is not None:
                stop = min(end, page - page % span + span)
                yield from self._rewrite(child, page, stop, change, cost)
                page = stop
                continue
            beside = slot - slot % PTES_PER_LINE + PTES_PER_LINE
            slots = range(slot, min(beside, slot + -(-(end - page + page % span) // span)))
            slots = range(slot, next((each for each in slots if table.child(each) is not None), slots.stop))
            yield from self.load_all(table, slots)
            ended: EndOfWalk | None = None
            changed: dict[int, tuple[Entry, Status | None]] = {}
            for slot in slots:
                self.cpu.work(self.space.cost.query, PAGE_TABLE)
                before = table.get(slot), table.metadata.get(slot)
                try:
                    after = change(page, *before)
                except EndOfWalk as error:
                    ended = error
                    break
                if after != before:
                    changed[slot] = after
                page = page - page % span + span
            yield from self._change(table, changed, cost)
            if ended is not None:
                raise ended

    def _change(
        self, table: PageTablePage, changed: Mapping[int, tuple[Entry, Status | None]], cost: int
    ) -> Steps[None]:
        """What stands in these slots of one line, and what is kept beside it, is *changed*."""
        if not changed:
            return
        statuses = [slot for slot, (_, was) in changed.items() if was != table.metadata.get(slot)]
        entries = {slot: entry for slot, (entry, _) in changed.items()}
        yield from self.store_all(table, entries, statuses=statuses)
        self.cpu.work(len(changed) * cost, PAGE_TABLE)
        for slot, (entry, was) in changed.items():
            table.set(slot, entry)
            if was is None:
                table.metadata.pop(slot, None)
            else:
                table.metadata[slot] = was

    # -- entries --------------------------------------------------------------------------------------------

    def _set_range(
        self,
        table: PageTablePage,
        start: int,
        end: int,
        entry: Status | None,
        cost: int,
        removed: list[Piece],
    ) -> Steps[None]:
        """Write *entry* over [start, end) below *table*, at *cost* each; both ends have been `cut`."""
        if table.level == 1:
            yield from self._set_leaf(table, start, end, entry, cost, removed)
            return
        span = PAGES_PER_ENTRY[table.level]
        page = start
        while page < end:
            slot = slot_of(page, table.level)
            slot_end = page - page % span + span
            child = table.child(slot)
            if page % span == 0 and slot_end <= end:
                if child is not None:
                    removed.extend(child.present_pieces())
                    if self.space.kernel.swap is not None:
                        self.slots += slots_of(child.tables())
                    yield from self._detach(table, slot, child)
                if entry is not None or table.get(slot) is not None:
                    yield from self.store(table, slot, entry)
                    self.cpu.work(cost, PAGE_TABLE)
                    table.set(slot, entry)
            else:
                if child is not None:
                    yield from self._set_range(child, page, min(end, slot_end), entry, cost, removed)
            page = slot_end

    def _set_leaf(
        self,
        table: PageTablePage,
        start: int,
        end: int,
        entry: Status | None,
        cost: int,
        removed: list[Piece],
    ) -> Steps[None]:
        """The same in a level-1 table, under its lock.

        Entries side by side on a line fetch it once. Marks on a line that the cpu has to itself are written
        without letting the time pass first: only who holds the lock looks at them. Present entries are not,
        because other cpus' page walks see them.
        """
        page = start
        while page < end:
            slot = slot_of(page, 1)
            if entry is not None and self.space.kernel.arrays is None:
                stop = table.own_and_empty(slot, slot + end - page, self.cpu)
                if stop - slot > PTES_PER_LINE:
                    self._mark_lines(table, slot, stop, entry, cost)
                    page += stop - slot
                    continue
            stop = min(slot - slot % PTES_PER_LINE + PTES_PER_LINE, slot + end - page)
            page += stop - slot
            if entry is not None and table.is_empty(slot, stop):  # as below, for many marks side by side
                yield from self.store_all(table, dict.fromkeys(range(slot, stop), entry), quiet=True)
                self.cpu.work((stop - slot) * cost, PAGE_TABLE)
                table.fill_empty(slot, stop, entry)
                continue
            written = []
            mapped = len(removed)
            for each in range(slot, stop):
                before = table.get(each)
                if isinstance(before, Present):
                    removed.append((table.base + each, before))
                    table.metadata.pop(each, None)
                elif isinstance(before, Status) and before.slot is not None:
                    self.slots.append(before.slot)
                if entry is not None or before is not None:
                    written.append(each)
            if written:
                marks_only = len(removed) == mapped
                yield from self.store_all(table, dict.fromkeys(written, entry), quiet=marks_only)
                self.cpu.work(len(written) * cost, PAGE_TABLE)
                for each in written:
                    table.set(each, entry)

    def _mark_lines(self, table: PageTablePage, slot: int, stop: int, entry: Status, cost: int) -> None:
        """What `_set_leaf` does with marks line by line, for slots that are `own_and_empty`: at once."""
        cpu = self.cpu
        first, last = slot + -slot % PTES_PER_LINE, stop - stop % PTES_PER_LINE
        time = (last - first) // PTES_PER_LINE * cpu.work_time(PTES_PER_LINE * cost)
        for part in (first - slot, stop - last):
            if part:
                time += cpu.work_time(part * cost)
        cpu.stall(time, PAGE_TABLE)
        table.fill_empty(slot, stop, entry)
        table.written_by(slot, stop, cpu)

    def push_down(self, table: PageTablePage, slot: int, page: int) -> Steps[PageTablePage]:
        """Make the child of *slot* inside the locked subtree; a status there becomes the child's content.

        Raises `OutOfMemory`.
        """
        child = yield from self.space.make_table(self.cpu, table, slot, page)
        yield from self.space.protocol.adopt(self, child)
        yield from self.store(table, slot, child)
        table.set(slot, child)
        return child

    def _detach(self, table: PageTablePage, slot: int, child: PageTablePage) -> Steps[None]:
        """Unlink a whole subtree; its pages are stray from now on."""
        yield from self.store(table, slot, None)
        table.set(slot, None)
        yield from self.space.protocol.disown(self, child)


def _has_whole_slot(table: PageTablePage, part: range) -> bool:
    """Whether *part* has all the pages of a slot of *table*."""
    span = PAGES_PER_ENTRY[table.level]
    start, end = max(part.start, table.base), min(part.stop, table.base + SLOTS * span)
    return start + -start % span + span <= end
