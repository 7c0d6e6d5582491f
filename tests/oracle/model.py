"""A process as a plain dictionary of pages, and what user code sees in them: the reference of the oracle.

Nothing here knows of locks, tables of VMAs or time: operations take effect one after another (`effects`). A
page has rights and, once it is present, a frame; contents are a *version*, 0 for zeros and another number for
every write. Frames are objects, so pages that share one (the page of zeros; later a page of a file, or one
that a fork has left to both) name the same object, and the number of frames is the number of objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from sim.mm import LEVELS, PAGES_PER_ENTRY, READ, WRITE, Rights

Table = tuple[int, int]
"""A page-table page below the root: its level, and the first page that it covers."""

SIGNAL: Final = "a signal"
"""What an access gets that the mapping does not allow."""


class Mismatch(AssertionError):
    """The simulated kernel has done what the model does not."""


class Undetermined(Exception):
    """What the kernel does here depends on what the model does not know: the operation is left out."""


@dataclass(frozen=True)
class Rules:
    """What kernels may do in one way or another, and how this one does it."""

    zero_page: bool
    """A read of untouched memory maps the one page of zeros, not a page of its own."""
    holes_end_mprotect: bool
    """mprotect ends at a hole, with an error; else holes are passed over."""
    frees_tables: bool
    """A table goes with the last mapping in what it covers."""
    kernel_dirties: bool | None
    """A page that is faulted in for writing is dirty before user code has written to it; None: either."""
    area: tuple[int, int] | None = None
    """A mapping without an address gets the highest gap in here that fits; None: any free place."""
    memory: int | None = None
    """More pages than this in one mapping are refused."""
    max_map_count: int | None = None


@dataclass(eq=False)
class Frame:
    """A page of memory with contents."""

    version: int = 0


ZEROS: Final = Frame()
"""The page that every read of untouched memory finds, in a kernel that has one."""


@dataclass
class Page:
    """A mapped page. *dirty* is what its entry says, None where the kernel may have set it or not."""

    rights: Rights
    frame: Frame | None = None
    dirty: bool | None = False


@dataclass
class Process:
    """*pages* are those that are mapped. *tables* are the tables that faults have made and nobody has freed.

    *vmas* tells where the kernel's VMAs begin and end, which decides when one is too many; without it the
    limit is far away.
    """

    rules: Rules
    pages: dict[int, Page] = field(default_factory=dict)
    tables: set[Table] = field(default_factory=set)
    vmas: Callable[[], Sequence[tuple[int, int]]] | None = None

    # -- what user code does --------------------------------------------------------------------------------

    def access(self, page: int, stamp: int | None) -> int | str:
        """Read *page*, or write it so that its contents are version *stamp*.

        Value: the version that is there afterwards, or `SIGNAL`.
        """
        its = self.pages.get(page)
        if its is None or not its.rights & (READ if stamp is None else WRITE):
            return SIGNAL
        frame = self.fault(page, write=stamp is not None)
        if stamp is not None:
            frame.version, its.dirty = stamp, True
        return frame.version

    def fault(self, page: int, *, write: bool) -> Frame:
        """Make *page*, which allows it, accessible; value: its frame."""
        its = self.pages[page]
        if its.frame is None or (write and its.frame is ZEROS):
            self.tables.update(tables_over(page))
            if write or not self.rules.zero_page:
                its.frame, its.dirty = Frame(), self.rules.kernel_dirties if write else False
            else:
                its.frame = ZEROS
        return its.frame

    # -- parts of operations --------------------------------------------------------------------------------

    def mapped(self, start: int, end: int) -> Iterator[int]:
        """The mapped pages of [start, end)."""
        if end - start > len(self.pages):
            return (page for page in sorted(self.pages) if start <= page < end)
        return (page for page in range(start, end) if page in self.pages)

    def unmap(self, start: int, end: int) -> None:
        """Nothing is mapped in [start, end) any more, and tables that cover nothing are freed."""
        gone = list(self.mapped(start, end))
        for page in gone:
            del self.pages[page]
        if gone and self.rules.frees_tables:
            self.tables = {table for table in self.tables if covers(table, self.pages)}

    def highest_gap(self, pages: int) -> int | None:
        """The first page of the highest free range of so many pages in the area for mappings."""
        assert self.rules.area is not None
        low, ceiling = self.rules.area
        for page in sorted((page for page in self.pages if page < ceiling), reverse=True):
            if ceiling - page - 1 >= pages:
                break
            ceiling = page
        return ceiling - pages if ceiling - pages >= low else None

    # -- what is counted ------------------------------------------------------------------------------------

    def frames(self) -> set[Frame]:
        """The frames of its pages, the page of zeros left out."""
        return {page.frame for page in self.pages.values() if page.frame is not None} - {ZEROS}


def tables_over(page: int) -> list[Table]:
    """The tables that the walk to *page* goes through, the root left out."""
    spans = [(level, PAGES_PER_ENTRY[level + 1]) for level in range(1, LEVELS)]
    return [(level, page - page % span) for level, span in spans]


def covers(table: Table, pages: Iterable[int]) -> bool:
    """Whether one of *pages* lies in what *table* covers."""
    level, base = table
    end = base + PAGES_PER_ENTRY[level + 1]
    return any(base <= page < end for page in pages)
