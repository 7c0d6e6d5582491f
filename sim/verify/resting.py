"""What is compared while no thread runs: mappings, entries, contents, frames, files, tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.designs.base import Kernel
from sim.mm import PAGES_PER_ENTRY, ZERO_FRAME, AddressSpace, Present, Status
from sim.verify.contents import Contents
from sim.verify.model import WHATEVER, ZEROS, Frame, Page, Process, Table, covers, tables_over

Place = int | str
"""A frame, or a swap slot, which may have a frame too."""


@dataclass(frozen=True)
class Side:
    """A process of the simulated kernel and what the model has of it."""

    space: Any
    model: Process

    def swapped(self) -> dict[int, int]:
        """The slot of each page that is swapped out."""
        if self.swap is None:
            return {}
        leaves = (table for table in self.space.root.tables() if table.level == 1)
        entries = (each for table in leaves for each in enumerate(table.entries, table.base))
        return {
            page: each.slot for page, each in entries if isinstance(each, Status) and each.slot is not None
        }

    @property
    def swap(self) -> Any:
        """The kernel's swap, if it has any."""
        return self.space.kernel.swap if self.model.rules.swaps else None

    def place(self, page: int) -> Place:
        """Where the contents of *page* are: its frame, or its slot if it has one."""
        entry = self.space.present(page)
        frame = None if entry is None else entry.frame_of(page)
        slot = self.swapped()[page] if frame is None else None
        if frame is not None and self.swap is not None:
            slot = self.swap.slot_of.get(frame)
        return f"slot {slot}" if frame is None or slot is not None else frame

    def version(self, page: int, contents: Contents) -> int | None:
        """What is in *page*, in memory or swapped out; None if there is nothing yet."""
        entry, slot = self.space.present(page), self.swapped().get(page)
        if entry is not None:
            return contents.read(entry.frame_of(page))
        if slot is None:
            return None
        cached = self.swap.frame_of.get(slot)
        return contents.swapped(slot, cached)

    def vmas(self) -> list[tuple[int, int]]:
        """Where the kernel's VMAs begin and end."""
        return [(each.start, each.end) for each in self.space.mappings()]


def mappings(side: Side) -> None:
    """The same pages are mapped, with the same rights."""
    expected = {page: its.rights for page, its in side.model.pages.items()}
    found = {page: each.rights for each in side.space.mappings() for page in range(each.start, each.end)}
    assert found == expected, f"mapped is {_difference(found, expected)}"


def entries(side: Side, contents: Contents) -> None:
    """The same pages are present, with the same rights, dirty bits and contents."""
    huge_pages(side)
    found, swapped = dict(present_pages(side.space)), side.swapped()
    for page in found.keys() & side.model.pages.keys():
        its = side.model.pages[page]
        if its.frame is None and its.file is not None:  # fault-around: what was there may be mapped
            its.frame = its.file.frames.get(its.index)
        elif its.frame is None and its.perhaps_zeros:
            its.frame = ZEROS
    for its in side.model.pages.values():
        its.perhaps_zeros = False
    expected = {page: its for page, its in side.model.pages.items() if its.frame is not None}
    there = found.keys() | swapped.keys()
    assert there == expected.keys(), f"present is {_difference(there, expected.keys())}"
    for page, its in expected.items():
        assert its.frame is not None
        if page in found and not side.model.rules.tells_fills:
            contents.believe(found[page].frame_of(page), its.frame)
        version = side.version(page, contents)
        if its.frame.version == WHATEVER and version is not None:
            its.frame.version = version
        assert version == its.frame.version, (
            f"page {page:#x} holds version {version}, not {its.frame.version}"
        )
        if page in swapped:
            assert its.frame is not ZEROS, f"page {page:#x}, of zeros, is swapped out"
            continue
        entry = found[page]
        assert entry.rights == its.rights, f"page {page:#x} is {entry}, and may be used as {its.rights}"
        assert entry.special == (its.frame is ZEROS), f"page {page:#x} is {entry}"
        one_bit = side.model.rules.huge or its.huge  # for 2 MiB
        dirty = its.dirty or None if one_bit else its.dirty
        known = side.model.rules.dirty_bits and side.swap is None  # a page that has been away is clean
        known = known and dirty is not None and not its.morsel  # nobody asks what its entries note
        assert not known or dirty == entry.dirty, f"the dirty bit of page {page:#x} is {entry.dirty}"


def frames(sides: Sequence[Side], kernel: Kernel) -> None:
    """Each frame of the model is one of the kernel; others are tables, pools, batches, put-off frees.

    So pages share a frame where the model says so, and nowhere else.
    """
    pairs = set(_pairs(sides))
    places = {place for place, _ in pairs}
    own = len({each for side in sides for each in side.model.frames()})
    assert len(pairs) == len(places) == own, f"{len(places)} frames are mapped or swapped out, not {own}"
    memory = kernel.memory
    if memory is None:
        return
    present = (entry.frame for side in sides for _, entry in present_pages(side.space))
    mapped = set(present) - {ZERO_FRAME}
    roots = [root for side in sides for root in side.space.roots()]
    tables = {table.frame for root in roots for table in root.tables()} - {root.frame for root in roots}
    elsewhere = [*kernel.references(), *memory.references()]
    elsewhere += [each for side in sides for each in side.space.deferred()]
    others = {frame for each in elsewhere for frame in range(each.frame, each.frame + each.frames)}
    others -= tables | mapped
    others = {memory.in_use.head(frame) for frame in others}  # LATR keeps a page of a folio on its own
    used, blocks = len(memory.in_use), {memory.in_use.head(frame) for frame in mapped}
    assert used == len(blocks) + len(tables) + len(others - blocks), (
        f"{used} blocks of frames are in use: {len(blocks)} pages, {len(tables)} tables, {len(others)} more"
    )


