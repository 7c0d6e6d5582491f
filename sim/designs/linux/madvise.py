"""madvise and process_madvise (mm/madvise.c, 6.13.7).

mmap_lock  |------------------- read --------------------|
    dontneed   find, drain, zap, flush + acks, free        read_unlock
    free       find, drain, clear bits under the PTL, flush + acks, batches
    cold       find, drain, clear bits under the PTL, flush + acks, lists (`pageout`)
    pageout    find, drain, isolate under the PTL, reclaim
    populate   find, fault in, drain
           |------------------ write --------------------|
    hugepage   find, join or cut, mark                     write_unlock

What only walks VMAs holds mmap_lock for reading, what changes a VMA's flags for writing. All but populate go
on behind a hole and tell of it in the end.

Since 6.17 (`dontneed_lock: vma`) the lock of the VMA takes the place of mmap_lock for dontneed and free where
the range lies in one (try_vma_read_lock of 6.18). There can be no such VMA, or a writer may have it: then it
is mmap_lock again.

Since 6.16 (`process_madvise: one-flush`) what dontneed and free clear goes to one gather for the whole call,
not one for each VMA. process_madvise does several ranges in one call, since 6.15 under one mmap_lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.fault import fault_in
from sim.designs.linux.fault_retry import FaultRetry
from sim.designs.linux.gather import Gather, tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.huge_pmd import free_huge_pmd
from sim.designs.linux.latr.gather import tlb_gather_lazily
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import modify
from sim.designs.linux.pageout import cold, pageout
from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.swap_in import forget_swapped
from sim.designs.linux.tlb_batch import flush_batched_pending
from sim.designs.linux.vma import Vma, VmFlags
from sim.designs.linux.zap import zap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    READ,
    SLOTS,
    SYSCALL,
    WRITE,
    Advice,
    Errno,
    Madvise,
    OutOfMemory,
    PageTablePage,
    Present,
    ProcessMadvise,
    slot_of,
)

Visit: TypeAlias = Callable[[LinuxMm, Cpu, Vma, int, int, Gather | None], Steps[Errno | None]]
"""What is done with a part of a VMA, what is cleared into the call's gather or one of its own. Value: an
error that ends the call."""

UIO_MAXIOV: Final = 1024
"""Parts of one call, at most (include/uapi/linux/uio.h)."""

_FLAGS: Final[Mapping[str, tuple[VmFlags, VmFlags]]] = {
    "hugepage": (VmFlags.HUGEPAGE, VmFlags.NOHUGEPAGE),
    "nohugepage": (VmFlags.NOHUGEPAGE, VmFlags.HUGEPAGE),
}
"""Advice that is a flag of the VMA: those that it sets and clears."""


def madvise(mm: LinuxMm, cpu: Cpu, asked: Madvise) -> Steps[Errno | None]:
    """do_madvise."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    if asked.pages < 0:
        return Errno.EINVAL
    if asked.pages == 0:
        return None
    section = Section(mm, asked.advice)
    yield from section.begin(cpu)
    refused = yield from section.advise(cpu, asked.at, asked.at + asked.pages)
    yield from section.end(cpu)
    return refused


def process_madvise(mm: LinuxMm, cpu: Cpu, asked: ProcessMadvise) -> Steps[int | Errno]:
    """vector_madvise, of the caller's own memory: a section for each part, or one for all."""
    how, done = mm.switches.process_madvise, 0
    mm.machine.entry.syscall(cpu, SYSCALL, mm.cost.process_madvise)
    if how == "remote" or len(asked.parts) > UIO_MAXIOV:
        return Errno.EINVAL
    refused: Errno | None = None
    section = Section(mm, asked.advice)
    if how != "each":
        yield from section.begin(cpu)
    for part in asked.parts:
        if how == "each":
            yield from section.begin(cpu)
        refused = (yield from section.advise(cpu, part.start, part.stop)) if part else None
        if how == "each":
            yield from section.end(cpu)
        if refused is not None:
            break
        done += len(part)
    if how != "each":
        yield from section.end(cpu)
    return done if done or refused is None else refused


