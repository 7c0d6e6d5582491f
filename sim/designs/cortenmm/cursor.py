"""The transactional cursor: lock what covers a range, change it, unlock.

The *covering page* of a range is the deepest page-table page that contains it and has to be locked: the page
where the range leaves a single slot, or a leaf. The two protocols differ in how they get there.

adv: walk down without locks (under RCU), lock the covering page, restart if it has become stray, then lock
all page-table pages below it that the range touches, parents before children, low slots before high ones.
Missing children are made on the way down under their parent's lock, and the child is born locked.

rw: read-lock every page on the way down, write-lock the covering page. A missing child makes its parent the
covering page. Nothing below needs a lock: whoever goes there must pass the write lock.

Source: SOSP'25, section 4; artifact, ostd/src/mm/page_table/cursor/locking.rs (adv and rw trees).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from sim.designs.cortenmm.marks import mark_of, slots_of
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import (
    LOCK_PAGE_TABLE,
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
from sim.sync import BravoLock, McsLock, PhaseFairLock

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm

Entry: TypeAlias = Present | Status | None
"""What stands for a page that has no table below."""

Change: TypeAlias = Callable[[int, Any, Status | None], tuple[Entry, Status | None]]
"""A page, what stands for it, and what is kept beside a present entry -> the two afterwards."""


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
    *slots* the swap slots that marks said which are gone. Operations stay inside the range.
    """

    __slots__ = ("covering", "cpu", "end", "locked", "path", "slots", "space", "start", "unlinked")

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

    def query(self, page: int) -> Steps[PageTablePage | Present | Status | None]:
        """Value: what stands for *page*: a present entry, a status or None."""
        space, table = self.space, self.covering
        while True:
            slot = slot_of(page, table.level)
            self.cpu.work(space.cost.walk_level, PAGE_TABLE)
            yield from table.line(slot).read(self.cpu, PAGE_TABLE)
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
            yield from table.line(slot).read(self.cpu, PAGE_TABLE)
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
        entry, or, with *empty*, inside a slot that has none. What is done to it afterwards needs no memory.

        Raises `OutOfMemory`; nobody can see then what has been done.
        """
        for page in (self.start, self.end) if part is None else (part.start, part.stop):
            table = self.covering
            while table.level > 1 and page % PAGES_PER_ENTRY[table.level]:
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
        return replaced

    def unmap(self, part: range | None = None) -> Steps[list[Piece]]:
        """Clear *part*, or the whole range. Value: the mappings that were in it.

        Raises `OutOfMemory`, with all as it was.
        """
        where = range(self.start, self.end) if part is None else part
        removed: list[Piece] = []
        self.cpu.work(self.space.cost.unmap_range, PAGE_TABLE)
        yield from self.cut(where, empty=False)
        yield from self._set_range(
            self.covering, where.start, where.stop, None, self.space.cost.unmap, removed
        )
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
        yield from table.line(slot).store(self.cpu, PAGE_TABLE)
        self.cpu.work(self.space.cost.map, PAGE_TABLE)
        table.set(slot, entry)
        if was is not None:
            table.metadata[slot] = was

    def protect(self, page: int) -> Steps[None]:
        """Write the present entry of *page* again; what changes in it is the caller's."""
        table = self.covering.deepest(page)
        yield from table.line(slot_of(page, 1)).store(self.cpu, PAGE_TABLE)
        self.cpu.work(self.space.cost.protect, PAGE_TABLE)

    def set_mark(self, page: int, mark: Status) -> Steps[None]:
        """*mark* stands where the present entry of *page* was."""
        table, slot = self.covering.deepest(page), slot_of(page, 1)
        yield from table.line(slot).store(self.cpu, PAGE_TABLE)
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
            line = table.line(slot)
            if slot % PTES_PER_LINE == 0 or page == start:
                yield from line.read(self.cpu, PAGE_TABLE)
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
                    yield from line.store(self.cpu, PAGE_TABLE)
                    self.cpu.work(self.space.cost.unmap, PAGE_TABLE)
                    table.set(slot, mark_of(entry, table.metadata.pop(slot, None)))
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
        stands there from now on, at *cost* each. Raises what *change* raises."""
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
            line = table.line(slot)
            yield from line.read(self.cpu, PAGE_TABLE)
            beside = slot - slot % PTES_PER_LINE + PTES_PER_LINE
            stored = False
            while slot < beside and page < end and table.child(slot) is None:
                self.cpu.work(self.space.cost.query, PAGE_TABLE)
                entry, was = table.get(slot), table.metadata.get(slot)
                after = change(page, entry, was)
                if after != (entry, was):
                    if not stored:
                        yield from line.store(self.cpu, PAGE_TABLE)
                        stored = True
                    self.cpu.work(cost, PAGE_TABLE)
                    table.set(slot, after[0])
                    if after[1] is None:
                        table.metadata.pop(slot, None)
                    else:
                        table.metadata[slot] = after[1]
                page, slot = page - page % span + span, slot + 1

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
                    yield from table.line(slot).store(self.cpu, PAGE_TABLE)
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
            stop = min(slot - slot % PTES_PER_LINE + PTES_PER_LINE, slot + end - page)
            page += stop - slot
            if entry is not None and table.is_new(slot, stop):  # as below, for many marks side by side
                line = table.line(slot)
                if not line.exclusive_to(self.cpu):
                    yield from line.store(self.cpu, PAGE_TABLE)
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
                elif isinstance(before, Status) and before.slot is not None:
                    self.slots.append(before.slot)
                if entry is not None or before is not None:
                    written.append(each)
            if written:
                line = table.line(slot)
                if len(removed) > mapped or not line.exclusive_to(self.cpu):
                    yield from line.store(self.cpu, PAGE_TABLE)
                self.cpu.work(len(written) * cost, PAGE_TABLE)
                for each in written:
                    table.set(each, entry)

    def push_down(self, table: PageTablePage, slot: int, page: int) -> Steps[PageTablePage]:
        """Make the child of *slot* inside the locked subtree; a status there becomes the child's content.

        Raises `OutOfMemory`.
        """
        child = yield from self.space.make_table(self.cpu, table, slot, page)
        yield from self.space.protocol.adopt(self, child)
        yield from table.line(slot).store(self.cpu, PAGE_TABLE)
        table.set(slot, child)
        return child

    def _detach(self, table: PageTablePage, slot: int, child: PageTablePage) -> Steps[None]:
        """Unlink a whole subtree; its pages are stray from now on."""
        yield from table.line(slot).store(self.cpu, PAGE_TABLE)
        table.set(slot, None)
        yield from self.space.protocol.disown(self, child)


class Protocol(ABC):
    """How cursors lock. One object for an address space's kernel."""

    __slots__ = ()

    @abstractmethod
    def make_lock(self, table: PageTablePage) -> object:
        """The lock of a new page-table page, on its descriptor's line."""

    @abstractmethod
    def lock(self, cursor: Cursor) -> Steps[None]:
        """Find and lock the covering page of the cursor's range."""

    @abstractmethod
    def unlock(self, cursor: Cursor) -> Steps[None]:
        """Release everything, in reverse order."""

    @abstractmethod
    def adopt(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """A page that the cursor has made below its covering page, not linked yet."""

    @abstractmethod
    def disown(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """A subtree that the cursor has unlinked: hand it over for freeing."""


class AdvProtocol(Protocol):
    """Lock-free walk, MCS locks, stray pages, RCU."""

    def __init__(self, space: CortenMm) -> None:
        self._space = space

    def make_lock(self, table: PageTablePage) -> McsLock:
        return McsLock(self._space.kernel.nodes, table.meta, LOCK_PAGE_TABLE)

    def lock(self, cursor: Cursor) -> Steps[None]:
        cpu = cursor.cpu
        self._space.kernel.rcu.read_lock(cpu)
        while True:
            covering = yield from self._walk_and_lock(cursor)
            if covering is not None:
                break
        cursor.covering = covering
        yield from self._lock_below(cursor, covering)

    def unlock(self, cursor: Cursor) -> Steps[None]:
        while cursor.locked:
            yield from cursor.locked.pop().lock.release(cursor.cpu)
        self._space.kernel.rcu.read_unlock(cursor.cpu)

    def adopt(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        yield from self._acquire(cursor, child)

    def disown(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """Status the subtree stray, unlock it (its pages were locked by this cursor), free it after RCU."""
        cpu, space = cursor.cpu, self._space
        tables = list(child.tables())
        for table in reversed(tables):
            table.stray = True
            cursor.locked.remove(table)
            yield from table.lock.release(cpu)
        yield from space.kernel.rcu.defer(cpu, FreeTables(space, tables))

    def _walk_and_lock(self, cursor: Cursor) -> Steps[PageTablePage | None]:
        """One attempt; value is the locked covering page, or None if it had become stray."""
        cpu, space = cursor.cpu, self._space
        table = space.root
        held = False
        while table.level > 1:
            slot = slot_of(cursor.start, table.level)
            if slot != slot_of(cursor.end - 1, table.level):
                break
            cpu.work(space.cost.walk_level, PAGE_TABLE)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            child = table.child(slot)
            if child is not None:
                if held:
                    yield from self._drop(cursor, table)
                    held = False
                table = child
                continue
            if not held:
                yield from self._acquire(cursor, table)
                if table.stray:
                    yield from self._drop(cursor, table)
                    return None
            child = table.child(slot)
            if child is not None:  # lost the race: somebody has just made it
                yield from self._drop(cursor, table)
                held = False
                table = child
                continue
            child = yield from space.make_table(cpu, table, slot, cursor.start)
            yield from self._acquire(cursor, child)
            yield from table.line(slot).store(cpu, PAGE_TABLE)
            table.set(slot, child)
            yield from self._drop(cursor, table)
            table, held = child, True
        if not held:
            yield from self._acquire(cursor, table)
            if table.stray:
                yield from self._drop(cursor, table)
                return None
        return table

    def _lock_below(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        """Phase 2: the page-table pages below that the range touches, in pre-order."""
        if table.level == 1:
            return
        span = PAGES_PER_ENTRY[table.level]
        first = max(cursor.start, table.base)
        last = min(cursor.end - 1, table.base + SLOTS * span - 1)
        for slot in range(slot_of(first, table.level), slot_of(last, table.level) + 1):
            child = table.child(slot)
            if child is not None:
                yield from self._acquire(cursor, child)
                yield from self._lock_below(cursor, child)

    def _acquire(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        cursor.cpu.work(self._space.cost.lock_node, LOCK_PAGE_TABLE)
        yield from table.lock.acquire(cursor.cpu)
        cursor.locked.append(table)

    def _drop(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        cursor.locked.remove(table)
        yield from table.lock.release(cursor.cpu)


class FreeTables:
    """Frees unlinked tables after a grace period."""

    __slots__ = ("_space", "tables")

    def __init__(self, space: CortenMm, tables: list[PageTablePage]) -> None:
        self._space = space
        self.tables = tables

    def __call__(self, cpu: Cpu) -> int:
        self._space.free_tables(cpu, self.tables)
        return 0  # charged as it was done


class RwProtocol(Protocol):
    """BRAVO over a phase-fair lock on every page-table page."""

    def __init__(self, space: CortenMm) -> None:
        self._space = space

    def make_lock(self, table: PageTablePage) -> BravoLock:
        kernel = self._space.kernel
        underlying = PhaseFairLock(kernel.nodes, table.meta, LOCK_PAGE_TABLE)
        address = max(table.frame, 0) * kernel.spec.bravo.frame_metadata
        return BravoLock(kernel.visible_readers, underlying, address)

    def lock(self, cursor: Cursor) -> Steps[None]:
        cpu, space = cursor.cpu, self._space
        table = space.root
        while table.level > 1:
            slot = slot_of(cursor.start, table.level)
            if slot != slot_of(cursor.end - 1, table.level):
                break
            cpu.work(space.cost.read_lock, LOCK_PAGE_TABLE)
            yield from table.lock.read_lock(cpu)
            cpu.work(space.cost.walk_level, PAGE_TABLE)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            child = table.child(slot)
            if child is None:
                yield from table.lock.read_unlock(cpu)
                break
            cursor.path.append(table)
            table = child
        cpu.work(space.cost.lock_node, LOCK_PAGE_TABLE)
        yield from table.lock.write_lock(cpu)
        if table.stray:
            raise ModelError(f"{cpu} has locked the stray {table!r}")
        cursor.covering = table
        cursor.locked.append(table)

    def unlock(self, cursor: Cursor) -> Steps[None]:
        yield from cursor.locked.pop().lock.write_unlock(cursor.cpu)
        while cursor.path:
            yield from cursor.path.pop().lock.read_unlock(cursor.cpu)

    def adopt(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """Nothing to lock: the covering page's write lock covers the child."""
        return
        yield

    def disown(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """Nobody else can be inside, but TLBs may still walk it: it is freed after the flush."""
        for table in child.tables():
            table.stray = True
            cursor.unlinked.append(table)
        return
        yield
