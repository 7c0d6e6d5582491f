"""What each operation does to a process of the model, and the value that the kernel gives: one function each.

A new operation is one function here (`effect.register`), one that draws it (`drawing`), and nothing else:
what threads may see of each other while it runs follows from its effect (`races`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import singledispatch
from typing import Any, Final

from sim.mm import (
    READ_WRITE,
    WRITE,
    Brk,
    CreateMorsel,
    DestroyMorsel,
    DirectRead,
    Errno,
    Exec,
    Exit,
    ExmapAlloc,
    ExmapCall,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Fallocate,
    Fork,
    Ftruncate,
    Madvise,
    MapMorsel,
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
    Operation,
    Prepopulate,
    ProcessMadvise,
    ReadMaps,
    UffdClose,
    UffdCopy,
    UffdRegister,
    UffdUnregister,
    UffdWake,
    UffdZeropage,
    has_meta,
    morsel_pages,
    order_of,
)
from sim.verify.model import (
    HUGE,
    WHATEVER,
    ZEROS,
    Exmap,
    File,
    Frame,
    Mismatch,
    Page,
    Process,
    Undetermined,
    tables_over,
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
        if not (asked.replace and rules.replaces) and any(process.mapped(start, start + pages)):
            return Errno.EEXIST
        if _one_too_many(process, start, start + pages):
            return Errno.ENOMEM
        if _cuts_morsel(process, start) or _cuts_morsel(process, start + pages):
            return Errno.EINVAL
        process.unmap(start, start + pages)
    for page, what in enumerate(_pages(asked, process), start):
        process.pages[page] = what
    if rules.eager:
        process.bring_in(start, start + pages)
    elif asked.populate and rules.populates:
        process.populate(start, start + pages)
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
        place = process.free_gap(pages)
        assert place is not None
        return place
    if not isinstance(told, int) or _outside(told, pages):
        raise Mismatch(f"a mapping of {pages} pages is put at {told}")
    taken = next(process.mapped(told, told + pages), None)
    if taken is not None:
        raise Mismatch(f"a mapping of {pages} pages is put at {told:#x}, but {taken:#x} is mapped")
    return told


@effect.register
def mmap_huge(asked: MmapHuge, process: Process, told: Any = None) -> int | Errno:
    """Whole huge pages, all of them reserved. What was there goes even if there are too few."""
    pages, start = -(-asked.pages // HUGE) * HUGE, asked.at
    assert start is not None
    if pages <= 0 or start % HUGE:
        return Errno.EINVAL
    if not asked.replace and any(process.mapped(start, start + pages)):
        return Errno.EEXIST
    process.unmap(start, start + pages)
    if pages // HUGE > process.left_in_pool():
        return Errno.ENOMEM
    for page in range(start, start + pages):
        process.pages[page] = Page(asked.rights, huge=True)
    process.huge.update(dict.fromkeys(range(start, start + pages, HUGE), "reserved"))
    if asked.populate:
        process.populate(start, start + pages)
    return start


def _cuts(process: Process, at: int) -> bool:
    """Whether a mapping that begins or ends at *at* would cut a huge page of the pool, or a large frame."""
    if at % HUGE == 0 or at not in process.pages:
        return False
    return process.pages[at].huge or process.pages[at].in_large or _cuts_morsel(process, at)


def _cuts_morsel(process: Process, at: int) -> bool:
    """Whether a mapping that begins or ends at *at* would cut a morsel."""
    return at in process.pages and process.pages[at].morsel and process.pages[at].index > 0


def _over_huge(process: Process, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of VMAs in a range that has huge pages of the pool in it; none where it has not."""
    if process.vmas is None or not any(process.pages[page].huge for page in process.mapped(start, end)):
        return []
    return [(max(low, start), min(high, end)) for low, high in process.vmas() if low < end and start < high]