class Section:
    """madvise_lock to madvise_unlock: what is held and gathered while ranges are advised."""

    __slots__ = ("_advice", "_gather", "_held", "_mm")

    def __init__(self, mm: LinuxMm, advice: Advice) -> None:
        self._mm = mm
        self._advice = advice
        self._gather: Gather | None = None
        self._held: Literal["nothing", "mmap read", "mmap write"] = "nothing"

    def begin(self, cpu: Cpu) -> Steps[None]:
        """madvise_lock, madvise_init_tlb."""
        mm, self._held = self._mm, "nothing"
        if self._advice in _FLAGS:
            yield from mm.write_lock(cpu)
            self._held = "mmap write"
        elif self._advice not in _UNDER_VMA_LOCK or mm.switches.dontneed_lock == "mmap":
            yield from self._read_lock(cpu)
        if self._advice in _UNDER_VMA_LOCK and mm.switches.process_madvise == "one-flush":
            self._gather = yield from tlb_gather_mmu(mm, cpu)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self._mm.mmap_lock.read_lock(cpu)
        self._held = "mmap read"

    def advise(self, cpu: Cpu, at: int, end: int) -> Steps[Errno | None]:
        """madvise_do_behavior."""
        mm = self._mm
        if self._advice in _FLAGS:
            return (yield from _walk_vmas(mm, cpu, at, end, _sets_flags(*_FLAGS[self._advice]), None))
        visit = _VISITS.get(self._advice)
        if visit is None:
            return (yield from _populate(mm, cpu, at, end, write=self._advice == "populate_write"))
        if self._held == "nothing":  # try_vma_read_lock
            vma = yield from mm.lock_vma_under_rcu(cpu, at)
            if vma is not None:
                whole = end <= vma.end and not vma.of_morsel
                refused = (yield from visit(mm, cpu, vma, at, end, self._gather)) if whole else None
                yield from vma.lock.end_read(cpu)
                if whole:
                    return refused
            yield from self._read_lock(cpu)
        return (yield from _walk_vmas(mm, cpu, at, end, visit, self._gather))

    def end(self, cpu: Cpu) -> Steps[None]:
        """madvise_finish_tlb, madvise_unlock."""
        mm = self._mm
        if self._gather is not None:
            yield from tlb_finish_mmu(mm, cpu, self._gather)
            self._gather = None
        if self._held == "mmap write":
            yield from mm.write_unlock(cpu)
        elif self._held == "mmap read":
            yield from mm.mmap_lock.read_unlock(cpu)


def _walk_vmas(
    mm: LinuxMm, cpu: Cpu, at: int, end: int, visit: Visit, gather: Gather | None
) -> Steps[Errno | None]:
    """madvise_walk_vmas."""
    hole: Errno | None = None
    while at < end:
        yield from mm.tree.find(cpu, at)
        vmas = mm.tree.overlapping(at, end)
        if not vmas:
            return Errno.ENOMEM
        vma = vmas[0]
        if vma.start > at:
            hole, at = Errno.ENOMEM, vma.start
        stop = min(vma.end, end)
        yield from vma.line.read(cpu, VMA_WORK)
        if vma.of_morsel:  # can_madv_lru_vma
            return Errno.EINVAL
        refused = yield from visit(mm, cpu, vma, at, stop, gather)
        if refused is not None:
            return refused
        at = stop
    return hole


def _dontneed(
    mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, gather: Gather | None
) -> Steps[Errno | None]:
    """madvise_dontneed_single_vma."""
    if vma.locked:
        return Errno.EINVAL
    return (yield from _dontneed_locked(mm, cpu, vma, start, end, gather))


def _dontneed_locked(
    mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, gather: Gather | None
) -> Steps[Errno | None]:
    """zap_page_range_single. Of huge pages of the pool whole ones go (madvise_dontneed_free_valid_vma)."""
    if vma.hugetlb:
        if start % SLOTS:
            return Errno.EINVAL
        end -= end % SLOTS
        if start == end:
            return None
    try:
        yield from mm.take_edges(cpu, start, end)
    except OutOfMemory:
        return Errno.ENOMEM
    if mm.switches.lru_drain_on_zap:
        yield from mm.lru.drain(cpu)
    own = gather or (yield from tlb_gather_lazily(mm, cpu))
    yield from mm.stat.update_hiwater_rss(cpu)
    yield from zap(mm, cpu, vma, start, end, own)
    if gather is None:
        yield from tlb_finish_mmu(mm, cpu, own)
    return None


