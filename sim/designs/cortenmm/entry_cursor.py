"""A range that is operated on entry by entry (protocol `nontransactional`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from sim.designs.cortenmm.cursor import Cursor
from sim.engine import Steps
from sim.mm import (
    PAGE_TABLE,
    PAGES_PER_ENTRY,
    Errno,
    OutOfMemory,
    PageTablePage,
    Piece,
    Present,
    Status,
    slot_of,
)

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm
    from sim.hardware import Cpu

T = TypeVar("T")


class Taken(Exception):
    """Somebody else has mapped the first page of a place that was free when it was chosen."""


class EntryCursor(Cursor):
    """Nothing is locked while it exists: each operation locks and unlocks one entry after the other.

    What is empty is seen without a lock and passed over, but by `mark`. Where there is no memory for a table
    on the way to an entry, what has been done to those before stays done, but for `mark`, which clears them.
    *fresh*: its pages were free when they were chosen.
    """

    __slots__ = ("_holes", "fresh")

    whole: ClassVar[bool] = False

    def __init__(self, space: CortenMm, cpu: Cpu, start: int, end: int) -> None:
        super().__init__(space, cpu, start, end)
        self.fresh = False
        self._holes = False

    def apart(self, body: Callable[[Cursor], Steps[T]]) -> Steps[list[T]]:
        return self._each(body)

    def _each(
        self,
        body: Callable[[Cursor], Steps[T]],
        part: range | None = None,
        *,
        holes_too: bool = False,
        until: Callable[[T], bool] = lambda _: False,
    ) -> Steps[list[T]]:
        """Do *body* in a transaction for each entry of *part*, *until* one gives such a value.

        Raises `OutOfMemory`.
        """
        where = range(self.start, self.end) if part is None else part
        values: list[T] = []
        page = where.start
        while page < where.stop and not (values and until(values[-1])):
            table = self.space.root.deepest(page)
            if not holes_too and (yield from self._is_hole(table, page)):
                self._holes = True
                span = PAGES_PER_ENTRY[table.level]
                page += span - page % span
                continue
            stop = page + _pages_of_entry(self.space.root.deepest(page), page, where.stop)
            cursor = yield from self.space.lock(self.cpu, page, stop)
            values.append((yield from self.space.within(cursor, body(cursor))))
            if cursor.locked:
                yield from self.space.unlock(cursor)
            page = stop
        return values

    def _is_hole(self, table: PageTablePage, page: int) -> Steps[bool]:
        """Whether nothing is in *table*, the last on the way, for *page*: a look without the lock, in a read
        section, as every walk."""
        slot, rcu = slot_of(page, table.level), self.space.kernel.rcu
        if table.get(slot) is not None:
            return False
        self.cpu.work(self.space.cost.walk_level, PAGE_TABLE)
        rcu.read_lock(self.cpu)
        yield from self.load(table, slot)
        rcu.read_unlock(self.cpu)
        return table.get(slot) is None

    def query(self, page: int) -> Steps[PageTablePage | Present | Status | None]:
        if (yield from self._is_hole(self.space.root.deepest(page), page)):
            return None
        cursor = yield from self.space.lock(self.cpu, page, page + 1)
        entry = yield from cursor.query(page)
        yield from self.space.unlock(cursor)
        return entry

    def is_clear(self, part: range | None = None) -> Steps[bool]:
        return all((yield from self._each(Cursor.is_clear, part)))

    def cut(self, part: range | None = None, *, empty: bool) -> Steps[None]:
        """An entry has no ends inside another one."""
        return
        yield

    def mark(self, status: Status, part: range | None = None) -> Steps[list[Piece]]:
        """What was replaced has been flushed, entry by entry: nothing is left for the caller.

        Raises `Taken` where it is `fresh` and the first page is not free any more, and `OutOfMemory`, with
        nothing mapped where it has been.
        """
        where = range(self.start, self.end) if part is None else part
        done = where.start

        def body(cursor: Cursor) -> Steps[None]:
            nonlocal done
            if (
                self.fresh
                and cursor.start == where.start
                and (yield from cursor.query(where.start)) is not None
            ):
                yield from self.space.unlock(cursor)
                raise Taken
            yield from self._ending(cursor, cursor.mark(status))
            done = cursor.end

        try:
            yield from self._each(body, where, holes_too=True)
        except OutOfMemory:
            yield from self.clear(range(where.start, done))
            raise
        return []

    def clear(self, part: range | None = None) -> Steps[list[Piece]]:
        """As `mark`, but what has been done stays."""
        yield from self._each(lambda cursor: self._ending(cursor, cursor.clear()), part)
        return []

    def _ending(self, cursor: Cursor, change: Steps[list[Piece]]) -> Steps[None]:
        removed = yield from change
        yield from self.space.unlock_and_flush(cursor, removed)

    def discard(self, *, locked: bool) -> Steps[tuple[list[tuple[int, Present | Status]], Errno | None]]:
        """What was there has been given back, entry by entry."""

        def body(cursor: Cursor) -> Steps[Errno | None]:
            removed, refused = yield from cursor.discard(locked=locked)
            yield from self.space.end_discard(cursor, removed)
            return refused

        return [], self._first_refusal((yield from self._each(body, until=_is_locked)))

    def lacks(self, *, unlocked: bool) -> Steps[Errno | None]:
        parts = yield from self._each(lambda cursor: cursor.lacks(unlocked=unlocked), until=_is_locked)
        return self._first_refusal(parts)

    def _first_refusal(self, parts: list[Errno | None]) -> Errno | None:
        if parts and _is_locked(parts[-1]):
            return Errno.EINVAL
        return Errno.ENOMEM if self._holes or any(parts) else None


def _is_locked(refused: Errno | None) -> bool:
    """Whether an entry was refused as locked memory: nothing that follows is looked at."""
    return refused is Errno.EINVAL


def _pages_of_entry(table: PageTablePage, page: int, end: int) -> int:
    """How many pages, from *page* on and up to *end*, an entry of *table* stands for."""
    return max(
        pages
        for level, pages in PAGES_PER_ENTRY.items()
        if level <= table.level and page % pages == 0 and page + pages <= end
    )