@effect.register
def create_morsel(asked: CreateMorsel, process: Process, told: Any = None) -> int | Errno:
    """Which ID it gets is the kernel's choice."""
    if not isinstance(told, int) or order_of(told) != asked.order or has_meta(told) != asked.meta:
        raise Mismatch(f"a morsel of order {asked.order} is called {told}")
    file = process.files[told] = File(morsel_pages(asked.order))
    if asked.order == 0:
        file.page(0)
    return told


@effect.register
def destroy_morsel(asked: DestroyMorsel, process: Process, told: Any = None) -> Errno | None:
    """Nobody maps it."""
    return None if process.files.pop(asked.morsel, None) is not None else Errno.EINVAL


@effect.register
def map_morsel(asked: MapMorsel, process: Process, told: Any = None) -> int | Errno:
    """All of it, where nothing is; what has been brought in by anybody is there."""
    order, start, limit = order_of(asked.morsel), asked.at, process.rules.max_map_count
    if order is None or order >= process.rules.levels:
        return Errno.EINVAL
    assert start is not None
    if process.vmas is not None and limit is not None and len(process.vmas()) > limit:
        return Errno.ENOMEM
    if start % asked.pages:
        return Errno.EINVAL
    if _outside(start, asked.pages):
        return Errno.ENOMEM
    if any(process.mapped(start, start + asked.pages)):
        return Errno.EEXIST
    file = process.files[asked.morsel]
    for index in range(asked.pages):
        its = Page(asked.rights, file.frames.get(index), file=file, index=index, shared=True, morsel=True)
        process.pages[start + index] = its
    process.tables.update(each for each in tables_over(start, process.rules.levels) if each[0] > order)
    return start


# -- munmap ---------------------------------------------------------------------------------------------


@effect.register
def munmap(asked: Munmap, process: Process, told: Any = None) -> Errno | None:
    """It is no error that nothing is mapped there."""
    if asked.pages == 0 or _outside(asked.at, asked.pages):
        return Errno.EINVAL
    if _one_too_many(process, asked.at, asked.at + asked.pages):
        return Errno.ENOMEM
    if _cuts(process, asked.at) or _cuts(process, asked.at + asked.pages):
        return Errno.EINVAL
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
    if process.rules.whole_frames and (_cuts(process, asked.at) or _cuts(process, asked.at + asked.pages)):
        return Errno.EINVAL
    for low, high in _over_huge(process, asked.at, asked.at + asked.pages):
        if low > asked.at and low - 1 not in process.pages:
            return Errno.ENOMEM
        if process.pages[low].rights != asked.rights:
            if _cuts(process, low) or _cuts(process, high):
                return Errno.EINVAL
            for page in range(low, high):
                process.pages[page].rights = asked.rights
    end = _split_limit(process, asked)
    for page in range(asked.at, end):
        if page in process.pages:
            if process.pages[page].morsel and process.pages[page].rights != asked.rights:
                return Errno.EINVAL
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
    if any(process.pages[page].morsel for page in process.mapped(asked.at - 1, end + 1)):
        if limit < 100:
            raise Undetermined
        return end
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
    for low, high in _over_huge(process, asked.at, asked.at + asked.pages):
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


# -- mremap ---------------------------------------------------------------------------------------------

SPARE: Final = 3
"""Mappings that a move must have room for."""


def mremap_is_determined(process: Process) -> bool:
    """A moved VMA is not registered any more, and neither is one that it has joined."""
    return not any(page.registered for page in process.pages.values())


