"""What a space says of itself when no thread runs: its mappings, its tables, the counters that it keeps."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
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
    """

    tables: list[PageTablePage]
    present: list[tuple[int, Present]]
    alike: Sequence[Alike] = ()


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
        base, span, entries, fill = table.base, PAGES_PER_ENTRY[table.level], table.entries, table.fill
        if len(entries) == SLOTS and not table.metadata and set(map(type, entries.values())) == {Present}:
            everywhere = set(map(attrgetter("rights"), entries.values()))
            if len(everywhere) == 1:
                add(base, base + SLOTS * span, everywhere.pop(), False)
                return
        if table.run is not None and all(entry == table.run.said(slot) for slot, entry in entries.items()):
            add(base, base + SLOTS * span, table.run.rights, False)
            return
        following = base
        for slot in sorted(entries) if table.run is None else range(SLOTS):
            entry, page = entries.get(slot), base + slot * span
            if fill is not None and following < page:
                add(following, page, fill.rights, fill.shared)
            following = page + span
            if isinstance(entry, PageTablePage):
                visit(entry)
            elif isinstance(entry, Status):
                add(page, following, entry.rights, entry.shared)
            elif entry is not None:
                was = table.metadata.get(slot)
                add(page, following, entry.rights, was is not None and was.shared)
        if fill is not None and following < base + SLOTS * span:
            add(following, base + SLOTS * span, fill.rights, fill.shared)

    visit(root)
    if start < end:
        runs.append(Mapped(start, end, *its))
    return runs
