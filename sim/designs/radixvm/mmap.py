"""mmap (vmap::insert, vmap::unmapped_area).

    fixed     |- lock -| take what is there | tree | ask, acks |- unlock -| drop its pages
    anywhere  look for room, no lock |- lock -| is it free? else unlock, look again | tree |- unlock -|

Room is looked for from where the thread found some last. What is in the way is passed by 4 GiB.
"""

from __future__ import annotations

from sim.designs.radixvm.fault import user_fault
from sim.designs.radixvm.refcache import Counted
from sim.designs.radixvm.slots import ALL_PAGES, TREE, Desc, Node
from sim.designs.radixvm.tables import Shootdown
from sim.designs.radixvm.tree import Held
from sim.designs.radixvm.vmap import FIRST_HINT, Vmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import WRITE, Errno, Mmap, OutOfMemory, SegmentationFault, beyond_user_memory

_APART = 1 << 20
"""Pages between what is in the way and where room is looked for next."""


def mmap(mm: Vmap, cpu: Cpu, asked: Mmap) -> Steps[int | Errno]:
    """mmap(2). With MAP_POPULATE each page is faulted in afterwards, as madvise(MADV_WILLNEED) does it."""
    yield from mm.enter(cpu)
    if asked.pages <= 0:
        return Errno.EINVAL
    if asked.at is not None and beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    cpu.work(mm.cost.mmap, TREE)
    if asked.at is None:
        at = yield from _map_anywhere(mm, cpu, asked)
    else:
        at = yield from _map_at(mm, cpu, asked, asked.at)
    if not isinstance(at, Errno) and asked.populate and asked.rights:
        yield from _populate(mm, cpu, range(at, at + asked.pages), write=bool(asked.rights & WRITE))
    return at


def _map_at(mm: Vmap, cpu: Cpu, asked: Mmap, at: int) -> Steps[int | Errno]:
    end = at + asked.pages
    held = yield from mm.tree.acquire(cpu, at, end)
    if not asked.replace and not (yield from _is_free(mm, cpu, at, end)):
        yield from mm.unlock(cpu, held)
        return Errno.EEXIST
    others = Shootdown()
    try:
        places = yield from mm.tree.open(cpu, at, end)
    except OutOfMemory:
        yield from mm.unlock(cpu, held)
        return Errno.ENOMEM
    gone = yield from mm.take_pages(cpu, at, end, others)
    yield from mm.tree.assign(cpu, places, Desc(asked.rights))
    yield from _end(mm, cpu, held, others, gone)
    return at


def _end(mm: Vmap, cpu: Cpu, held: Held, others: Shootdown, gone: list[Counted]) -> Steps[None]:
    yield from mm.tlb.perform(cpu, others)
    yield from mm.unlock(cpu, held)
    yield from mm.let_go(cpu, gone)


def _map_anywhere(mm: Vmap, cpu: Cpu, asked: Mmap) -> Steps[int | Errno]:
    while True:
        at = yield from _find_room(mm, cpu, asked.pages)
        if at is None:
            return Errno.ENOMEM
        end = at + asked.pages
        held = yield from mm.tree.acquire(cpu, at, end)
        if (yield from _is_free(mm, cpu, at, end)):
            break
        yield from mm.unlock(cpu, held)  # somebody else was faster
    try:
        places = yield from mm.tree.open(cpu, at, end)
    except OutOfMemory:
        yield from mm.unlock(cpu, held)
        return Errno.ENOMEM
    yield from mm.tree.assign(cpu, places, Desc(asked.rights))
    yield from mm.unlock(cpu, held)
    return at


def _find_room(mm: Vmap, cpu: Cpu, pages: int) -> Steps[int | None]:
    """vmap::unmapped_area, without a lock. Value: the first page, None where all is full."""
    start = page = mm.hints.get(cpu, FIRST_HINT)
    near: Node | None = None
    while page < ALL_PAGES:
        near, slot = yield from mm.tree.find(cpu, page, near)
        cpu.work(mm.cost.slot, TREE)
        end = near.first_page(slot) + near.span
        if near.slots[slot] is not None:
            start = page = max(end, page + _APART)
        elif end - start >= pages:
            mm.hints[cpu] = start + pages
            return start
        else:
            page = end
    return None


def _is_free(mm: Vmap, cpu: Cpu, start: int, end: int) -> Steps[bool]:
    places = yield from mm.tree.slots(cpu, start, end)
    return all(node.slots[slot] is None for node, slot in places)


def _populate(mm: Vmap, cpu: Cpu, pages: range, *, write: bool) -> Steps[None]:
    """Nobody is told of pages that cannot be had. Other threads may meanwhile have unmapped some."""
    for page in pages:
        try:
            yield from user_fault(mm, cpu, page, write)
        except SegmentationFault:
            continue
        except OutOfMemory:
            return
