"""A process as a plain dictionary of pages, and what user code sees in them: the reference of the oracle.

Nothing here knows of locks, tables of VMAs or time: operations take effect one after another (`effects`). A
page has rights and, once it is present, a frame; contents are a *version*, 0 for zeros and another number for
every write. Frames are objects, so pages that share one (the page of zeros; later a page of a file, or one
that a fork has left to both) name the same object, and the number of frames is the number of objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from sim.designs import Rules
from sim.mm import PAGES_PER_ENTRY, READ, WRITE, Rights

Table = tuple[int, int]
"""A page-table page below the root: its level, and the first page that it covers."""

SIGNAL: Final = "a signal"
"""What an access gets that the mapping does not allow."""


class Mismatch(AssertionError):
    """The simulated kernel has done what the model does not."""


class Undetermined(Exception):
    """What the kernel does here depends on what the model does not know: the operation is left out."""


@dataclass(eq=False)
class Frame:
    """A page of memory with contents."""

    version: int = 0


HUGE: Final = 512
"""Pages of 4 KiB in a huge one."""

WHATEVER: Final = -1
"""The version of a frame in which nobody can know what there is, until it has been looked at."""

ZEROS: Final = Frame()
"""The page that every read of untouched memory finds, in a kernel that has one."""


@dataclass(eq=False)
class File:
    """A file in memory, or shared memory: *size* in pages, and the frames of those that are there.

    Its other pages are holes. *users* are the processes that have mapped it. One that is not *kept* has no
    name, and goes with its last mapping.
    """

    size: int
    kept: bool = True
    frames: dict[int, Frame] = field(default_factory=dict)
    users: list[Process] = field(default_factory=list)

    def page(self, index: int) -> Frame | None:
        """The frame of page *index*, made where there is a hole; None behind the end."""
        return self.frames.setdefault(index, Frame()) if index < self.size else None

    def cut(self, size: int) -> None:
        """The file ends at *size*: nobody has a page behind that any more, private copies too."""
        for process in self.users:
            for page in process.pages.values():
                if page.file is not self or page.index < size:
                    continue
                if process.rules.cuts_private or page.shared:
                    page.frame, page.dirty = None, False
                elif page.frame is not None and page.frame is self.frames.get(page.index):
                    page.forked = True  # others that have mapped it have the same frame
        self.frames = {index: frame for index, frame in self.frames.items() if index < size}
        self.size = size


@dataclass
class Page:
    """A mapped page: anonymous memory, or page *index* of *file*, *shared* or as a private copy.

    *dirty* is what its entry says, None where the kernel may have set it or not. *locked* is what mlock has
    asked for, with *on_fault* not to be brought in. *forked*: a fork has left the frame to two processes, so
    the next write makes a copy; whether the kernel copies for the last owner nobody can see. *perhaps_zeros*:
    a fork has shown the child the page of zeros, or has left that to it. *registered*: another thread is to
    bring it in (userfaultfd).
    """

    rights: Rights
    frame: Frame | None = None
    dirty: bool | None = False
    file: File | None = None
    index: int = 0
    shared: bool = False
    locked: bool = False
    on_fault: bool = False
    forked: bool = False
    perhaps_zeros: bool = False
    huge: bool = False
    """It is one of the 512 of a huge page of the pool."""
    in_large: bool = False
    """It lies in a frame of 2 MiB that no call may cut."""
    registered: bool = False
    exmap: bool = False
    """It comes and goes by calls of the process."""
    morsel: bool = False
    """*file* is a morsel: all who map it have all pages that anybody has brought in."""

    @property
    def private(self) -> bool:
        """Whether the frame belongs to this process, and to those that it shares it with by fork."""
        if self.frame is None or self.frame is ZEROS or self.shared:
            return False
        return self.file is None or self.frame is not self.file.frames.get(self.index)

    @property
    def borrowed(self) -> bool:
        """Whether a write has to make a copy first: the frame is not its own and not to be shared."""
        if self.forked and self.frame is not None:
            return True
        if self.file is None or self.shared:
            return self.frame is ZEROS
        return self.frame is not None and self.frame is self.file.frames.get(self.index)


@dataclass(eq=False)
class Exmap:
    """An exmap of a process: how many pages are in the local bundle of each interface, and in those of the
    list, the first one last. It is *active* until a part of it is unmapped."""

    local: list[int]
    listed: list[int]
    active: bool = True

    FULL: ClassVar[int] = 513
    """Pages of a full bundle."""

    def take(self, interface: int) -> bool:
        """A page for *interface*; value: whether it finds one."""
        if not self.local[interface] and self.listed:
            self.local[interface] = self.listed.pop()
        found = self.local[interface] > 0
        self.local[interface] -= found
        return found

    def put(self, interface: int) -> None:
        """It has one more."""
        self.local[interface] += 1
        if self.local[interface] == self.FULL:
            self.local[interface] = 0
            self.listed.append(self.FULL)


@dataclass(eq=False)
class Process:
    """*pages* are those that are mapped. *tables* are the tables that faults have made and nobody has freed.
    *files* has the files by what the kernel calls them. The heap lies between *start_brk* and *brk*. Once
    pages have *moved*, which tables there are depends on those that were moved as a whole.

    *vmas* tells where the kernel's VMAs begin and end, which decides when one is too many; without it the
    limit is far away.
    """

    rules: Rules
    pages: dict[int, Page] = field(default_factory=dict)
    tables: set[Table] = field(default_factory=set)
    files: dict[Any, File] = field(default_factory=dict)
    start_brk: int = 0
    brk: int = 0
    moved: bool = False
    uffd: bool = False
    exmap: Exmap | None = None
    names: Any = None
    """Names and descriptors (`naming`), once there are any."""
    vmas: Callable[[], Sequence[tuple[int, int]]] | None = None
    alone: bool = True
    """Nobody else runs in it."""
    as_they_were: Sequence[tuple[int, int]] | None = None
    """What *vmas* told before an operation whose answer was waited for; None: what it tells now."""
    huge: dict[int, str] = field(default_factory=dict)
    """The huge pages of the pool that are mapped, by their first page: `reserved`, `present`, or `lost` where
    madvise has given one back."""

    def asks(self, pages: Iterable[int]) -> bool:
        """Whether whoever touches one of *pages* would have to wait for another thread."""
        its = (self.pages.get(page) for page in pages)
        return any(each is not None and each.registered and each.frame is None for each in its)

    # -- what user code does --------------------------------------------------------------------------------

    def access(self, page: int, stamp: int | None) -> int | str:
        """Read *page*, or write it so that its contents are version *stamp*.

        Value: the version that is there afterwards, or `SIGNAL`.
        """
        its = self.pages.get(page)
        if its is None or not its.rights & (READ if stamp is None else WRITE):
            return SIGNAL
        frame = self.fault(page, write=stamp is not None)
        if frame is None:
            return SIGNAL
        if stamp is not None:
            frame.version, its.dirty = stamp, True
        return frame.version

    def fault(self, page: int, *, write: bool) -> Frame | None:
        """Make *page*, which allows it, accessible; value: its frame, None behind the end of its file."""
        its = self.pages[page]
        if its.exmap:
            return its.frame
        if its.huge:
            return self._fault_huge(page)
        if its.morsel:
            assert its.file is not None
            its.frame = its.file.page(its.index)
            return its.frame
        if its.frame is None:
            self.tables.update(tables_over(page, self.rules.levels))
            if its.file is not None and (its.shared or self.rules.cuts_private or its.index < its.file.size):
                its.frame = its.file.page(its.index)
                if self.rules.around and its.frame is not None and its.file.kept and not write:
                    self._fault_around(page, its.file)
            else:
                its.frame = ZEROS if self.rules.zero_page else Frame()
            its.dirty = self.rules.kernel_dirties if write else False
        if write and its.borrowed:
            assert its.frame is not None
            its.frame, its.dirty = Frame(its.frame.version), self.rules.kernel_dirties
            its.forked = False
        elif write and self.rules.writes_fault and its.shared and not its.dirty:
            its.dirty = None
        return its.frame

    def _fault_around(self, page: int, file: File) -> None:
        mappings = self.mappings()
        assert mappings is not None
        start, end = next(ends for ends in mappings if ends[0] <= page < ends[1])
        size = min(max(0, file.size - self.pages[start].index), end - start)
        first = max(page - page % self.rules.around, start)
        for each in range(first, min(first + self.rules.around, start + size)):
            if self.pages[each].frame is None:
                self.pages[each].frame, self.pages[each].dirty = file.page(self.pages[each].index), False

    def _fault_huge(self, page: int) -> Frame | None:
        first = page - page % HUGE
        if self.huge[first] == "lost" and not self.left_in_pool():
            return None
        if self.huge[first] != "present":
            self.huge[first] = "present"
            self.tables.update(each for each in tables_over(page, self.rules.levels) if each[0] > 1)
            for each in range(first, first + HUGE):
                self.pages[each].frame = Frame()
        return self.pages[page].frame

    def left_in_pool(self) -> int:
        """Huge pages of the pool that nobody has or has reserved."""
        return self.rules.pool - sum(state != "lost" for state in self.huge.values())

    def file(self, asked: Any) -> File:
        """What the model knows of the kernel's file *asked*."""
        return self.files.setdefault(asked, File(asked.pages))

    def populate(self, start: int, end: int) -> bool:
        """Fault [*start*, *end*) in, as a write where that may be. Value: whether all of it could be had."""
        for page in range(start, end):
            its = self.pages[page]
            if its.on_fault or its.morsel:
                continue
            write = bool(its.rights & WRITE) and not its.shared
            if not its.rights or self.fault(page, write=write) is None:
                return False
        return True

    # -- parts of operations --------------------------------------------------------------------------------

    def bring_in(self, start: int, end: int) -> None:
        """All of [*start*, *end*), which is new, is there, in a kernel without demand paging."""
        for page in range(start, end):
            first, its = page - page % HUGE, self.pages[page]
            its.frame, its.dirty = Frame(), None
            its.in_large = self.rules.whole_frames and start <= first and first + HUGE <= end
            self.tables.update(tables_over(page, self.rules.levels))

    def mapped(self, start: int, end: int) -> Iterator[int]:
        """The mapped pages of [start, end)."""
        if end - start > len(self.pages):
            return (page for page in sorted(self.pages) if start <= page < end)
        return (page for page in range(start, end) if page in self.pages)

    def unmap(self, start: int, end: int) -> None:
        """Nothing is mapped in [start, end) any more, and tables that cover nothing are freed."""
        gone = list(self.mapped(start, end))
        self.huge = {page: state for page, state in self.huge.items() if not start <= page < end}
        unnamed: list[File] = []
        self._unmap_exmap(gone)
        for page in gone:
            file = self.pages.pop(page).file
            if file is not None and not file.kept and file not in unnamed:
                unnamed.append(file)
        for file in unnamed:
            if not any(page.file is file for user in file.users for page in user.pages.values()):
                file.frames.clear()
        if gone and self.rules.frees_tables:
            self.tables = {table for table in self.tables if covers(table, self.pages)}

    def _unmap_exmap(self, gone: Iterable[int]) -> None:
        """An exmap of which a part is unmapped is of no use any more; with its last page it goes."""
        its = [page for page in gone if self.pages[page].exmap]
        if self.exmap is None or not its:
            return
        self.exmap.active = False
        if len(its) == sum(page.exmap for page in self.pages.values()):
            self.exmap = None

    def free_gap(self, pages: int) -> int | None:
        """Where a mapping of so many pages goes: into the highest room for it in the area for mappings, or
        into the lowest."""
        assert self.rules.area is not None
        low, ceiling = self.rules.area
        if self.rules.bottom_up:
            for page in sorted(page for page in self.pages if low <= page < ceiling):
                if page - low >= pages:
                    break
                low = page + 1
            return low if low + pages <= ceiling else None
        for page in sorted((page for page in self.pages if page < ceiling), reverse=True):
            if ceiling - page - 1 >= pages:
                break
            ceiling = page
        return ceiling - pages if ceiling - pages >= low else None

    def mappings(self) -> Sequence[tuple[int, int]] | None:
        """Where mappings begin and end; None where only the kernel could tell."""
        if self.as_they_were is not None:
            return self.as_they_were
        if not self.rules.alike:
            limit = self.rules.max_map_count
            return None if self.vmas is None or limit is None or limit < 100 else self.vmas()
        ends: list[tuple[int, int]] = []
        for page, its in sorted(self.pages.items()):
            before = self.pages.get(page - 1)
            if before is not None and _are_alike(before, its):
                ends[-1] = ends[-1][0], page + 1
            else:
                ends.append((page, page + 1))
        return ends

    # -- what is counted ------------------------------------------------------------------------------------

    def frames(self) -> set[Frame]:
        """The frames of its pages, the page of zeros left out."""
        return {page.frame for page in self.pages.values() if page.frame is not None} - {ZEROS}


def _are_alike(one: Page, other: Page) -> bool:
    """Whether two pages, one behind the other, belong to one mapping."""
    if one.file is not other.file or (one.file is not None and one.index + 1 != other.index):
        return False
    return (one.rights, one.shared, one.locked, one.on_fault) == (
        other.rights,
        other.shared,
        other.locked,
        other.on_fault,
    )


def tables_over(page: int, levels: int) -> list[Table]:
    """The tables that the walk to *page* goes through, the root left out."""
    spans = [(level, PAGES_PER_ENTRY[level + 1]) for level in range(1, levels)]
    return [(level, page - page % span) for level, span in spans]


def covers(table: Table, pages: Iterable[int]) -> bool:
    """Whether one of *pages* lies in what *table* covers."""
    level, base = table
    end = base + PAGES_PER_ENTRY[level + 1]
    return any(base <= page < end for page in pages)
