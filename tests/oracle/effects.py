"""What each operation does to a process of the model, and the value that the kernel gives: one function each.

A new operation is one function here (`effect.register`), one that draws it (`drawing`), and nothing else:
what threads may see of each other while it runs follows from its effect (`races`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import singledispatch
from typing import Any, Final

from oracle.model import File, Mismatch, Page, Process, Undetermined
from sim.mm import (
    WRITE,
    Errno,
    Fallocate,
    Ftruncate,
    Madvise,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Munmap,
    Operation,
)

USER: Final = 1 << 35
"""Pages of user memory under tables of four levels."""


@singledispatch
def effect(asked: Operation, process: Process, told: Any = None) -> Any:
    """Do *asked* to *process*; value: what the kernel answers.

    *told* is what it has answered, for what it is free to choose: raises `Mismatch` where that cannot be.
    """
    raise NotImplementedError(f"the model does not know {asked.name}")


def _outside(at: int, pages: int) -> bool:
    return at < 0 or pages < 0 or at + pages > USER


# -- mmap -----------------------------------------------------------------------------------------------


@effect.register
def mmap(asked: Mmap | MmapFile | MmapShared, process: Process, told: Any = None) -> int | Errno:
    """The checks of do_mmap in their order; then what is there goes, and the pages come without frames."""
    rules, pages = process.rules, asked.pages
    if pages <= 0 or (isinstance(asked, MmapFile) and asked.offset < 0):
        return Errno.EINVAL
    limit = rules.max_map_count
    if process.vmas is not None and limit is not None and len(process.vmas()) > limit:
        return Errno.ENOMEM
    if rules.memory is not None and pages > rules.memory:
        return Errno.ENOMEM
    if asked.at is None:
        start = _free_place(process, pages, told)
    else:
        start = asked.at
        if _outside(start, pages):
            return Errno.ENOMEM
        if not asked.replace and any(process.mapped(start, start + pages)):
            return Errno.EEXIST
        if _one_too_many(process, start, start + pages):
            return Errno.ENOMEM
        process.unmap(start, start + pages)
    for page, what in enumerate(_pages(asked, process), start):
        process.pages[page] = what
    for page in range(start, start + pages) if asked.populate and asked.rights else ():
        write = bool(asked.rights & WRITE) and not process.pages[page].shared
        if process.fault(page, write=write) is None:
            break  # behind the end of the file
    return start


def _pages(asked: Mmap | MmapFile | MmapShared, process: Process) -> Iterator[Page]:
    """The pages of a new mapping; shared anonymous memory is a file without a name."""
    if isinstance(asked, Mmap):
        file, offset, shared = None, 0, False
    elif isinstance(asked, MmapFile):
        file, offset, shared = process.file(asked.file), asked.offset, asked.shared
    else:
        file, offset, shared = File(asked.pages, kept=False), 0, True
    if file is not None and process not in file.users:
        file.users.append(process)
    for index in range(offset, offset + asked.pages):
        yield Page(asked.rights, file=file, index=index, shared=shared)


def _free_place(process: Process, pages: int, told: Any) -> int:
    if process.vmas is not None and process.rules.area is not None:
        highest = process.highest_gap(pages)
        assert highest is not None
        return highest
    if not isinstance(told, int) or _outside(told, pages):
        raise Mismatch(f"a mapping of {pages} pages is put at {told}")
    taken = next(process.mapped(told, told + pages), None)
    if taken is not None:
        raise Mismatch(f"a mapping of {pages} pages is put at {told:#x}, but {taken:#x} is mapped")
    return told


# -- munmap ---------------------------------------------------------------------------------------------


@effect.register
def munmap(asked: Munmap, process: Process, told: Any = None) -> Errno | None:
    """It is no error that nothing is mapped there."""
    if asked.pages == 0 or _outside(asked.at, asked.pages):
        return Errno.EINVAL
    if _one_too_many(process, asked.at, asked.at + asked.pages):
        return Errno.ENOMEM
    process.unmap(asked.at, asked.at + asked.pages)
    return None


def _one_too_many(process: Process, start: int, end: int) -> bool:
    """Whether a hole in the middle of a VMA makes one more than there may be."""
    if process.vmas is None or process.rules.max_map_count is None:
        return False
    vmas = process.vmas()
    inside = any(low < start and end < high for low, high in vmas)
    return inside and len(vmas) >= process.rules.max_map_count


# -- mprotect -------------------------------------------------------------------------------------------


@effect.register
def mprotect(asked: Mprotect, process: Process, told: Any = None) -> Errno | None:
    """From page to page; where a kernel ends at a hole, what lies before it is changed all the same."""
    if asked.pages == 0:
        return None
    if _outside(asked.at, asked.pages):
        return Errno.ENOMEM
    end = _split_limit(process, asked)
    for page in range(asked.at, end):
        if page in process.pages:
            process.pages[page].rights = asked.rights
        elif process.rules.holes_end_mprotect:
            return Errno.ENOMEM
    return None if end == asked.at + asked.pages else Errno.ENOMEM


def _split_limit(process: Process, asked: Mprotect) -> int:
    """How far *asked* comes before a VMA more than there may be would be needed.

    A part of a VMA is split off unless it joins a neighbour with the same rights, and VMAs that become equal
    join: whether they do depends on more than the model knows, so *low* and *high* bound their number.
    """
    end, limit = asked.at + asked.pages, process.rules.max_map_count
    if process.vmas is None or limit is None:
        return end
    vmas = process.vmas()
    low = high = len(vmas)
    for start, stop in vmas:
        first, last = max(start, asked.at), min(stop, end)
        if first >= last or process.pages[first].rights == asked.rights:
            continue
        beside = (page for page in (first - 1, last) if page in process.pages)
        joins = any(
            page in range(asked.at, end) or process.pages[page].rights == asked.rights for page in beside
        )
        needs = (start < first) + (last < stop)
        if needs and high + needs > limit:
            if joins or low + needs <= limit:
                raise Undetermined
            return first
        low, high = low + (0 if joins else needs) - (2 if joins else 0), high + needs
    return end


# -- madvise --------------------------------------------------------------------------------------------


@effect.register
def madvise(asked: Madvise, process: Process, told: Any = None) -> Errno | None:
    """The pages go and the range stays mapped. It goes on behind holes, and says that there were some."""
    if asked.pages == 0:
        return None
    if asked.pages < 0:
        return Errno.EINVAL
    pages = list(process.mapped(asked.at, asked.at + asked.pages))
    for page in pages:
        process.pages[page] = replace(process.pages[page], frame=None, dirty=False)
    return None if len(pages) == asked.pages else Errno.ENOMEM


# -- files ----------------------------------------------------------------------------------------------


@effect.register
def fallocate(asked: Fallocate, process: Process, told: Any = None) -> Errno | None:
    """Holes become pages, and the file is long enough for them."""
    if asked.at < 0 or asked.pages <= 0:
        return Errno.EINVAL
    file = process.file(asked.file)
    file.size = max(file.size, asked.at + asked.pages)
    for index in range(asked.at, asked.at + asked.pages):
        file.page(index)
    return None


@effect.register
def ftruncate(asked: Ftruncate, process: Process, told: Any = None) -> Errno | None:
    """Made longer by a hole, or cut off."""
    if asked.pages < 0:
        return Errno.EINVAL
    process.file(asked.file).cut(asked.pages)
    return None
