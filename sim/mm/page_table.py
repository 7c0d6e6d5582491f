"""Page tables that really exist, of four levels or of five.

Levels are numbered as the hardware does: the root is the highest, 1 holds the entries of 4 KiB pages.
Addresses are page numbers throughout (virtual address / 4096); a table has 512 slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from sim.mm.entries import Present, Status
from sim.mm.present_run import Piece, PresentRun

if TYPE_CHECKING:
    from sim.hardware import CacheLine, Cpu, Fabric, Machine

MAX_LEVELS: Final = 5
SLOTS: Final = 512
_BITS = 9

PAGES_PER_ENTRY: Final = {level: 1 << (_BITS * (level - 1)) for level in range(1, MAX_LEVELS + 2)}
"""Pages that one entry of a table of that level covers."""

PTES_PER_LINE: Final = 8


def slot_of(page: int, level: int) -> int:
    """Index of *page* in a table of *level*."""
    return page >> (_BITS * (level - 1)) & (SLOTS - 1)


class PageTablePage:
    """One page of the table, with the lock and metadata a design gives it.

    *fill* stands in every slot that is not in *entries*: a table made by pushing down a status begins full
    of it. *meta* is the line of the page's descriptor (lock word, counters); lines of entries are made on
    first use. *stray* says that the page has been unlinked and must not be used. A table that was filled in
    bulk has a `PresentRun` as *entries*; *lines_owner* is the cpu that wrote them, and has their lines.
    *metadata* says of some slots what a present entry cannot: what its page was before it came. *array* is
    the memory for such things beside the table, in designs that have it.
    """

    __slots__ = (
        "_lines",
        "_machine",
        "array",
        "base",
        "entries",
        "fill",
        "frame",
        "home",
        "level",
        "lines_owner",
        "lock",
        "meta",
        "metadata",
        "present",
        "stray",
    )

    def __init__(
        self,
        machine: Machine,
        level: int,
        page: int,
        frame: int,
        home: int,
        *,
        maker: int,
        fill: Status | None = None,
    ) -> None:
        self.level = level
        self.base = page - page % PAGES_PER_ENTRY[level + 1]
        self.frame = frame
        self.home = home
        self.entries: dict[int, PageTablePage | Present | Status | None] = {}
        self.fill = fill
        self.present = SLOTS if fill else 0
        self.stray = False
        self.meta: CacheLine = machine.line(f"L{level} table {self.base:#x}", home, owner=maker)
        self.lock: Any = None
        self._machine = machine
        self._lines: dict[int, CacheLine] = {}
        self.lines_owner: int | None = None
        self.metadata: dict[int, Status] = {}
        self.array: Any = None

    @property
    def fabric(self) -> Fabric:
        """What its lines travel over."""
        return self._machine.fabric

    def __repr__(self) -> str:
        return f"L{self.level} table of page {self.base:#x}"

    def line(self, slot: int) -> CacheLine:
        """The cache line that holds the entry in *slot*."""
        index = slot // PTES_PER_LINE
        line = self._lines.get(index)
        if line is None:
            owner = self.meta.owner if self.lines_owner is None else self.lines_owner
            line = self._lines[index] = self._machine.line(
                f"entries {index * PTES_PER_LINE}.. of {self!r}", self.home, owner=owner
            )
        return line

    def get(self, slot: int) -> PageTablePage | Present | Status | None:
        return self.entries.get(slot, self.fill)

    def set(self, slot: int, entry: PageTablePage | Present | Status | None) -> None:
        """Store an entry; keeps *present*, the number of slots that are not empty."""
        before = self.entries.get(slot, self.fill)
        self.present += (entry is not None) - (before is not None)
        self.entries[slot] = entry

    def count(self) -> int:
        """The slots that are not empty, counted again."""
        own = sum(entry is not None for entry in self.entries.values())
        others_too = self.fill is not None or self.run is not None
        return own + (SLOTS - len(self.entries) if others_too else 0)

    # -- many entries at a time -----------------------------------------------------------------------------

    @property
    def run(self) -> PresentRun | None:
        """Its entries, if it was filled in bulk."""
        entries = self.entries
        return entries if isinstance(entries, PresentRun) else None

    @property
    def untouched(self) -> bool:
        """Whether no entry of it is present and none has been written since it was made."""
        return not self.entries and self.run is None and not self._lines

    def is_new(self, slot: int, stop: int) -> bool:
        """Whether nothing has ever been stored in slots [*slot*, *stop*)."""
        return self.fill is None and self.run is None and self.entries.keys().isdisjoint(range(slot, stop))

    def set_new(self, slot: int, stop: int, entry: Status) -> None:
        """`set` of each of these slots, which are new."""
        self.present += stop - slot
        self.entries.update(dict.fromkeys(range(slot, stop), entry))

    def fill_with(self, run: PresentRun, cpu: Cpu) -> None:
        """*cpu*, which has its lock, has written all entries of an `untouched` table of level 1."""
        self.entries, self.fill, self.present = run, None, SLOTS
        self.lines_owner = cpu.id

    def written_alone(self, slot: int, stop: int, cpu: Cpu) -> int:
        """How far from *slot* on, up to *stop*, *cpu* may write entries without asking for their lines."""
        owner = self.meta.owner if self.lines_owner is None else self.lines_owner
        for index in range(slot // PTES_PER_LINE, (stop - 1) // PTES_PER_LINE + 1):
            line = self._lines.get(index)
            if not (owner == cpu.id if line is None else line.exclusive_to(cpu)):
                return max(slot, index * PTES_PER_LINE)
        return stop

    def clear_run(self, slot: int, stop: int, cpu: Cpu) -> None:
        """*cpu* has cleared the present entries of slots [*slot*, *stop*), whose lines it has."""
        run = self.run
        assert run is not None
        self.present -= stop - slot
        if self.present:
            run.clear_slots(slot, stop)
            for index in range(slot // PTES_PER_LINE, (stop - 1) // PTES_PER_LINE + 1):
                self.line(index * PTES_PER_LINE)
        else:
            self.entries, self.lines_owner = {}, cpu.id

    def child(self, slot: int) -> PageTablePage | None:
        entry = self.entries.get(slot, self.fill)
        return entry if entry.__class__ is PageTablePage else None

    def rebase(self, page: int) -> None:
        """It is, or will be, linked where *page* is looked up: it covers other pages from now on, and so do
        the tables below it."""
        self.base = page - page % PAGES_PER_ENTRY[self.level + 1]
        for slot in self.entries:
            if (child := self.child(slot)) is not None:
                child.rebase(self.base + slot * PAGES_PER_ENTRY[self.level])

    def walk(self, page: int) -> Present | None:
        """The hardware's walk from here: the leaf entry of *page*, if it is present."""
        table = self
        while True:
            entry = table.entries.get(slot_of(page, table.level), table.fill)
            if entry.__class__ is PageTablePage:
                table = entry
            else:
                return entry if entry.__class__ is Present else None

    def walk_line(self, page: int) -> CacheLine:
        """The line at which the hardware's walk to *page* ends."""
        table = self.deepest(page)
        return table.line(slot_of(page, table.level))

    def deepest(self, page: int) -> PageTablePage:
        """The last table on the way to *page*."""
        table = self
        while (child := table.child(slot_of(page, table.level))) is not None:
            table = child
        return table

    def entry_of(self, page: int) -> Present | Status | None:
        """What stands for *page* in this table, the last one on the way to it."""
        entry = self.entries.get(slot_of(page, self.level), self.fill)
        assert not isinstance(entry, PageTablePage)
        return entry

    def tables(self) -> Iterator[PageTablePage]:
        """This page and all below it, in pre-order."""
        yield self
        if self.level == 1:
            return
        for slot in sorted(self.entries):
            child = self.child(slot)
            if child is not None:
                yield from child.tables()

    def present_entries(self) -> Iterator[tuple[int, Present]]:
        """All present leaf entries below, each behind its first page."""
        for slot in sorted(self.entries) if self.run is None else range(SLOTS):
            entry = self.entries.get(slot)
            if isinstance(entry, PageTablePage):
                yield from entry.present_entries()
            elif isinstance(entry, Present):
                yield self.base + slot * PAGES_PER_ENTRY[self.level], entry

    def present_pieces(self) -> Iterator[Piece]:
        """The same, with those that were made in bulk together and behind the others of their table."""
        run = self.run
        for slot in sorted(self.entries):
            entry = self.entries[slot]
            if isinstance(entry, PageTablePage):
                yield from entry.present_pieces()
            elif isinstance(entry, Present):
                yield self.base + slot * PAGES_PER_ENTRY[self.level], entry
        if run is not None:
            yield from run.alike(self.base, SLOTS)


def new_root(machine: Machine, socket: int, maker: int) -> PageTablePage:
    """An empty table of as many levels as the machine's are; it came with the process, from no allocator."""
    return PageTablePage(machine, machine.spec.page_tables.levels, 0, -1, socket, maker=maker)
