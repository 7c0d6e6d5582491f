"""Where the status of a page is: in its entry, or in an array beside the table.

    in-entry   [ mark | page | mark | ... ]            an entry that is not present says what it would be
    array      [  0   | page |  0   | ... ]  table     512 entries more, made when the first status comes,
               [ mark | mark | mark | ... ]  array     freed with the table

The artifact has the first (kernel/src/vm/vmar/vm_mapping.rs: rights and a number in the bits of an address),
the paper the second (SOSP'25, section 4.3: an array for each table, on demand, in the table's descriptor).
With an array a mark is a store to the array's line, a page that comes one to the table's, and a page that
goes one to each. An array of 8-byte entries is a page as large as the table, one with versions (`optimistic`)
two.

No store has to make one, as memory may be missing for it: it comes with a table that is made of a mark or
of one that has an array (at a fork), with the cut before a range is marked, and, with versions, with each
table.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import PAGE_TABLE, SLOTS, OutOfMemory, PageTablePage, Present, Status
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.cortenmm.mm import CortenMm

Entry: TypeAlias = Present | Status | None
"""What stands for a page that has no table below."""

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
    """Give *table* its array, of zeroed pages from the cpu's pool.

    Raises `OutOfMemory`, with all as it was.
    """
    kernel = space.kernel
    assert kernel.arrays is not None
    frames: list[int] = []
    for _ in range(pages_of_array(kernel.spec.metadata_entry)):
        cpu.work(space.cost.table_alloc, PAGE_TABLE)
        try:
            frames.append((yield from space.take_zeroed(cpu)))
        except OutOfMemory:
            for frame in frames:
                kernel.frames.free(cpu, frame)
            raise
    table.array = MetadataArray(kernel.machine, table, frames, kernel.spec.metadata_entry, cpu.id)
    kernel.arrays[table.array] = None
    kernel.footprint.add("metadata", len(frames) * PAGE_BYTES)


def lines_of(
    table: PageTablePage,
    entries: Mapping[int, Entry | PageTablePage],
    statuses: Collection[int],
    *,
    versioned: bool,
) -> list[CacheLine]:
    """The lines that are written when *entries* replace what is in their slots of *table*, and what is kept
    beside the present pages in the slots *statuses*.

    *versioned*: each change is counted in the array, before the entry is touched.
    """
    lines: dict[CacheLine, None] = {}
    array = table.array
    for slot, after in entries.items():
        before = table.get(slot)
        status = slot in statuses
        if (
            versioned
            or status
            or isinstance(after, Status)
            or (array is not None and _had_status(before, after))
        ):
            lines[array.line(slot)] = None
        if status and after == before:
            continue
        if isinstance(before, Present | PageTablePage) or isinstance(after, Present | PageTablePage):
            lines[table.line(slot)] = None
    return list(lines)


def _had_status(before: object, after: object) -> bool:
    """Whether a status goes: a mark, or that of a page that goes."""
    return after is None and isinstance(before, Status | Present)