@effect.register
def mremap(asked: Mremap, process: Process, told: Any = None) -> int | Errno:
    """What may be moved or made longer depends on where VMAs end, so somebody has to tell."""
    at, pages, new_pages = asked.at, asked.pages, asked.new_pages
    mappings = process.mappings()
    if mappings is None or not mremap_is_determined(process):
        raise Undetermined
    if new_pages <= 0 or pages < 0 or (asked.to is not None and not asked.may_move):
        return Errno.EINVAL
    if pages == 0 and not process.rules.maps_twice:
        return Errno.EINVAL
    if at not in process.pages:
        return Errno.EFAULT
    if process.pages[at].morsel:
        return Errno.EINVAL
    end = next(stop for start, stop in mappings if start <= at < stop)
    longer = _too_long(process, at, pages, end)
    if asked.to is not None:
        if _outside(asked.to, new_pages) or (at + pages > asked.to and asked.to + new_pages > at):
            return Errno.EINVAL
        process.unmap(asked.to, asked.to + new_pages)
        process.unmap(at + new_pages, at + pages)
        if at not in process.pages:
            return Errno.EFAULT
        longer = _too_long(
            process, at, min(pages, new_pages), min(end, at + new_pages) if new_pages < pages else end
        )
        return longer or _move(process, at, min(pages, new_pages), asked.to, new_pages)
    if new_pages <= pages:
        if new_pages < pages and _outside(at, pages):
            return Errno.EINVAL
        process.unmap(at + new_pages, at + pages)
        return at
    if longer is not None:
        return longer
    if at + pages == end and not any(process.mapped(end, at + new_pages)) and not _outside(at, new_pages):
        _extend(process, process.pages[end - 1], end - 1, end, at + new_pages)
        return at
    if not asked.may_move:
        return Errno.ENOMEM
    if process.rules.area is None:
        return _move(process, at, pages, _free_place(process, new_pages, told), new_pages)
    if new_pages >= HUGE:
        raise Undetermined  # it may be put to where a huge page may begin
    new = process.free_gap(new_pages)
    return Errno.ENOMEM if new is None else _move(process, at, pages, new, new_pages)


def _too_long(process: Process, at: int, pages: int, end: int) -> Errno | None:
    """Only shared memory is mapped twice, by a range of no length."""
    if pages == 0 and not process.pages[at].shared:
        return Errno.EINVAL
    return Errno.EFAULT if at + pages > end else None


def _move(process: Process, at: int, pages: int, new: int, new_pages: int) -> int:
    """The pages with all that is in them; nobody else may look meanwhile. No pages: shared memory is mapped
    once more."""
    process.moved = True
    like = process.pages[at + max(pages, 1) - 1]
    taken = [process.pages[page] for page in range(at, at + pages)]
    process.pages.update(enumerate(taken, new))  # first: memory without a name goes with its last mapping
    process.unmap(at, at + pages)
    _extend(process, like, new + max(pages, 1) - 1, new + pages, new + new_pages)
    return new


def _extend(process: Process, like: Page, at: int, start: int, end: int) -> None:
    """[*start*, *end*) goes on as *like*, the page at *at*, does, and is brought in if that is locked."""
    for page in range(start, end):
        process.pages[page] = replace(like, frame=None, dirty=False, index=like.index + page - at)
    if like.locked:
        process.populate(start, end)


# -- brk ------------------------------------------------------------------------------------------------


@effect.register
def brk(asked: Brk, process: Process, told: Any = None) -> int:
    """Refused where it would touch another mapping, with a gap between them if the kernel keeps one; such a
    kernel also refuses to give back what is not mapped."""
    at, before, rules = asked.at, process.brk, process.rules
    if not process.alone or (rules.max_map_count is not None and rules.max_map_count < 100):
        raise Undetermined
    room = at + rules.heap_gap
    if process.start_brk <= at < before and (not rules.heap_gap or any(process.mapped(at, before))):
        process.unmap(at, before)
        process.brk = at
    elif at > before and not _outside(before, at - before) and not any(process.mapped(before, room)):
        process.pages.update((page, Page(READ_WRITE)) for page in range(before, at))
        process.brk = at
    return process.brk


# -- mlock, mincore, msync --------------------------------------------------------------------------------


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
    if _outside(asked.at, asked.pages) or any(page not in process.pages for page in pages):
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


# -- userfaultfd ------------------------------------------------------------------------------------------


