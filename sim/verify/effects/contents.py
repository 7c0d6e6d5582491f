"""What is there of mapped memory and of files: madvise, populate, locks, mincore, msync, files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sim.mm import (
    WRITE,
    DirectRead,
    Errno,
    Fallocate,
    Ftruncate,
    Madvise,
    Mincore,
    Mlock,
    Msync,
    Munlock,
    Prepopulate,
    ProcessMadvise,
    ReadMaps,
)
from sim.verify.effects.registry import effect, outside, over_huge
from sim.verify.model import (
    HUGE,
    Mismatch,
    Process,
    Undetermined,
)


@effect.register
def madvise(asked: Madvise, process: Process, told: Any = None) -> Errno | None:
    """The pages go and the range stays mapped, or they may be swapped out, which nobody sees.

    It goes on behind holes, and says that there were some.

    It ends where memory is locked. Whether pages may be huge nobody can see.
    """
    if asked.advice in process.rules.unknown_advice:
        return Errno.EINVAL
    if asked.pages == 0:
        return None
    if asked.pages < 0:
        return Errno.EINVAL
    pages = list(process.mapped(asked.at, asked.at + asked.pages))
    if asked.advice in ("hugepage", "nohugepage"):
        limit = process.rules.max_map_count
        if process.vmas is not None and limit is not None and limit < 100:
            raise Undetermined
        if any(process.pages[page].morsel for page in pages):
            return Errno.EINVAL
        return None if len(pages) == asked.pages else Errno.ENOMEM
    if asked.advice in ("cold", "pageout"):
        its = [process.pages[page] for page in pages]
        if any(each.locked or each.huge or each.morsel for each in its):
            return Errno.EINVAL
        return None if len(pages) == asked.pages else Errno.ENOMEM
    for low, high in over_huge(process, asked.at, asked.at + asked.pages):
        if process.pages[low].huge:
            if low % HUGE:
                return Errno.EINVAL
            pages = [page for page in pages if not high - high % HUGE <= page < high]
            gone = range(low, high - high % HUGE, HUGE)
            process.huge |= {page: "lost" for page in gone if process.huge[page] == "present"}
        for page in range(low, high):
            if page in pages:
                process.pages[page] = replace(process.pages[page], frame=None, dirty=False)
    whole = sum(1 for _ in process.mapped(asked.at, asked.at + asked.pages))
    for page in pages:
        if process.pages[page].locked or process.pages[page].morsel:
            return Errno.EINVAL
        process.pages[page] = replace(process.pages[page], frame=None, dirty=False)
    return None if whole == asked.pages else Errno.ENOMEM


@effect.register
def process_madvise(asked: ProcessMadvise, process: Process, told: Any = None) -> int | Errno:
    """One range after the other; what has been done counts."""
    if not process.rules.madvises_itself:
        return Errno.EINVAL
    done = 0
    for part in asked.parts:
        refused = madvise(Madvise(part.start, len(part), asked.advice), process)
        if refused is not None:
            return done or refused
        done += len(part)
    return done


@effect.register
def read_maps(asked: ReadMaps, process: Process, told: Any = None) -> Any:
    """Where lines begin and end is the kernel's choice; what they say of each page is not."""
    if told is None:
        raise Undetermined
    lines = {page: (line.rights, line.shared) for line in told for page in range(line.start, line.end)}
    if lines != {page: (its.rights, its.shared) for page, its in process.pages.items()}:
        raise Mismatch("/proc/PID/maps does not say what is mapped")
    return told


@effect.register
def prepopulate(asked: Prepopulate, process: Process, told: Any = None) -> Errno | None:
    """All are there, up to the first that cannot be written; those that come have been written."""
    if process.asks(range(asked.at, asked.at + asked.pages)):
        raise Undetermined
    for page in range(asked.at, asked.at + asked.pages):
        if page not in process.pages:
            return Errno.ENOMEM
        its = process.pages[page]
        absent = its.frame is None
        if not its.rights & WRITE or process.fault(page, write=True) is None:
            return Errno.EFAULT
        if absent:
            its.dirty = None if its.shared else True  # a fault nearby may have mapped a page of a file before
    return None


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


@effect.register
def direct_read(asked: DirectRead, process: Process, told: Any = None) -> int | Errno:
    """The pages are written by the drive, which leaves in them what they had: nobody knows better."""
    if asked.pages <= 0 or outside(asked.at, asked.pages):
        return Errno.EFAULT
    pages = range(asked.at, asked.at + asked.pages)
    if process.asks(pages):
        raise Undetermined
    for page in pages:
        its = process.pages.get(page)
        if its is None or not its.rights & WRITE or process.fault(page, write=True) is None:
            return Errno.EFAULT
    return asked.pages


@effect.register
def mlock(asked: Mlock, process: Process, told: Any = None) -> Errno | None:
    """Up to the first hole; then all of it is brought in, up to the first page that nobody may touch."""
    if process.asks(range(asked.at, asked.at + asked.pages)):
        raise Undetermined
    refused = _lock(asked, process, locked=True, on_fault=asked.on_fault)
    if refused is not None or asked.pages == 0:
        return refused
    return None if process.populate(asked.at, asked.at + asked.pages) else Errno.ENOMEM


@effect.register
def munlock(asked: Munlock, process: Process, told: Any = None) -> Errno | None:
    """Up to the first hole."""
    return _lock(asked, process, locked=False, on_fault=False)


def _lock(asked: Mlock | Munlock, process: Process, *, locked: bool, on_fault: bool) -> Errno | None:
    limit = process.rules.max_map_count
    if process.vmas is not None and limit is not None and limit < 100:
        raise Undetermined
    for page in range(asked.at, asked.at + asked.pages):
        if page not in process.pages:
            return Errno.ENOMEM
        if not process.pages[page].morsel:  # which stays in memory anyway
            process.pages[page].locked, process.pages[page].on_fault = locked, on_fault
    return None


@effect.register
def mincore(asked: Mincore, process: Process, told: Any = None) -> list[bool] | Errno:
    """Which pages are present, and which of the others are in the page cache; those that may be swapped out
    are if *told*."""
    pages = range(asked.at, asked.at + asked.pages)
    if outside(asked.at, asked.pages) or any(page not in process.pages for page in pages):
        return Errno.ENOMEM
    each = [process.pages[page] for page in pages]
    there = [its.frame is not None or (its.file is not None and its.index in its.file.frames) for its in each]
    if told is None:
        return there
    if isinstance(told, list) and len(told) == len(there):
        return [is_there and says for is_there, says in zip(there, told, strict=True)]
    raise Mismatch(f"{asked} answers {told}")


@effect.register
def msync(asked: Msync, process: Process, told: Any = None) -> Errno | None:
    """Holes are passed over and told, or end it where nothing is waited for; so does locked memory."""
    hole: Errno | None = None
    for page in range(asked.at, asked.at + asked.pages):
        if page not in process.pages:
            hole = Errno.ENOMEM
            if not asked.wait and not asked.invalidate:
                return hole
        elif asked.invalidate and process.pages[page].locked:
            return Errno.EBUSY
    return hole
