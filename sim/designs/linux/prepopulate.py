"""Memory that was written before anything is measured: the end state of populate_vma_page_range, in bulk.

The page tables are made as a fault makes them, under their locks; the entries of a table then cost one step:

    private memory, a whole new table    a block of the buddy, and one entry for all (`PresentRun`)
    private memory, a part of a table    single frames, an entry each
    shared memory                        the file's pages, an entry each

The pages have long been on the LRU. What is no such case (locked memory, huge pages and large folios, memory
of a userfaultfd or where swap is, frames from several nodes, memory that is partly there, holes of a file,
pages that other cpus have used) is faulted in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.anon import anon_vma_prepare, written_entry
from sim.designs.linux.fault import fault_in
from sim.designs.linux.fault_retry import FaultRetry
from sim.designs.linux.huge_fault import allows_huge
from sim.designs.linux.large_folio import allows_folios
from sim.designs.linux.page_cache import inode_of
from sim.designs.linux.tables import ensure_leaf_table
from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    WRITE,
    Errno,
    OutOfMemory,
    PageTablePage,
    Prepopulate,
    PrepopulateFolios,
    PresentRun,
    slot_of,
    tell_filled,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

_ORDER: Final = SLOTS.bit_length() - 1


def prepopulate(mm: LinuxMm, cpu: Cpu, asked: Prepopulate) -> Steps[Errno | None]:
    """All pages of the range, as MADV_POPULATE_WRITE brings them in."""
    page, end = asked.at, asked.at + asked.pages
    refused: Errno | None = None
    yield from mm.mmap_lock.read_lock(cpu)
    while page < end and refused is None:
        vma = mm.tree.peek(page)
        if vma is None:
            refused = Errno.ENOMEM
        elif not vma.rights & WRITE or vma.special:
            refused = Errno.EFAULT
        else:
            stop = min(end, vma.end)
            try:
                refused = yield from _populate(mm, cpu, vma, page, stop)
            except FaultRetry as retry:
                stop = retry.page
                yield from mm.mmap_lock.read_lock(cpu)
            page = stop
    yield from mm.lru.drain(cpu)
    yield from mm.mmap_lock.read_unlock(cpu)
    return refused


def prepopulate_folios(mm: LinuxMm, cpu: Cpu, asked: PrepopulateFolios) -> Steps[Errno | None]:
    """The same in folios that are mapped page by page, as after a huge entry was split or with mTHP."""
    page, end, folio = asked.at, asked.at + asked.pages, asked.folio
    vma = mm.tree.peek(page)
    if vma is None or end > vma.end:
        return Errno.ENOMEM
    anonymous = vma.area.file is None and not vma.area.shared and not vma.special and vma.rights & WRITE
    if not anonymous or page % folio or asked.pages % folio or not 1 < folio <= SLOTS or folio & (folio - 1):
        return Errno.EINVAL
    yield from mm.mmap_lock.read_lock(cpu)
    yield from anon_vma_prepare(mm, cpu, vma, vma_locked=False)
    refused: Errno | None = None
    while page < end and refused is None:
        yield from mm.take_tables(cpu, page, page + folio)
        table = yield from ensure_leaf_table(mm, cpu, page)
        try:
            yield from _give_folio(mm, cpu, vma, table, page, folio)
        except OutOfMemory:
            refused = Errno.ENOMEM
        page += folio
    yield from mm.mmap_lock.read_unlock(cpu)
    return refused


def _give_folio(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, folio: int) -> Steps[None]:
    """One folio, an owner of which each of its entries is. Raises `OutOfMemory`."""
    order = folio.bit_length() - 1
    head = yield from mm.pages.allocate(cpu, order)
    yield from mm.charge(cpu, head, order)
    mm.pages.in_use.add_folio(head)
    mm.pages.in_use.get(head, folio - 1)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    for slot in range(folio):
        table.set(slot_of(page, 1) + slot, written_entry(head + slot, vma))
    yield from lock.release(cpu)
    mm.lru.put_folio_on_lists(head)
    mm.stat.add_at_once(anon=folio)
    for frame in range(head, head + folio):
        cpu.probe.frame_filled(cpu, frame, None)


def _populate(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, end: int) -> Steps[Errno | None]:
    """A part of *vma*, one level-1 table after the other."""
    plain = mm.kernel.swap is None and VmFlags.UFFD_MISSING not in vma.area.flags
    in_bulk = plain and not (vma.locked or vma.hugetlb or vma.of_morsel) and mm.pages.policy.steady
    in_bulk = in_bulk and not (vma.area.file is None and allows_folios(mm, vma))
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        filled = False
        huge = mm.huge_table(page) is not None or (mm.thp != "never" and allows_huge(mm, vma, page))
        if in_bulk and not huge:
            try:
                filled = yield from _fill(mm, cpu, vma, page, stop)
            except OutOfMemory:
                return Errno.ENOMEM
        if not filled:
            refused = yield from fault_in(mm, cpu, vma, page, stop, write=True)
            if refused is not None:
                return refused
        page = stop
    return None


def _fill(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, stop: int) -> Steps[bool]:
    """Pages [*page*, *stop*) of one level-1 table; value: whether that could be done in bulk."""
    yield from mm.take_tables(cpu, page, stop)
    table = yield from ensure_leaf_table(mm, cpu, page)
    if not vma.area.shared:
        yield from anon_vma_prepare(mm, cpu, vma, vma_locked=False)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    first, pages = slot_of(page, 1), stop - page
    cached = _cached(vma, page, pages)
    filled = all(table.entry_of(each) is None for each in range(page, stop))
    if cached is None or not filled:
        filled = False
    elif vma.area.shared:
        filled = _map_cached(mm, cpu, vma, table, first, cached)
    else:
        yield from _give_pages(mm, cpu, vma, table, first, pages, cached)
    yield from lock.release(cpu)
    return filled


def _cached(vma: Vma, page: int, pages: int) -> list[int] | None:
    """The frames of the file's pages that are mapped there, none for anonymous memory; None: not all are
    there."""
    if vma.area.file is None:
        return []
    inode, index = inode_of(vma), vma.pgoff + page - vma.start
    found = [inode.frames.get(each) for each in range(index, min(index + pages, inode.pages))]
    frames = [frame for frame in found if frame is not None]
    return frames if len(frames) == pages else None


def _map_cached(mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, first: int, frames: list[int]) -> bool:
    """Shared memory: *frames* are mapped from slot *first* on, unless other cpus have used them."""
    descriptors = mm.kernel.descriptors
    if not all(descriptors.is_own(cpu, frame) for frame in frames):
        return False
    for slot, frame in enumerate(frames, first):
        descriptors.write_own(cpu, frame, times=0)
        mm.pages.in_use.get(frame)
        table.set(slot, written_entry(frame, vma))
    mm.stat.add_at_once(files=len(frames))
    return True


def _give_pages(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, first: int, pages: int, sources: list[int]
) -> Steps[None]:
    """Private memory: pages of its own, with zeros or with what is in *sources*. Raises `OutOfMemory`, and
    lets the table's lock go then."""
    frames: Sequence[int] | None = None
    if pages == SLOTS and table.untouched:
        frames = mm.pages.take_run(cpu, _ORDER)
    if isinstance(frames, range):
        table.fill_with(PresentRun(frames.start, vma.rights), cpu)
        mm.lru.put_run_on_lists(frames)
    else:
        try:
            frames = mm.pages.take(cpu, pages)
        except OutOfMemory:
            yield from mm.table_lock(table).release(cpu)
            raise
        for slot, frame in enumerate(frames, first):
            mm.pages.node(cpu, frame)
            table.set(slot, written_entry(frame, vma))
        mm.lru.put_on_lists([*frames])
    mm.stat.add_at_once(anon=pages)
    tell_filled(cpu, frames, sources or None)