@effect.register
def uffd_register(asked: UffdRegister | UffdUnregister, process: Process, told: Any = None) -> Errno | None:
    """Private anonymous memory only; holes are passed over."""
    limit = process.rules.max_map_count
    if process.vmas is None or limit is None or limit < 100:
        raise Undetermined
    process.uffd = process.uffd or isinstance(asked, UffdRegister)
    start, end = asked.at, asked.at + asked.pages
    pages = list(process.mapped(start, end))
    if not process.uffd or asked.pages <= 0 or _outside(start, asked.pages) or not pages:
        return Errno.EINVAL
    if any(process.pages[page].file is not None or process.pages[page].huge for page in pages):
        return Errno.EINVAL
    for page in pages:
        process.pages[page].registered = isinstance(asked, UffdRegister)
    return None


@effect.register
def uffd_fill(asked: UffdCopy | UffdZeropage, process: Process, told: Any = None) -> Errno | None:
    """Page after page, up to the first that cannot be had; what was filled before stays."""
    source = asked.source if isinstance(asked, UffdCopy) else None
    if process.vmas is None or (source is not None and process.asks(range(source, source + asked.pages))):
        raise Undetermined
    wrong = source is not None and _outside(source, asked.pages)
    if wrong or not process.uffd or asked.pages <= 0 or _outside(asked.at, asked.pages):
        return Errno.EINVAL
    end = next((stop for start, stop in process.vmas() if start <= asked.at < stop), 0)
    if end < asked.at + asked.pages or not process.pages[asked.at].registered:
        return Errno.ENOENT
    for index in range(asked.pages):
        refused = _fill(process, asked.at + index, None if source is None else source + index)
        if refused is not None:
            return Errno.EAGAIN if index else refused
    return None


def _fill(process: Process, page: int, source: int | None) -> Errno | None:
    """A page of zeros, or with what is in *source*, which is touched for it."""
    found = 0 if source is None else process.access(source, None)
    if isinstance(found, str):
        return Errno.EFAULT
    process.tables.update(tables_over(page, process.rules.levels))
    its = process.pages[page]
    if its.frame is not None:
        return Errno.EEXIST
    its.frame = ZEROS if source is None else Frame(found)
    its.dirty = source is not None
    return None


@effect.register
def uffd_wake(asked: UffdWake, process: Process, told: Any = None) -> Errno | None:
    """Nobody waits: each page is answered before it is touched."""
    wrong = not process.uffd or asked.pages <= 0 or _outside(asked.at, asked.pages)
    return Errno.EINVAL if wrong else None


@effect.register
def uffd_close(asked: UffdClose, process: Process, told: Any = None) -> None:
    """All memory is the kernel's again."""
    process.uffd = False
    for page in process.pages.values():
        page.registered = False


# -- drives and exmap ---------------------------------------------------------------------------------------


@effect.register
def direct_read(asked: DirectRead, process: Process, told: Any = None) -> int | Errno:
    """The pages are written by the drive, which leaves in them what they had: nobody knows better."""
    if asked.pages <= 0 or _outside(asked.at, asked.pages):
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
def exmap_setup(asked: ExmapSetup, process: Process, told: Any = None) -> Errno | None:
    """Whole bundles, and what is left."""
    if asked.frames <= 0 or not 0 < asked.interfaces <= 256:
        return Errno.EINVAL
    if process.exmap is not None:
        return Errno.EBUSY
    whole, rest = divmod(asked.frames, Exmap.FULL)
    listed = [Exmap.FULL] * whole + ([rest] if rest else [])
    process.exmap = Exmap([0] * asked.interfaces, listed)
    return None


@effect.register
def mmap_exmap(asked: MmapExmap, process: Process, told: Any = None) -> int | Errno:
    """Once, at a given place."""
    if any(page.exmap for page in process.pages.values()):
        return Errno.EBUSY
    limit = process.rules.max_map_count
    if asked.at is None or (limit is not None and limit < 100):
        raise Undetermined
    process.unmap(asked.at, asked.at + asked.pages)
    for page in range(asked.at, asked.at + asked.pages):
        process.pages[page] = Page(asked.rights, shared=True, exmap=True)
    return asked.at


