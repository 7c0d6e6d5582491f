"""Page tables that really exist, of four levels or of five.

Levels are numbered as the hardware does: the root is the highest, 1 holds the entries of 4 KiB pages.
Addresses are page numbers throughout (virtual address / 4096); a table has 512 slots.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from sim.hardware import EntryLine
from sim.mm.entries import Present, Rights, Status
from sim.mm.present_run import SAID, Piece, PresentRun

if TYPE_CHECKING:
    from sim.hardware import CacheLine, Cpu, Fabric, Machine
    from sim.mm.sharing import Sharing

MAX_LEVELS: Final = 5
SLOTS: Final = 512
_BITS: Final = 9

PAGES_PER_ENTRY: Final = {level: 1 << (_BITS * (level - 1)) for level in range(1, MAX_LEVELS + 2)}
"""Pages that one entry of a table of that level covers."""

PTES_PER_LINE: Final = 8


def slot_of(page: int, level: int) -> int:
    """Index of *page* in a table of *level*."""
    return page >> (_BITS * (level - 1)) & (SLOTS - 1)


class PageTablePage:
    """One page of the table, with the lock and metadata a design gives it.

    *entries* has what is in each slot. A table made by pushing down a status begins full of it: *fill*.
    *meta* is the line of the page's descriptor (lock word, counters); lines of entries are made on first use,
    and until then it is only known who has them. *stray* says that the page has been unlinked and must not be
    used. A table that was filled in bulk has a *run*, which says what its slots have that hold `SAID`;
    *lines_owner* is the cpu that wrote them, and has their lines. *metadata* says of some slots what a
    present entry cannot: what its page was before it came. *array* is the memory for such things beside the
    table, in designs that have it. *sharing* is there while the tables of several processes lead to it.
    *lock_free*: its entries are set by compare-and-swap alone.
    """

    __slots__ = (
        "_label",
        "_lines",
        "_machine",
        "_owners",
        "array",
        "base",
        "entries",
        "fill",
        "frame",
        "home",
        "level",
        "lines_owner",
        "lock",
        "lock_free",
        "meta",
        "metadata",
        "present",
        "run",
        "sharing",
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
        self.entries: list[Any] = [fill] * SLOTS
        self.run: PresentRun | None = None
        self.fill = fill
        self.present = SLOTS if fill else 0
        self.stray = False
        self._label = f"L{level} table of page {self.base:#x}"
        """What it was when it was made: the names of its lines say so."""
        self.meta: CacheLine = machine.line(f"L{level} table {self.base:#x}", home, owner=maker)
        self.lock: Any = None
        self.lock_free = False
        self._machine = machine
        self._lines: dict[int, CacheLine] = {}
        self._owners: dict[int, int] = {}
        """Of lines that have been written and are still to be made."""
        self.lines_owner: int | None = None
        self.metadata: dict[int, Status] = {}
        self.array: Any = None
        self.sharing: Sharing | None = None

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
            fabric, first = self._machine.fabric, index * PTES_PER_LINE
            name, owner = f"entries {first}.. of {self._label}", self._owner(index)
            if fabric.heard_entries:
                line = EntryLine(fabric, name, self.home, owner, self, first)
            else:
                line = self._machine.line(name, self.home, owner=owner)
            self._lines[index] = line
            self._owners.pop(index, None)
        return line

    def _owner(self, index: int) -> int:
        """The cpu that has the line of that number, which has not been made yet."""
        return self._owners.get(index, self.meta.owner if self.lines_owner is None else self.lines_owner)

    def get(self, slot: int) -> PageTablePage | Present | Status | None:
        entry = self.entries[slot]
        return self._single_out(slot) if entry is SAID else entry

    def set(self, slot: int, entry: PageTablePage | Present | Status | Subtree | None) -> None:
        """Store an entry; keeps *present*, the number of slots that are not empty."""
        entries = self.entries
        if entries[slot] is None:
            if entry is not None:
                self.present += 1
                if self.run is not None:
                    self.run.refilled.add(slot)
        elif entry is None:
            self.present -= 1
        entries[slot] = entry

    def _single_out(self, slot: int) -> Present:
        """The entry in *slot*, of which the run speaks, stands for itself from now on."""
        assert self.run is not None
        entry = self.entries[slot] = self.run.said(slot)
        return entry

    # -- many entries at a time -----------------------------------------------------------------------------

    @property
    def untouched(self) -> bool:
        """Whether no entry of it is present and none has been written since it was made."""
        if self._lines or self._owners or self.run is not None:
            return False
        fill = self.fill
        return all(entry is fill for entry in self.entries)

    def is_empty(self, slot: int, stop: int) -> bool:
        """Whether nothing is in slots [*slot*, *stop*)."""
        return all(entry is None for entry in self.entries[slot:stop])

    def fill_empty(self, slot: int, stop: int, entry: Status) -> None:
        """`set` of each of these slots, which are empty."""
        self.present += stop - slot
        self.entries[slot:stop] = [entry] * (stop - slot)

    def own_and_empty(self, slot: int, stop: int, cpu: Cpu) -> int:
        """How far from *slot* on, up to *stop*, slots are empty and on lines that *cpu* has and nobody has
        asked for yet."""
        lines, index, end = self._lines, slot // PTES_PER_LINE, slot
        if lines or self._owners:
            while end < stop and index not in lines and self._owner(index) == cpu.id:
                index += 1
                end = index * PTES_PER_LINE
        elif self._owner(index) == cpu.id:
            end = stop
        end = min(end, stop)
        if self.present:
            entries = self.entries
            return next((each for each in range(slot, end) if entries[each] is not None), end)
        return end

    def written_by(self, slot: int, stop: int, cpu: Cpu) -> None:
        """*cpu* has written slots [*slot*, *stop*), which were `own_and_empty`: it keeps their lines."""
        indices = range(slot // PTES_PER_LINE, (stop - 1) // PTES_PER_LINE + 1)
        self._owners.update(dict.fromkeys(indices, cpu.id))

    def fill_with(self, run: PresentRun, cpu: Cpu) -> None:
        """*cpu*, which has its lock, has written all entries of an `untouched` table of level 1."""
        self.run, self.entries, self.fill, self.present = run, run.entries, None, SLOTS
        self.lines_owner = cpu.id

    def written_alone(self, slot: int, stop: int, cpu: Cpu) -> int:
        """How far from *slot* on, up to *stop*, *cpu* may write entries without asking for their lines."""
        for index in range(slot // PTES_PER_LINE, (stop - 1) // PTES_PER_LINE + 1):
            line = self._lines.get(index)
            if not (self._owner(index) == cpu.id if line is None else line.exclusive_to(cpu)):
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
            self.run, self.entries, self.lines_owner = None, [None] * SLOTS, cpu.id

    def child(self, slot: int) -> PageTablePage | None:
        entry = self.entries[slot]
        return entry if isinstance(entry, PageTablePage) else None

    def rebase(self, page: int) -> None:
        """It is, or will be, linked where *page* is looked up: it covers other pages from now on, and so do
        the tables below it."""
        self.base = page - page % PAGES_PER_ENTRY[self.level + 1]
        for slot, child in enumerate(self.entries):
            if isinstance(child, PageTablePage):
                child.rebase(self.base + slot * PAGES_PER_ENTRY[self.level])

    def walk(self, page: int) -> Present | None:
        """The hardware's walk from here: the leaf entry of *page*, if it is present."""
        table = self
        while True:
            entry = table.entries[slot_of(page, table.level)]
            if isinstance(entry, PageTablePage):
                table = entry
            elif entry is SAID:
                return table._single_out(slot_of(page, 1))
            elif type(entry) is Present:
                return entry
            else:
                return entry.walk(page) if type(entry) is Subtree else None

    def guards(self, page: int) -> bool:
        """Whether the entry above the last table on the way to *page* forbids writes."""
        sharing = self.deepest(page).sharing
        return sharing is not None and sharing.guarded

    def allowed(self, page: int) -> Present | None:
        """`walk`, with no more rights than all entries on the way leave."""
        entry = self.walk(page)
        if entry is not None and entry.writable and self.guards(page):
            return entry.guarded()
        return entry

    def walk_line(self, page: int) -> CacheLine:
        """The line at which the hardware's walk to *page* ends."""
        table = self.deepest(page)
        slot = slot_of(page, table.level)
        entry = table.entries[slot]
        if type(entry) is Subtree and type(entry.root) is PageTablePage:
            return entry.root.walk_line(page)
        return table.line(slot)

    def deepest(self, page: int) -> PageTablePage:
        """The last table on the way to *page* that belongs to this tree."""
        table = self
        while (child := table.child(slot_of(page, table.level))) is not None:
            table = child
        return table

    def entry_of(self, page: int) -> Present | Status | None:
        """What stands for *page* in this table, the last one on the way to it."""
        entry = self.get(slot_of(page, self.level))
        assert not isinstance(entry, PageTablePage)
        return entry

    def tables(self) -> Iterator[PageTablePage]:
        """This page and all below it, in pre-order."""
        yield self
        if self.level == 1:
            return
        for child in self.entries:
            if isinstance(child, PageTablePage):
                yield from child.tables()

    def present_entries(self) -> Iterator[tuple[int, Present]]:
        """All present leaf entries below, each behind its first page."""
        for slot, entry in enumerate(self.entries):
            if entry is None:
                continue
            if entry is SAID:
                entry = self._single_out(slot)
            if isinstance(entry, PageTablePage):
                yield from entry.present_entries()
            elif isinstance(entry, Present):
                yield self.base + slot * PAGES_PER_ENTRY[self.level], entry
            elif isinstance(entry, Subtree):
                yield from entry.present_entries(self.base + slot * PAGES_PER_ENTRY[self.level])

    def present_pieces(self) -> Iterator[Piece]:
        """The same, in the same order, with those together of which a run speaks."""
        slot, entries = 0, self.entries
        while slot < SLOTS:
            entry, page = entries[slot], self.base + slot * PAGES_PER_ENTRY[self.level]
            if entry is SAID:
                assert self.run is not None
                alike = self.run.alike_from(slot, page)
                slot += len(alike.frames)
                yield alike
                continue
            slot += 1
            if isinstance(entry, PageTablePage):
                yield from entry.present_pieces()
            elif isinstance(entry, Present):
                yield page, entry
            elif isinstance(entry, Subtree):
                yield from entry.present_entries(page)


