"""Where the status of a page is: in its entry, or in an array beside the table.

    in-entry   [ mark | page | mark | ... ]            an entry that is not present says what it would be
    array      [  0   | page |  0   | ... ]  table     512 entries more, made when the first status comes,
               [ mark | mark | mark | ... ]  array     freed with the table

The artifact has the first (kernel/src/vm/vmar/vm_mapping.rs: rights and a number in the bits of an address),
the paper the second (SOSP'25, section 4.3: an array for each table, on demand, in the table's descriptor).
With an array a mark is a store to the array's line, a page that comes one to the table's, and a page that
goes one to each. An array of 8-byte entries is a page as large as the table, one with versions (`optimistic`)
two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import PAGE_TABLE, SLOTS, PageTablePage, Present, Status
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm

Entry: TypeAlias = PageTablePage | Present | Status | None

_LINE_BYTES: Final = 64


class MetadataArray:
    """The array of one table, in *frames*; an entry of it has *entry_bytes*."""

    __slots__ = ("_entry_bytes", "_lines", "_machine", "_owner", "_table", "frames")

    def __init__(
        self, machine: Machine, table: PageTablePage, frames: list[int], entry_bytes: int, owner: int
    ) -> None:
        self.frames = frames
        self._machine = machine
        self._table = table
        self._entry_bytes = entry_bytes
        self._owner = owner
        self._lines: dict[int, CacheLine] = {}

    @property
    def table(self) -> PageTablePage:
        """The table whose entries it is about."""
        return self._table

    def line(self, slot: int) -> CacheLine:
        """The cache line with the metadata of *slot*."""
        index = slot * self._entry_bytes // _LINE_BYTES
        line = self._lines.get(index)
        if line is None:
            name = f"metadata {index} of {self._table!r}"
            line = self._lines[index] = self._machine.line(name, self._table.home, owner=self._owner)
        return line


def pages_of_array(entry_bytes: int) -> int:
    """Pages that an array takes."""
    return -(-SLOTS * entry_bytes // PAGE_BYTES)


def add_array(space: CortenMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
    """Give *table* its array, of zeroed pages from the cpu's pool. Raises `OutOfMemory`."""
    kernel = space.kernel
    assert kernel.arrays is not None
    frames = []
    for _ in range(pages_of_array(kernel.spec.metadata_entry)):
        cpu.work(space.cost.table_alloc, PAGE_TABLE)
        frames.append((yield from space.take_zeroed(cpu)))
    table.array = MetadataArray(kernel.machine, table, frames, kernel.spec.metadata_entry, cpu.id)
    kernel.arrays[table.array] = None
    kernel.footprint.add("metadata", len(frames) * PAGE_BYTES)


def made_for(space: CortenMm, cpu: Cpu, table: PageTablePage, entries: Iterable[Entry]) -> Steps[None]:
    """Before *entries* are stored in *table*: it has an array if one of them needs it."""
    if table.array is None and (
        space.protocol.versioned or any(isinstance(entry, Status) for entry in entries)
    ):
        yield from add_array(space, cpu, table)


def lines_of(table: PageTablePage, entries: Mapping[int, Entry], *, versioned: bool) -> list[CacheLine]:
    """The lines that are written when *entries* replace what is in their slots of *table*.

    *versioned*: each change is counted in the array, before the entry is touched.
    """
    lines: dict[CacheLine, None] = {}
    array = table.array
    for slot, after in entries.items():
        before = table.get(slot)
        if array is not None and (versioned or isinstance(after, Status) or _had_status(before, after)):
            lines[array.line(slot)] = None
        if isinstance(before, Present | PageTablePage) or isinstance(after, Present | PageTablePage):
            lines[table.line(slot)] = None
    return list(lines)


def _had_status(before: Entry, after: Entry) -> bool:
    """Whether a status goes: a mark, or that of a page that goes."""
    return after is None and isinstance(before, Status | Present)
