"""The transactional cursor: lock what covers a range, change it, unlock.

The *covering page* of a range is the deepest page-table page that contains it and has to be locked: the page
where the range leaves a single slot, or a leaf. How it is found and locked is the protocol's (`protocols`).

All stores to entries go through `store`, all looks at them through `load`: there the layout of metadata and
the protocols that count versions have their lines.

Source: SOSP'25, section 4; artifact, ostd/src/mm/page_table/cursor/locking.rs (adv and rw trees).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from sim.designs.cortenmm.file_maps import FileMapping
from sim.designs.cortenmm.metadata import Entry, lines_of, made_for
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    PAGES_PER_ENTRY,
    PTES_PER_LINE,
    PageTablePage,
    Piece,
    Present,
    Status,
    slot_of,
)

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm

T = TypeVar("T")


class Cursor:
    """A locked range [start, end) in pages.

    *covering* is the covering page; *locked* are the pages whose locks this cursor holds, in the order taken
    (adv), and *path* the read-locked ancestors (rw). *unlinked* are tables to be freed after the TLB flush,
    *written* the entries whose versions count as being changed. Operations stay inside the range.
    """

    __slots__ = ("covering", "cpu", "end", "locked", "path", "space", "start", "unlinked", "written")

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
        self.written: dict[tuple[PageTablePage, int], None] = {}

    # -- lines of entries -----------------------------------------------------------------------------------

    def load(self, table: PageTablePage, slot: int) -> Steps[None]:
        """Read the entry in *slot*: its line, and that of its metadata where it is kept apart."""
        yield from table.line(slot).read(self.cpu, PAGE_TABLE)
        if table.array is not None and (
            self.space.protocol.versioned or not isinstance(table.get(slot), Present | PageTablePage)
        ):
            yield from table.array.line(slot).read(self.cpu, PAGE_TABLE)

    def store(self, table: PageTablePage, slot: int, entry: Entry) -> Steps[None]:
        """The lines are here to make what is in *slot* to *entry*, which the caller does at once."""
        return self.store_all(table, {slot: entry})

    def store_all(
        self, table: PageTablePage, entries: dict[int, Entry], *, quiet: bool = False
    ) -> Steps[None]:
        """The same of several slots, which lie on one line. *quiet*: nobody looks at them without the lock,
        so a line that the cpu has to itself costs nothing."""
        space, cpu = self.space, self.cpu
        if space.kernel.arrays is None:
            line = table.line(next(iter(entries)))
            if not quiet or not line.exclusive_to(cpu):
                yield from line.store(cpu, PAGE_TABLE)
            return
        yield from made_for(space, cpu, table, entries.values())
        for line in lines_of(table, entries, versioned=space.protocol.versioned):
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

    def is_clear(self) -> Steps[bool]:
        """Value: whether nothing is mapped or marked in the whole range."""
        return (yield from self._is_clear(self.covering, self.start, self.end))

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

    def mark(self, status: Status) -> Steps[list[Piece]]:
        """Give the whole range a status, in the largest aligned pieces. Value: the entries it replaced."""
        replaced: list[Piece] = []
        yield from self._set_range(
            self.covering, self.start, self.end, status, self.space.cost.mark, replaced
        )
        self.space.maps.unmapped(self.cpu, self.start, self.end)
        if isinstance(status.backing, FileMapping):
            self.space.maps.marked(status.backing, self.start, self.end)
        return replaced

    def unmap(self) -> Steps[list[Piece]]:
        """Clear the whole range. Value: the mappings that were in it."""
        self.cpu.work(self.space.cost.unmap_range, PAGE_TABLE)
        return (yield from self.clear())

    def clear(self) -> Steps[list[Piece]]:
        """The same, without what the call takes beside its entries."""
        removed: list[Piece] = []
        yield from self._set_range(self.covering, self.start, self.end, None, self.space.cost.unmap, removed)
        self.space.maps.unmapped(self.cpu, self.start, self.end)
        return removed

    def map(self, page: int, entry: Present, *, was: Status | None = None) -> Steps[None]:
        """Make *page* present. *was* is what its mark said, where that is more than its rights."""
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

    def discard(self) -> Steps[tuple[list[tuple[int, Present]], bool]]:
        """Each present page of the range is again what its mark said, and no TLB knows better.

        Value: the entries that were there, and whether something of the range is not mapped.
        """
        removed: list[tuple[int, Present]] = []
        holes = yield from self._discard(self.covering, self.start, self.end, removed)
        if removed:
            yield from self.space.tlb.flush(self.cpu, [page for page, _ in removed])
        return removed, holes

    def has_holes(self) -> Steps[bool]:
        """Value: whether something of the range is not mapped."""
        return (yield from self._discard(self.covering, self.start, self.end, None))

    def _discard(
        self, table: PageTablePage, start: int, end: int, removed: list[tuple[int, Present]] | None
    ) -> Steps[bool]:
        """The same below *table*. Value: whether there is a hole. Without *removed* it only looks."""
        span = PAGES_PER_ENTRY[table.level]
        page, holes = start, False
        while page < end:
            slot, stop = slot_of(page, table.level), min(end, page - page % span + span)
            if slot % PTES_PER_LINE == 0 or page == start or table.array is not None or not self.whole:
                yield from self.load(table, slot)
            self.cpu.work(self.space.cost.query, PAGE_TABLE)
            entry = table.get(slot)
            if isinstance(entry, PageTablePage):
                holes |= yield from self._discard(entry, page, stop, removed)
            elif entry is None:
                holes = True
            elif isinstance(entry, Present) and removed is not None:
                was = table.metadata.get(slot) or Status(entry.rights)
                yield from self.store(table, slot, was)
                self.cpu.work(self.space.cost.unmap, PAGE_TABLE)
                table.metadata.pop(slot, None)
                table.set(slot, was.with_rights(entry.rights))
                removed.append((page, entry))
            page = stop
        return holes

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
        """Write *entry* over [start, end) below *table*, at *cost* each."""
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
                    yield from self._detach(table, slot, child)
                if entry is not None or table.get(slot) is not None:
                    yield from self.store(table, slot, entry)
                    self.cpu.work(cost, PAGE_TABLE)
                    table.set(slot, entry)
            else:
                if child is None and (entry is not None or table.get(slot) is not None):
                    child = yield from self.push_down(table, slot, page)
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
            stop = min(slot - slot % PTES_PER_LINE + PTES_PER_LINE, slot + end - page)
            page += stop - slot
            if entry is not None and table.is_new(slot, stop):  # as below, for many marks side by side
                yield from self.store_all(table, dict.fromkeys(range(slot, stop), entry), quiet=True)
                self.cpu.work((stop - slot) * cost, PAGE_TABLE)
                table.set_new(slot, stop, entry)
                continue
            written = []
            mapped = len(removed)
            for each in range(slot, stop):
                before = table.get(each)
                if isinstance(before, Present):
                    removed.append((table.base + each, before))
                    table.metadata.pop(each, None)
                if entry is not None or before is not None:
                    written.append(each)
            if written:
                marks_only = len(removed) == mapped
                yield from self.store_all(table, dict.fromkeys(written, entry), quiet=marks_only)
                self.cpu.work(len(written) * cost, PAGE_TABLE)
                for each in written:
                    table.set(each, entry)

    def push_down(self, table: PageTablePage, slot: int, page: int) -> Steps[PageTablePage]:
        """Make the child of *slot* inside the locked subtree; a status there becomes the child's content."""
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