class Subtree:
    """What an entry says that refers to the tables of an object, which are not this process's.

    *root* is the object's highest table, or its only page. Several entries may refer to it, in tables of
    several processes: so its tables know no address, and count from its own page 0 on. *rights* are those of
    this reference; entries below allow everything, and the hardware lets through what all on its way allow.
    What it notes below (accessed, dirty) is not kept: nobody asks for it. *owner* is the object.
    """

    __slots__ = ("owner", "rights", "root")

    def __init__(self, root: PageTablePage | Present, rights: Rights, owner: object = None) -> None:
        self.root = root
        self.owner = owner
        self.rights = rights

    @property
    def level(self) -> int:
        """The level of the tables that may refer to it."""
        return self.root.level + 1 if isinstance(self.root, PageTablePage) else 1

    def walk(self, page: int) -> Present | None:
        """What the hardware finds of *page* here."""
        root = self.root
        found = root.walk(page) if isinstance(root, PageTablePage) else root
        return None if found is None else self._seen(found)

    def present_entries(self, base: int) -> Iterator[tuple[int, Present]]:
        """All that is there of the object, which is mapped from page *base* on."""
        if isinstance(self.root, Present):
            yield base, self._seen(self.root)
            return
        for page, entry in self.root.present_entries():
            yield base + page, self._seen(entry)

    def _seen(self, entry: Present) -> Present:
        return entry.with_rights(entry.rights & self.rights)


def new_root(machine: Machine, socket: int, maker: int) -> PageTablePage:
    """An empty table of as many levels as the machine's are; it came with the process, from no allocator."""
    return PageTablePage(machine, machine.spec.page_tables.levels, 0, -1, socket, maker=maker)