def _free(
    mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, gather: Gather | None
) -> Steps[Errno | None]:
    """madvise_free_single_vma: the pages may be taken away, as long as nobody writes to them again."""
    if vma.area.file is not None or vma.locked or vma.hugetlb or vma.special:
        return Errno.EINVAL
    yield from mm.lru.drain(cpu)
    own = gather or (yield from tlb_gather_mmu(mm, cpu))
    yield from mm.stat.update_hiwater_rss(cpu)
    page = start
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        yield from mm.take_tables(cpu, page, stop)
        table = mm.leaf_table(page)
        if table is not None:
            yield from _free_ptes(mm, cpu, table, page, stop, own)
        elif (huge := mm.huge_table(page)) is not None:
            yield from free_huge_pmd(mm, cpu, huge, page, stop, own)
        page = stop
    if gather is None:
        yield from tlb_finish_mmu(mm, cpu, own)
    return None


def _free_ptes(
    mm: LinuxMm, cpu: Cpu, table: PageTablePage, start: int, end: int, gather: Gather
) -> Steps[None]:
    """madvise_free_pte_range. A page that is accessed or written again is seen to be: so TLBs are flushed."""
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    yield from flush_batched_pending(mm, cpu)
    for page in range(start, end):
        slot = slot_of(page, 1)
        entry = table.get(slot)
        if isinstance(entry, SwapEntry):
            yield from table.line(slot).write(cpu, PAGE_TABLE)
            table.set(slot, None)
            yield from forget_swapped(mm, cpu, entry)
        if not isinstance(entry, Present) or entry.special:
            continue
        if mm.pages.in_use.head(entry.frame) in mm.pages.in_use.orders:
            continue  # a part of a folio that would have to be split
        cpu.work(mm.cost.lazyfree_page, PAGE_TABLE)
        if entry.accessed or entry.dirty:
            yield from table.line(slot).write(cpu, PAGE_TABLE)
            entry.accessed = entry.dirty = False
            gather.changed(page)
        yield from mm.lru.mark_lazyfree(cpu, entry.frame)
    yield from lock.release(cpu)


_VISITS: Final[Mapping[str, Visit]] = {
    "dontneed": _dontneed,
    "dontneed_locked": _dontneed_locked,
    "free": _free,
    "cold": cold,
    "pageout": pageout,
}
"""Advice that walks the pages of VMAs."""

_UNDER_VMA_LOCK: Final = frozenset({"dontneed", "dontneed_locked", "free"})
"""What the lock of one VMA is enough for since 6.17 (get_lock_mode of 6.18), and what shares a gather."""


def _populate(mm: LinuxMm, cpu: Cpu, at: int, end: int, *, write: bool) -> Steps[Errno | None]:
    """madvise_populate. A hole ends it (`ENOMEM`), and so does what may not be accessed in this way
    (`EINVAL`), what a file does not have (`EFAULT`) and a lack of memory (`ENOMEM`)."""
    refused: Errno | None = None
    while at < end and refused is None:
        vma = yield from mm.tree.find(cpu, at)
        if vma is None:
            refused = Errno.ENOMEM
        elif not vma.rights & (WRITE if write else READ):
            refused = Errno.EINVAL
        elif vma.special:
            refused = Errno.EFAULT
        else:
            stop = min(vma.end, end)
            try:
                refused = yield from fault_in(mm, cpu, vma, at, stop, write=write)
            except FaultRetry as retry:
                stop = retry.page
                yield from mm.mmap_lock.read_lock(cpu)
            at = stop
    yield from mm.lru.drain(cpu)
    return refused


def _sets_flags(given: VmFlags, taken: VmFlags) -> Visit:
    """madvise_update_vma. One VMA too many is `EAGAIN`."""

    def visit(
        mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, gather: Gather | None
    ) -> Steps[Errno | None]:
        area = vma.area.with_flags(vma.area.flags & ~taken | given)
        if area == vma.area:
            return None
        cpu.work(mm.cost.madvise_flags, VMA_WORK)
        part = yield from modify(mm, cpu, vma, start, end, area)
        if isinstance(part, Errno):
            return Errno.EAGAIN
        yield from part.lock.start_write(cpu)
        yield from part.line.store(cpu, VMA_WORK)
        mm.change_area(cpu, part, area)
        return None

    return visit
