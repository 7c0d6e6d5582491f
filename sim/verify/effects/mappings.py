"""What is mapped, and how it may be used: mmap, munmap, mprotect, mremap, brk, fork and exit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from sim.mm import (
    READ_WRITE,
    Brk,
    Errno,
    Exec,
    Exit,
    Fork,
    Mmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    Mprotect,
    Mremap,
    Munmap,
)
from sim.verify.effects.registry import USER, cuts, cuts_morsel, effect, outside, over_huge
from sim.verify.model import (
    HUGE,
    ZEROS,
    File,
    Mismatch,
    Page,
    Process,
    Undetermined,
)


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
        if outside(start, pages):
            return Errno.ENOMEM
        if not (asked.replace and rules.replaces) and any(process.mapped(start, start + pages)):
            return Errno.EEXIST
        if _one_too_many(process, start, start + pages):
            return Errno.ENOMEM
        if cuts_morsel(process, start) or cuts_morsel(process, start + pages):
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
    if not isinstance(told, int) or outside(told, pages):
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


@effect.register
def munmap(asked: Munmap, process: Process, told: Any = None) -> Errno | None:
    """It is no error that nothing is mapped there."""
    if asked.pages == 0 or outside(asked.at, asked.pages):
        return Errno.EINVAL
    if _one_too_many(process, asked.at, asked.at + asked.pages):
        return Errno.ENOMEM
    if cuts(process, asked.at) or cuts(process, asked.at + asked.pages):
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


@effect.register
def mprotect(asked: Mprotect, process: Process, told: Any = None) -> Errno | None:
    """From page to page; where a kernel ends at a hole, what lies before it is changed all the same."""
    if asked.pages == 0:
        return None
    if outside(asked.at, asked.pages):
        return Errno.ENOMEM
    if process.rules.whole_frames and (cuts(process, asked.at) or cuts(process, asked.at + asked.pages)):
        return Errno.EINVAL
    for low, high in over_huge(process, asked.at, asked.at + asked.pages):
        if low > asked.at and low - 1 not in process.pages:
            return Errno.ENOMEM
        if process.pages[low].rights != asked.rights:
            if cuts(process, low) or cuts(process, high):
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
        if outside(asked.to, new_pages) or (at + pages > asked.to and asked.to + new_pages > at):
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
        if new_pages < pages and outside(at, pages):
            return Errno.EINVAL
        process.unmap(at + new_pages, at + pages)
        return at
    if longer is not None:
        return longer
    if at + pages == end and not any(process.mapped(end, at + new_pages)) and not outside(at, new_pages):
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
    elif at > before and not outside(before, at - before) and not any(process.mapped(before, room)):
        process.pages.update((page, Page(READ_WRITE)) for page in range(before, at))
        process.brk = at
    return process.brk


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
