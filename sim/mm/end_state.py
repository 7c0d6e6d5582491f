"""What a space says of itself when no thread runs: its mappings, its tables, the counters that it keeps."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sim.mm.entries import NOTHING, Present, Rights, Status, rights_text
from sim.mm.page_table import PAGES_PER_ENTRY, SLOTS, PageTablePage
from sim.mm.present_run import Alike


class Mapped(NamedTuple):
    """The pages [start, end), which may be touched as *rights* say.

    *shared*: a write is seen by all who map the same.
    """

    start: int
    end: int
    rights: Rights
    shared: bool = False

    def __str__(self) -> str:
        return f"{self.start:#x}-{self.end:#x} ({rights_text(self.rights)})"


class Kept(NamedTuple):
    """A counter that a kernel keeps: its value, and what a recount gives."""

    name: str
    value: int
    recount: int


class Walk(NamedTuple):
    """All tables of a space, parents first, and its present entries, each behind its first page.

    *alike* are those that were made in bulk and have not been looked at since; they are not in *present*.
    *shared* are the tables that other spaces may have, too.
    """

    tables: list[PageTablePage]
    present: list[tuple[int, Present]]
    alike: Sequence[Alike] = ()
    shared: Sequence[PageTablePage] = ()

    def without(self, tables: Collection[PageTablePage]) -> Walk:
        """The entries of all tables but *tables*, which are of level 1."""
        if not tables:
            return self
        out = {table.base for table in tables}
        present = [each for each in self.present if each[1].level > 1 or each[0] & -SLOTS not in out]
        alike = [each for each in self.alike if each.page & -SLOTS not in out]
        return self._replace(present=present, alike=alike)


def marked(root: PageTablePage) -> list[Mapped]:
    """What a table says of its pages, present ones and marks alike; neighbours that may be used in the same
    way are one."""
    runs: list[Mapped] = []
    start = end = 0
    its = (NOTHING, False)

    def add(page: int, stop: int, rights: Rights, shared: bool) -> None:
        nonlocal start, end, its
        if page != end or (rights, shared) != its:
            if start < end:
                runs.append(Mapped(start, end, *its))
            start, its = page, (rights, shared)
        end = stop

    def visit(table: PageTablePage) -> None:
        base, span, entries, run = table.base, PAGES_PER_ENTRY[table.level], table.entries, table.run
        if run is not None and run.is_mapped_alike():
            add(base, base + SLOTS * span, run.rights, False)
            return
        slot = 0
        while slot < SLOTS:
            entry, page = entries[slot], base + slot * span
            slot += 1
            if entry is None:
                continue
            if isinstance(entry, PageTablePage):
                visit(entry)
            elif isinstance(entry, Status):
                while slot < SLOTS and entries[slot] is entry:
                    slot += 1
                add(page, base + slot * span, entry.rights, entry.shared)
            elif isinstance(entry, Present):
                was = table.metadata.get(slot - 1)
                while not table.metadata and slot < SLOTS and _alike(entries[slot], entry):
                    slot += 1
                add(page, base + slot * span, entry.rights, was is not None and was.shared)
            else:  # the run speaks of it
                assert run is not None
                add(page, page + span, run.rights, False)

    visit(root)
    if start < end:
        runs.append(Mapped(start, end, *its))
    return runs


def _alike(other: object, entry: Present) -> bool:
    """Whether *other* is a page that may be used as *entry* may."""
    return isinstance(other, Present) and other.rights == entry.rights
