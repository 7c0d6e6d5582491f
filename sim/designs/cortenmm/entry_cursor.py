"""A range that is operated on entry by entry (protocol `nontransactional`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from sim.designs.cortenmm.cursor import Cursor
from sim.engine import Steps
from sim.mm import PAGE_TABLE, PAGES_PER_ENTRY, PageTablePage, Piece, Present, Status, slot_of

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm
    from sim.hardware import Cpu

T = TypeVar("T")


class EntryCursor(Cursor):
    """Nothing is locked while it exists: each operation locks and unlocks one entry after the other.

    What is empty is seen without a lock and passed over, but by `mark`.
    """

    __slots__ = ("_holes",)

    whole: ClassVar[bool] = False

    def __init__(self, space: CortenMm, cpu: Cpu, start: int, end: int) -> None:
        super().__init__(space, cpu, start, end)
        self._holes = False

    def apart(self, body: Callable[[Cursor], Steps[T]]) -> Steps[list[T]]:
        return self._each(body, holes_too=False)

    def _each(self, body: Callable[[Cursor], Steps[T]], *, holes_too: bool) -> Steps[list[T]]:
        values = []
        page = self.start
        while page < self.end:
            table = self.space.root.deepest(page)
            if not holes_too and (yield from self._is_hole(table, page)):
                self._holes = True
                span = PAGES_PER_ENTRY[table.level]
                page += span - page % span
                continue
            stop = page + self._pages_of_entry(self.space.root.deepest(page), page)
            part = yield from self.space.lock(self.cpu, page, stop)
            values.append((yield from body(part)))
            if part.locked:
                yield from self.space.unlock(part)
            page = stop
        return values

    def _is_hole(self, table: PageTablePage, page: int) -> Steps[bool]:
        """Whether nothing is in *table*, the last on the way, for *page*: a look without the lock."""
        slot = slot_of(page, table.level)
        if table.get(slot) is not None:
            return False
        self.cpu.work(self.space.cost.walk_level, PAGE_TABLE)
        yield from self.load(table, slot)
        return table.get(slot) is None

    def _pages_of_entry(self, table: PageTablePage, page: int) -> int:
        """How many pages, from *page* on, an entry of *table* stands for and the range has."""
        return max(
            pages
            for level, pages in PAGES_PER_ENTRY.items()
            if level <= table.level and page % pages == 0 and page + pages <= self.end
        )

    def query(self, page: int) -> Steps[PageTablePage | Present | Status | None]:
        if (yield from self._is_hole(self.space.root.deepest(page), page)):
            return None
        part = yield from self.space.lock(self.cpu, page, page + 1)
        entry = yield from part.query(page)
        yield from self.space.unlock(part)
        return entry

    def is_clear(self) -> Steps[bool]:
        return all((yield from self.apart(Cursor.is_clear)))

    def mark(self, status: Status) -> Steps[list[Piece]]:
        """What was replaced has been flushed, entry by entry: nothing is left for the caller."""
        yield from self._each(lambda part: self._ending(part, part.mark(status)), holes_too=True)
        return []

    def unmap(self) -> Steps[list[Piece]]:
        """As `mark`."""
        self.cpu.work(self.space.cost.unmap_range, PAGE_TABLE)
        yield from self.apart(lambda part: self._ending(part, part.clear()))
        return []

    def _ending(self, part: Cursor, change: Steps[list[Piece]]) -> Steps[None]:
        removed = yield from change
        yield from self.space.unlock_and_flush(part, removed)

    def discard(self) -> Steps[tuple[list[tuple[int, Present]], bool]]:
        parts = yield from self.apart(Cursor.discard)
        holes = self._holes or any(holes for _, holes in parts)
        return [each for removed, _ in parts for each in removed], holes

    def has_holes(self) -> Steps[bool]:
        parts = yield from self.apart(Cursor.has_holes)
        return self._holes or any(parts)