def files(sides: Sequence[Side], contents: Contents) -> None:
    """The page cache has the pages that files have in the model, and those are what mappings show."""
    pairs = dict(_pairs(sides))
    for asked, file in sides[0].model.files.items():
        if isinstance(asked, int):  # the ID of a morsel, whose pages the kernel has in its own tables
            continue
        assert asked.pages == file.size, f"{asked} is {asked.pages} pages long, not {file.size}"
        assert asked.frames.keys() == file.frames.keys(), (
            f"in the cache of {asked} is {_difference(asked.frames.keys(), file.frames.keys())}"
        )
        for index, frame in file.frames.items():
            version = contents.read(asked.frames[index])
            assert version == frame.version, f"page {index} of {asked} is {version}, not {frame.version}"
            shown = pairs.get(asked.frames[index], frame)
            assert shown is frame, f"a mapping shows page {index} of {asked} and should not"


def shows(side: Side, page: int, file: Any, index: int) -> None:
    """If *page*, of a shared mapping of *file*, is present, it shows page *index* of that, which is there."""
    entry = side.space.root.walk(page)
    if entry is None:
        return
    frame, there = entry.frame_of(page), file.frames.get(index) if index < file.pages else None
    assert frame == there, f"page {page:#x} shows frame {frame}, and page {index} of {file} is frame {there}"


def tables(side: Side, *, exactly: bool) -> None:
    """No table is left where nothing is mapped. *exactly*: there are those that the model predicts."""
    if not side.model.rules.frees_tables:
        return
    found = {(table.level, table.base) for table in side.space.root.tables() if table is not side.space.root}
    if side.model.rules.leaves_tables:
        gone = side.model.tables - found
        side.model.tables -= {table for table in gone if table[0] == 1 and not _has_pages(side, table)}
    if exactly and not side.model.rules.huge:
        assert found == side.model.tables, f"tables are {_difference(found, side.model.tables)}"
    for table in found:
        assert covers(table, side.model.pages), f"the table {table} is left where nothing is mapped"


def _has_pages(side: Side, table: Table) -> bool:
    """Whether anything is in memory of what *table*, of level 1, covers."""
    pages = side.model.pages
    here = (pages.get(page) for page in range(table[1], table[1] + PAGES_PER_ENTRY[2]))
    return any(its is not None and its.frame is not None for its in here)


def forked(parent: Side, child: Side) -> None:
    """The child has tables for its pages, and no others than the parent; the model takes them over."""
    if parent.model.moved or parent.model.rules.huge or not parent.model.rules.frees_tables:
        return
    model, root = child.model, child.space.root
    present = [page for page, its in model.pages.items() if its.frame]
    needed = {each for page in present for each in tables_over(page, model.rules.levels)}
    found = {(table.level, table.base) for table in root.tables() if table is not root}
    assert needed <= found <= parent.model.tables, f"a child has the tables {found}"
    model.tables = found


def huge_pages(side: Side) -> None:
    """What huge pages have brought in beside what was touched, the model takes over. It is zeros."""
    if not side.model.rules.huge:
        return
    in_use = side.space.pages.in_use
    for page, entry in present_pages(side.space):
        its = side.model.pages.get(page)
        if (
            its is None
            or its.file is not None
            or not (entry.special or in_use.head(entry.frame) in in_use.orders)
        ):
            continue
        if its.frame is None or (its.frame is ZEROS and not entry.special):
            its.frame, its.dirty = ZEROS if entry.special else Frame(), None


def present_pages(space: AddressSpace) -> Iterator[tuple[int, Present]]:
    """What is present in *space*, a huge page as each of its pages."""
    for page, entry in space.present_entries():
        if entry.level == 1:
            yield page, entry
        else:
            for each in range(page, page + entry.pages):
                yield each, replace(entry, frame=entry.frame_of(each), level=1)


def places(side: Side) -> Iterable[tuple[Place, Page]]:
    """Where each page with contents is, and what the model says of it."""
    for page in (*side.swapped(), *(page for page, _ in present_pages(side.space))):
        yield side.place(page), side.model.pages[page]


def _pairs(sides: Iterable[Side]) -> Iterable[tuple[Place, Any]]:
    """The places of all pages but those of zeros, and which frame of the model each is."""
    for side in sides:
        for place, its in places(side):
            if place != ZERO_FRAME:
                yield place, its.frame


def _difference(found: Any, expected: Any) -> str:
    def some(things: Any) -> str:
        return ", ".join(str(each) for each in sorted(things)[:8]) or "nothing"

    if isinstance(found, dict):
        other = {page for page in found.keys() & expected.keys() if found[page] != expected[page]}
        found, expected = set(found), set(expected)
        more = f", different: {some(other)}" if other else ""
    else:
        more = ""
    return f"too much: {some(found - expected)}, too little: {some(expected - found)}{more}"
