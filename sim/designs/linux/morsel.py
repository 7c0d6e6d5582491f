"""A morsel: a subtree of page tables that belongs to no process, and what a kernel has of them.

    process A   PGD - PUD - [entry, rw] --.
                                           `--> root - tables - pages      the morsel
    process B   PGD - PUD - [entry, r] ---'
                ^ the process's own       ^ its frames, whoever maps it

Nothing is kept beside the tables: no reference count, no registry, no list of who maps it. So *contents*, by
the frame of the root, is no table of the kernel but what lies in memory there: whoever has an ID reads it.
`linked` is the model's own knowledge, for those who check.

Invariants: entries of its tables allow everything; a table or page that it has is linked at one place in it,
and in no process's own tables; where upper tables are built from the beginning and have not been looked at,
only their frames are there (`built`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.errors import ModelError
from sim.mm import (
    EXECUTE,
    READ_WRITE,
    PageTablePage,
    Present,
    Reference,
    frame_in,
    has_meta,
    morsel_id,
    morsel_pages,
    order_of,
)
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sim.designs.linux.morsel_spec import MorselCosts, MorselSpec
    from sim.designs.linux.vma import Vma
    from sim.engine.costs import AtClock
    from sim.hardware import CacheLine, Machine
    from sim.mm import Footprint, PhysicalMemory

ALL_RIGHTS: Final = READ_WRITE | EXECUTE


def new_table(machine: Machine, level: int, page: int, frame: int, home: int, maker: int) -> PageTablePage:
    """An empty table of a morsel, in *frame*, on the way to its page *page*."""
    table = PageTablePage(machine, level, page, frame, home, maker=maker)
    table.lock_free = True
    return table


class MetaPage:
    """A page that says where a morsel is: its ID, and at which page it is to be mapped (*fixed*).

    It is read-only once it is written: processes read its *line* and nobody writes it.
    """

    __slots__ = ("fixed", "frame", "line", "morsel")

    def __init__(self, frame: int, line: CacheLine, morsel: Morsel, fixed: int | None) -> None:
        self.frame = frame
        self.line = line
        self.morsel = morsel
        self.fixed = fixed


class Morsel:
    """One of *order*, whose root is a table or, of order 0, a page.

    *built* has, by level, the frames of tables that are linked and that nobody has looked at yet, -1 for
    those that are tables by now; *home* is the socket in whose memory they lie. *linked* are the mappings
    that refer to the root. *pages* counts data pages, *tables* table pages, the root included.
    """

    __slots__ = ("built", "home", "linked", "meta", "order", "pages", "root", "tables")

    def __init__(self, order: int, root: PageTablePage | Present, home: int) -> None:
        self.home = home
        self.order = order
        self.root = root
        self.built: dict[int, list[int]] = {}
        self.linked: dict[Vma, None] = {}
        self.meta: MetaPage | None = None
        self.pages = 0 if order else 1
        self.tables = 1 if order else 0

    def __repr__(self) -> str:
        return f"morsel of order {self.order} in frame {self.root.frame}"

    @property
    def id(self) -> int:
        """What processes call it."""
        if self.meta is not None:
            return morsel_id(self.meta.frame, self.order, meta=True)
        return morsel_id(self.root.frame, self.order)

    @property
    def size(self) -> int:
        """Pages that it may have."""
        return morsel_pages(self.order)

    def child(self, machine: Machine, table: PageTablePage, slot: int, page: int) -> object | None:
        """What is in *slot* of *table*, on the way to *page*: a table, or a page.

        A table that was built from the beginning becomes an object of the model here.
        """
        entry: object | None = table.entries[slot]
        if entry is None and self.built and (frames := self.built.get(table.level - 1)) is not None:
            place = page >> 9 * (table.level - 1)
            frame, frames[place] = frames[place], -1
            maker = table.meta.owner
            assert maker is not None
            found = new_table(machine, table.level - 1, page, frame, self.home, maker)
            table.set(slot, found)
            return found
        return entry

    def frames(self) -> Iterator[int]:
        """All frames that it has, that of its meta page aside."""
        if isinstance(self.root, Present):
            yield self.root.frame
            return
        for table in self.root.tables():
            yield table.frame
            if table.level == 1:
                yield from (entry.frame for entry in table.entries if isinstance(entry, Present))
        for frames in self.built.values():
            yield from (frame for frame in frames if frame >= 0)


class Morsels:
    """All morsels of a kernel, by what lies where in memory."""

    __slots__ = ("_footprint", "contents", "cost", "lock_free", "prebuilt")

    def __init__(self, spec: MorselSpec, cost: AtClock[MorselCosts], footprint: Footprint) -> None:
        self.prebuilt = spec.prebuilt
        self.lock_free = spec.fault_lock == "none"
        self.cost = cost
        self._footprint = footprint
        self.contents: dict[int, Morsel | MetaPage] = {}

    def at(self, asked: int) -> Morsel | MetaPage | None:
        """What the ID *asked* names; None for what is no ID.

        Raises `ModelError` for one that names nothing any more: the kernel would take whatever lies there for
        a page table, and nobody could say what happens then.
        """
        order = order_of(asked)
        if order is None:
            return None
        found = self.contents.get(frame_in(asked))
        morsel = found.morsel if isinstance(found, MetaPage) else found
        if morsel is None or morsel.order != order or isinstance(found, MetaPage) != has_meta(asked):
            raise ModelError(f"nothing lies in frame {frame_in(asked)} that the ID {asked:#x} could name")
        return found

    def count_tables(self, morsel: Morsel, tables: int) -> None:
        """*morsel* has so many tables more."""
        morsel.tables += tables
        self._footprint.add("page_table", tables * PAGE_BYTES)

    def count_root(self, morsel: Morsel) -> None:
        """*morsel* is new, and its root is a table or not."""
        self._footprint.add("page_table", morsel.tables * PAGE_BYTES)

    def distinct(self) -> Iterator[Morsel]:
        """Each morsel once."""
        for found in self.contents.values():
            yield found.morsel if isinstance(found, MetaPage) else found

    # -- the end state --------------------------------------------------------------------------------------

    def references(self) -> Iterator[Reference]:
        """Tables and pages are the morsel's, whoever maps it."""
        for morsel in self.distinct():
            for frame in morsel.frames():
                yield Reference(frame, f"{morsel!r}, frame", frame)
            if morsel.meta is not None:
                yield Reference(morsel.meta.frame, f"the meta page of {morsel!r}, frame", morsel.meta.frame)

    def contradictions(self, memory: PhysicalMemory, vmas: Iterable[Vma]) -> Iterator[str]:
        """Tables fit their place and count right, entries allow everything; who maps it knows it."""
        linked: dict[Morsel, set[Vma]] = {}
        for vma in vmas:
            if vma.morsel is not None:
                linked.setdefault(vma.morsel, set()).add(vma)
        for morsel in self.distinct():
            if set(morsel.linked) != linked.pop(morsel, set()):
                yield f"{morsel!r} and those who map it do not agree"
            yield from _tables_fit(morsel)
            for frame in morsel.frames():
                if memory.in_use.owners(frame) != 1:
                    yield f"frame {frame} of {morsel!r} has {memory.in_use.owners(frame)} owners"
        for morsel in linked:
            yield f"{morsel!r} is mapped and gone"


def _tables_fit(morsel: Morsel) -> Iterator[str]:
    root = morsel.root
    if isinstance(root, Present):
        return
    tables, pages = 0, 0
    if (root.level, root.base) != (morsel.order, 0):
        yield f"the root of {morsel!r} is {root!r}"
    for table in root.tables():
        tables += 1
        span = 1 << 9 * (table.level - 1)
        for slot, entry in enumerate(table.entries):
            if isinstance(entry, PageTablePage):
                if (entry.level, entry.base) != (table.level - 1, table.base + slot * span):
                    yield f"{entry!r} is linked in slot {slot} of {table!r}"
            elif entry is not None:
                pages += 1
                if not isinstance(entry, Present) or table.level > 1 or entry.rights != ALL_RIGHTS:
                    yield f"slot {slot} of {table!r} in {morsel!r} is {entry}"
    tables += sum(frame >= 0 for frames in morsel.built.values() for frame in frames)
    if (tables, pages) != (morsel.tables, morsel.pages):
        counts = f"{morsel.tables} tables and {morsel.pages} pages"
        yield f"{morsel!r} counts {counts}: {tables} and {pages} are there"
