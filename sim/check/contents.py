"""What user code finds in memory: a plain model of it, followed while the run goes on.

    page -> cell -> version      what the last write to it left, 0 for zeros; None while nobody can know
    frame -> version             what the kernel has zeroed or copied, and user code has written since; where
                                 a design tells nothing of that (`Rules.tells_fills`) it may be anything

An operation makes the cells of its pages *busy* from its begin to its end; then they are as it left them. Two
operations on the same pages at a time, or a write beside one, leave what nobody can know: such a page is
believed again once it is read or written with nobody else at it. So nothing is refused that may be right.

Followed are private anonymous memory and memory that processes share without a file, from their mmap on: of
each mapping the pages at both ends. Files, the heap, huge pages of a pool and memory with a userfaultfd are
not, nor is an exmap, whose pages come with what they had. `sim.verify` has the whole of it, with answers,
rights and entries, for programs that it writes itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from sim.check.scene import pages_of
from sim.engine import Probe
from sim.mm import (
    SLOTS,
    DirectRead,
    Errno,
    ExmapAlloc,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Fork,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    MmapExmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Prepopulate,
    PrepopulateFolios,
    ReadMaps,
    Signal,
    Touch,
    Vfork,
)

if TYPE_CHECKING:
    from sim.check.scene import Scene
    from sim.engine import Engine
    from sim.engine.probe import CpuView

FOUND: Final = "an access finds what was written last (I10)"
FRESH: Final = "a mapping that may go anywhere replaces nothing (I10)"

ENDS: Final = 32
"""Pages at both ends of a mapping that are followed."""
MOST: Final = 1 << 16
"""Pages that are followed at a time."""

EVERYWHERE: Final = -1
"""The block of operations whose pages nobody knows, or that are about many."""

_NEUTRAL: Final = (
    Touch,
    DirectRead,
    ExmapAlloc,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Mprotect,
    Mlock,
    Munlock,
    Mincore,
    Msync,
    ReadMaps,
    Prepopulate,
    PrepopulateFolios,
    Signal,
    Vfork,
)
"""What leaves contents as they are, and what is mapped."""
_NEW: Final = (Mmap, MmapShared, MmapFile, MmapHuge, MmapExmap)
_GIVEN_BACK: Final = ("dontneed", "dontneed_locked")


class Cell:
    """A page that is followed: *version*, and the moment at which something was last done to it. *busy* are
    the operations under way that are about it."""

    __slots__ = ("busy", "shared", "stamp", "version")

    def __init__(self, version: int | None, stamp: int, *, shared: bool) -> None:
        self.version = version
        self.stamp = stamp
        self.shared = shared
        self.busy = 0


class Under:
    """An operation under way on *space*. *pages* are those that it is about, None where it does not say;
    *met*: another one was, too, at the same time. *made* are the pages that are followed since it began."""

    __slots__ = ("began", "cells", "made", "met", "pages", "space")

    def __init__(self, space: object, pages: range | None, began: int) -> None:
        self.space = space
        self.pages = pages
        self.began = began
        self.cells: list[Cell] = []
        self.made: list[int] = []
        self.met = False

    def meets(self, pages: range | None) -> bool:
        mine = self.pages
        return mine is None or pages is None or (mine.start < pages.stop and pages.start < mine.stop)


class Contents(Probe):
    """*cells* are the pages that are followed, of each address space."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        self.cells: dict[object, dict[int, Cell]] = {}
        self._frames: dict[int, int] = {}
        self._slots: dict[int, int] = {}
        self._under: dict[object, Under] = {}
        self._near: dict[tuple[object, int], dict[Under, None]] = {}
        """Those of an address space that are about pages of a block of 2 MiB, or of who knows which."""
        self._moment = 0
        self._followed = 0

    # -- frames ---------------------------------------------------------------------------------------------

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        for each in range(frame, frame + (1 << order)) if order else (frame,):
            self._frames.pop(each, None)

    frame_freed = frame_allocated

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        version = 0 if source is None else self._in_frame(source)
        if version is None:
            self._frames.pop(frame, None)
        else:
            self._frames[frame] = version

    def page_out(self, cpu: CpuView, frame: int, slot: int) -> None:
        if (version := self._in_frame(frame)) is None:
            self._slots.pop(slot, None)
        else:
            self._slots[slot] = version

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        if (version := self._slots.get(slot)) is None:
            self._frames.pop(frame, None)
        else:
            self._frames[frame] = version

    def _in_frame(self, frame: int) -> int | None:
        return 0 if frame < 0 else self._frames.get(frame)

    # -- accesses -------------------------------------------------------------------------------------------

    def accessed(self, space: Any, cpu: CpuView, page: int, frame: int, write: bool) -> None:
        self._moment += 1
        if space.shows_another(page, frame):
            return
        its = self.cells.get(space)
        cell = None if its is None else its.get(page)
        busy = cell is not None and (cell.busy or space.may_be_stale(page, frame))
        if cell is not None and not busy:
            self._finds(cpu, page, frame, cell)
        if not write or frame < 0:
            return
        if frame in self._frames:
            self._frames[frame] = self._moment
        if cell is not None:
            cell.version, cell.stamp = None if busy else self._moment, self._moment

    def _finds(self, cpu: CpuView, page: int, frame: int, cell: Cell) -> None:
        found, expected = self._in_frame(frame), cell.version
        if found is None:
            return
        if expected is None:
            cell.version = found
        elif found != expected:
            what = f"{cpu.current} finds {_words(found)} at page {page:#x}, in frame {frame}, where "
            self._scene.fail(FOUND, f"{what}{_words(expected)} should be", cpu)

    # -- operations -----------------------------------------------------------------------------------------

    def performs(self, performer: object, cpu: CpuView, operation: object) -> None:
        task = cpu.current
        if (left := self._under.pop(task, None)) is not None:
            self._give_up(left)  # it has failed
        if not hasattr(performer, "root") or _is_neutral(operation):
            return
        self._moment += 1
        if isinstance(operation, Fork):
            self._under[task] = Under(performer, range(0), self._moment)
            return
        fresh = isinstance(operation, _NEW) and operation.at is None
        under = Under(performer, range(0) if fresh else pages_of(operation), self._moment)
        for other in self._at(performer, under.pages):
            other.met = under.met = True
        self._under[task] = under
        for block in _blocks(under.pages):
            self._near.setdefault((performer, block), {})[under] = None
        its = self.cells.setdefault(performer, {})
        if isinstance(operation, Mmap | MmapShared) and under.pages:
            for page in self._ends(under.pages):
                if page not in its:  # others may write to it before the call returns
                    its[page] = Cell(None, self._moment, shared=False)
                    under.made.append(page)
                    self._followed += 1
        if its:
            under.cells = [its[page] for page in _within(its, under.pages)]
            for cell in under.cells:
                cell.busy += 1

    def operation_answers(self, cpu: CpuView, operation: Any, value: object) -> None:
        under = self._under.pop(cpu.current, None)
        if under is None:
            return
        self._moment += 1
        self._leaves(under)
        failed = isinstance(value, Errno)
        if isinstance(operation, Fork):
            if not failed:
                self._fork(under, value)
        elif isinstance(operation, Munmap):
            self._drop(under.space, under.pages)
        elif isinstance(operation, Madvise):
            self._advise(under, known=not failed and operation.advice in _GIVEN_BACK)
        elif isinstance(operation, _NEW):
            self._map(under, cpu, operation, value)
        elif isinstance(operation, Mremap):
            self._move(under, operation, value)
        else:
            self._drop(under.space, None)
        for cell in under.cells:
            cell.stamp = self._moment

    def _at(self, space: object, pages: range | None) -> list[Under]:
        """The operations under way on *space* that are about some of *pages*."""
        blocks, near = _blocks(pages), self._near
        if blocks == (EVERYWHERE,):
            return [each for each in self._under.values() if each.space is space and each.meets(pages)]
        found = {each: None for block in (*blocks, EVERYWHERE) for each in near.get((space, block), ())}
        return [each for each in found if each.meets(pages)]

    def _leaves(self, under: Under) -> None:
        for block in _blocks(under.pages):
            near = self._near[under.space, block]
            del near[under]
            if not near:
                del self._near[under.space, block]
        for cell in under.cells:
            cell.busy -= 1

    def _give_up(self, under: Under) -> None:
        self._leaves(under)
        for cell in under.cells:
            cell.version, cell.stamp = None, self._moment

    def _advise(self, under: Under, *, known: bool) -> None:
        """Pages were given back, where it is *known* which."""
        for cell in under.cells:
            if not known or under.met or cell.busy or cell.stamp > under.began:
                cell.version = None
            elif not cell.shared:
                cell.version = 0

    def _map(self, under: Under, cpu: CpuView, operation: Any, value: object) -> None:
        its = self.cells.setdefault(under.space, {})
        if not isinstance(value, int) or isinstance(value, Errno):
            for page in under.made if value is Errno.EEXIST else list(_within(its, under.pages)):
                self._drop(under.space, range(page, page + 1))
            return
        pages = range(value, value + operation.pages)
        others = under.met or bool(self._at(under.space, pages))
        if operation.at is None and not others and (taken := next(iter(_within(its, pages)), None)):
            what = f"{cpu.current} gets pages {value:#x}-{pages.stop:#x}, and page {taken:#x} is mapped"
            self._scene.fail(FRESH, what, cpu)
        written = {page for page in _within(its, pages) if its[page].stamp > under.began}
        self._drop(under.space, pages)
        if others or not isinstance(operation, Mmap | MmapShared):
            return
        shared = isinstance(operation, MmapShared)
        for page in self._ends(pages):
            its[page] = Cell(None if page in written else 0, self._moment, shared=shared)
            self._followed += 1

    def _ends(self, pages: range) -> Sequence[int]:
        """Those of a mapping that are followed, if there is room for so many."""
        ends = pages if len(pages) <= 2 * ENDS else [*pages[:ENDS], *pages[-ENDS:]]
        return ends if self._followed + len(ends) <= MOST else ()

    def _move(self, under: Under, asked: Mremap, value: object) -> None:
        if not isinstance(value, int) or isinstance(value, Errno) or under.met or not asked.pages:
            self._drop(under.space, None)
            return
        its = self.cells.get(under.space, {})
        moved = {page: its[page] for page in _within(its, range(asked.at, asked.at + asked.pages))}
        self._drop(under.space, range(asked.at, asked.at + asked.pages))
        self._drop(under.space, range(value, value + asked.new_pages))
        for page, cell in moved.items():
            if page - asked.at < asked.new_pages:
                its[value + page - asked.at] = cell
                self._followed += 1

    def _fork(self, under: Under, child: object) -> None:
        """The *child* shares what is shared, and has its own of what is not. What was being mapped meanwhile
        it has or not: that is not followed."""
        if child is under.space:
            return
        its = self.cells[child] = {}
        for page, cell in self.cells.get(under.space, {}).items():
            if self._followed >= MOST:
                break
            known = not cell.busy and cell.stamp <= under.began
            if cell.shared and not known:
                continue
            self._followed += 1
            if cell.shared:
                its[page] = cell
                continue
            its[page] = Cell(cell.version if known else None, self._moment, shared=False)

    def _drop(self, space: object, pages: range | None) -> None:
        """They are not followed any more: all of them if nobody knows which."""
        its = self.cells.get(space)
        if its:
            gone = list(_within(its, pages))
            self._followed -= len(gone)
            for page in gone:
                del its[page]


def _blocks(pages: range | None) -> Sequence[int]:
    """The blocks of 2 MiB in which *pages* lie, `EVERYWHERE` if they are many."""
    if pages is None or len(pages) > 4 * SLOTS:
        return (EVERYWHERE,)
    return range(pages.start // SLOTS, (pages.stop - 1) // SLOTS + 1) if pages else ()


def _is_neutral(operation: object) -> bool:
    if isinstance(operation, Madvise):
        return operation.advice not in (*_GIVEN_BACK, "free")
    return isinstance(operation, _NEUTRAL)


def _within(cells: Collection[int], pages: range | None) -> Iterable[int]:
    """The pages of *pages* that have cells, in order where that takes nothing."""
    if pages is None:
        return list(cells)
    if len(pages) > len(cells):
        return [page for page in cells if page in pages]
    return [page for page in pages if page in cells]


def _words(version: int) -> str:
    return f"what write {version} left" if version else "zeros"