def _exmap_of(asked: ExmapCall, process: Process) -> Exmap | Errno:
    exmap = process.exmap
    if exmap is None:
        return Errno.EBADF
    proxy = isinstance(asked, ExmapRead) or (isinstance(asked, ExmapAlloc) and asked.by == "pread")
    words = len(asked.parts)
    if not 0 <= asked.interface < len(exmap.local) or words > (1 if proxy else 512) or (proxy and not words):
        return Errno.EINVAL
    return exmap if exmap.active else Errno.EPROTO


@effect.register
def exmap_alloc(asked: ExmapAlloc, process: Process, told: Any = None) -> int | Errno:
    """Part by part, until there are no pages left."""
    exmap = _exmap_of(asked, process)
    if isinstance(exmap, Errno):
        return exmap
    came = 0
    for part in asked.parts:
        pages, enough = _alloc(exmap, asked.interface, process, part)
        came += pages
        if not enough:
            break
    return came


@effect.register
def exmap_read(asked: ExmapRead, process: Process, told: Any = None) -> int | Errno:
    """The same of one part, which is read if all of it came."""
    exmap = _exmap_of(asked, process)
    if isinstance(exmap, Errno):
        return exmap
    (part,) = asked.parts
    came, _ = _alloc(exmap, asked.interface, process, part)
    return came if came == len(part) else 0


def _alloc(exmap: Exmap, interface: int, process: Process, part: range) -> tuple[int, bool]:
    """How many pages of *part* come, and whether there were enough. A page that stands alone in its table is
    taken from the pool before anybody looks whether one is there."""
    came = 0
    if not all(page in process.pages and process.pages[page].exmap for page in part):
        return 0, True
    for page in part:
        process.tables.update(tables_over(page, process.rules.levels))
        alone = page - 1 not in part or page % HUGE == 0
        alone = alone and (page + 1 not in part or page % HUGE == HUGE - 1)
        its = process.pages[page]
        if its.frame is None or alone:
            if not exmap.take(interface):
                return came, False
            if its.frame is None:
                its.frame, its.dirty = Frame(WHATEVER), False
                came += 1
            else:
                exmap.put(interface)
    return came, True


@effect.register
def exmap_free(asked: ExmapFree, process: Process, told: Any = None) -> int | Errno:
    """Those that are there."""
    exmap = _exmap_of(asked, process)
    if isinstance(exmap, Errno):
        return exmap
    freed = 0
    for part in asked.parts:
        if all(page in process.pages and process.pages[page].exmap for page in part):
            for page in part:
                if process.pages[page].frame is not None:
                    process.pages[page].frame, process.pages[page].dirty = None, False
                    exmap.put(asked.interface)
                    freed += 1
    return freed


# -- fork, exec, exit -------------------------------------------------------------------------------------


@effect.register
def fork(asked: Fork, process: Process, told: Any = None) -> Process:
    """Value: the child. Both have the private pages, until one of them writes; it finds the others itself."""
    child = replace(process, pages={}, tables=set(), vmas=None, uffd=False)
    for page, its in process.pages.items():
        copy = replace(its, locked=False, on_fault=False, registered=False)
        if its.private:
            its.forked = copy.forked = True
        else:
            copy.frame, copy.perhaps_zeros = None, its.frame is ZEROS
            copy.dirty = None if process.rules.fork_copies_files else False
        if its.file is not None and child not in its.file.users:
            its.file.users.append(child)
        child.pages[page] = copy
    return child


@effect.register
def end(asked: Exit | Exec, process: Process, told: Any = None) -> None:
    """Nothing is mapped any more."""
    process.unmap(0, USER)
    process.brk = process.start_brk
