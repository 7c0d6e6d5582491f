"""A page fault, up to what has to be done about its page (arch/x86/mm/fault.c, mm/mmap_lock.c; 6.13).

exception | prefetchw mmap_lock | VMA lock, or mmap_lock to read | tables | the page (`anon`) | unlock | IRET
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.anon import do_anonymous_page, do_present_page
from sim.designs.linux.fault_retry import FaultRetry
from sim.designs.linux.file_fault import do_fault
from sim.designs.linux.huge_fault import handle_huge
from sim.designs.linux.hugetlb import hugetlb_fault
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.morsel_fault import fault_without_lock, morsel_fault
from sim.designs.linux.replicas.trees import NodeTrees
from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.swap_in import do_swap_page
from sim.designs.linux.tables import ensure_table, find_table
from sim.designs.linux.vma import Vma, VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    FAULT_ENTRY,
    PAGE_TABLE,
    READ,
    SLOTS,
    WRITE,
    BusError,
    Errno,
    OutOfMemory,
    Present,
    SegmentationFault,
    slot_of,
)


def user_fault(mm: LinuxMm, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """exc_page_fault: with the prefetch of mmap_lock where the kernel has it. Raises what the fault raises.

    IRET, the way back, is a serializing instruction: what was asked for has to come first.
    """
    absent = cpu.locks is not None and cpu.locks.is_absent(mm.mmap_lock)
    line = mm.locks.prefetched
    if absent or line is None:
        yield from _do_user_addr_fault(mm, cpu, page, write)
        return
    yield from line.prefetch_write(cpu)
    yield from _do_user_addr_fault(mm, cpu, page, write)
    yield from line.serialize(cpu, FAULT_ENTRY)


def _do_user_addr_fault(mm: LinuxMm, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """Under the VMA's lock if that works, else under mmap_lock.

    Raises `SegmentationFault` for what the VMA does not allow, `BusError` behind the end of a file, and
    `OutOfMemory`, with no lock held.
    """
    morsels = mm.kernel.morsels
    if morsels is not None and morsels.lock_free:
        served = yield from fault_without_lock(mm, cpu, page, write=write)
        if served:
            return
    first = True
    vma = yield from mm.lock_vma_under_rcu(cpu, page)
    if vma is not None and mm.switches.anon_vma_early_check and vma.area.file is None and not vma.anon_vma:
        yield from vma.lock.end_read(cpu)  # find_mergeable_anon_vma looks at neighbours, which are not locked
        vma = None
    if vma is not None and mm.vma_locks.rechecks and not _may_go_without(mm, vma):
        vma = None
    if vma is not None:
        bad = _access_error(cpu, vma, page, write)
        done = False
        try:
            done = bad is not None or (yield from _handle(mm, cpu, vma, page, write, vma_locked=True))
        except (OutOfMemory, BusError):
            yield from vma.lock.end_read(cpu)
            raise
        except FaultRetry as retry:
            first = not retry.major
        else:
            yield from vma.lock.end_read(cpu)
        if bad is not None:
            raise bad
        if done:
            return
    while True:
        try:
            yield from _fault_under_mmap_lock(mm, cpu, page, write, first=first)
        except FaultRetry:
            first = False
        else:
            return


def _fault_under_mmap_lock(mm: LinuxMm, cpu: Cpu, page: int, write: bool, *, first: bool) -> Steps[None]:
    """lock_mm_and_find_vma, and the fault. Raises what `_do_user_addr_fault` raises, and `FaultRetry`."""
    vma = yield from mm.locks.begin_fault(cpu, page)
    if vma is None:
        yield from mm.locks.unlock_read(cpu)
        raise SegmentationFault(f"{cpu} touched page {page:#x}, which no VMA covers")
    yield from vma.line.read(cpu, VMA_WORK)
    bad = _access_error(cpu, vma, page, write)
    try:
        if bad is None:
            yield from _handle(mm, cpu, vma, page, write, vma_locked=False, first=first)
    except (OutOfMemory, BusError):
        yield from mm.locks.unlock_read(cpu)
        raise
    yield from mm.locks.unlock_read(cpu)
    if bad is not None:
        raise bad


def populate(
    mm: LinuxMm, cpu: Cpu, start: int, pages: int, *, ignore_errors: bool = True
) -> Steps[Errno | None]:
    """__mm_populate (mm/gup.c): fault the pages in that are mapped, under mmap_lock for reading.

    Value: `EFAULT` for pages that nobody may touch or that their file does not have, `ENOMEM` where there is
    no memory for one. mmap ignores both: it has succeeded, and whoever touches the page will see.
    """
    end, refused = start + pages, None
    yield from mm.mmap_lock.read_lock(cpu)
    yield from mm.tree.find(cpu, start)
    while start < end and (vmas := mm.tree.overlapping(start, end)):
        stop = min(end, vmas[0].end)
        try:
            refused = yield from _populate_vma(mm, cpu, vmas[0], max(start, vmas[0].start), stop)
        except FaultRetry as retry:
            start = retry.page
            yield from mm.mmap_lock.read_lock(cpu)
            yield from mm.tree.find(cpu, start)
            continue
        if refused is not None and not ignore_errors:
            break
        start = stop
        if start < end:
            yield from mm.tree.find(cpu, start)
    yield from mm.mmap_lock.read_unlock(cpu)
    return None if ignore_errors else refused


def _populate_vma(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int) -> Steps[Errno | None]:
    """populate_vma_page_range: as a write where that may be; shared pages are dirtied by nobody."""
    if VmFlags.LOCKONFAULT in vma.area.flags or vma.of_morsel:  # as VM_PFNMAP
        return None
    if not vma.rights or vma.special:
        return Errno.EFAULT
    write = bool(vma.rights & WRITE) and not vma.area.shared
    refused = yield from fault_in(mm, cpu, vma, start, end, write=write)
    yield from mm.lru.drain(cpu)
    return refused


def fault_in(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, *, write: bool) -> Steps[Errno | None]:
    """__get_user_pages of a part of *vma*, which allows it. The caller holds mmap_lock for reading.

    Value: `ENOMEM` where memory ends, and `EFAULT` where its file does. Raises `FaultRetry` where it has
    slept.
    """
    try:
        page = start
        while page < end:
            if not write and vma.area.file is not None:
                there = yield from _follow_page(mm, cpu, page)
                if there:
                    page += 1
                    continue
            yield from _handle(mm, cpu, vma, page, write, vma_locked=False)
            entry = mm.present(page)
            if entry is None or (write and not entry.writable):  # somebody else was faster: look again
                continue
            huge = mm.huge_table(page) is not None
            page += SLOTS - page % SLOTS if huge else 1
    except OutOfMemory:
        return Errno.ENOMEM
    except BusError:
        return Errno.EFAULT
    return None


def _follow_page(mm: LinuxMm, cpu: Cpu, page: int) -> Steps[bool]:
    """follow_page_pte of a page of a file that is to be read: whether it is mapped, as those are that the
    fault before it has brought in around it. What is looked at and not there is a part of the fault."""
    table = mm.leaf_table(page)
    if table is None or type(table.get(slot_of(page, 1))) is not Present:
        return False
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    there = type(table.get(slot_of(page, 1))) is Present
    cpu.work(mm.cost.mlock_page, PAGE_TABLE)
    yield from lock.release(cpu)
    return there


def _may_go_without(mm: LinuxMm, vma: Vma) -> bool:
    """Whether a fault in *vma* may hold nothing at all: anonymous memory in small pages that nobody else
    serves, and that no reverse map is asked for."""
    if mm.thp != "never" or mm.kernel.swap is not None or vma.of_morsel:
        return False
    return vma.area.file is None and not vma.area.flags & (VmFlags.UFFD_MISSING | VmFlags.HUGETLB)


def _access_error(cpu: Cpu, vma: Vma, page: int, write: bool) -> SegmentationFault | None:
    """access_error: the signal that the access gets where *vma* does not allow it."""
    if vma.special:  # exmap_vm_fault
        return SegmentationFault(f"{cpu} touched page {page:#x} of an exmap, which is not there")
    if vma.rights & (WRITE if write else READ):
        return None
    return SegmentationFault(f"{cpu} may not {'write' if write else 'read'} page {page:#x} of {vma}")


def _handle(
    mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, write: bool, *, vma_locked: bool, first: bool = True
) -> Steps[bool]:
    """`_handle_mm_fault`, for the table of the cpu's node where each has its own."""
    if mm.replicas is not None:
        return _handle_for_node(mm, mm.replicas, cpu, vma, page, write, vma_locked=vma_locked, first=first)
    return _handle_mm_fault(mm, cpu, vma, page, write, vma_locked=vma_locked, first=first)


def _handle_for_node(
    mm: LinuxMm,
    trees: NodeTrees,
    cpu: Cpu,
    vma: Vma,
    page: int,
    write: bool,
    *,
    vma_locked: bool,
    first: bool,
) -> Steps[bool]:
    """The owner's entry is copied if it serves the fault; if not the fault is the owner's first."""
    copied = yield from trees.copy_in(cpu, vma, page, write)
    if copied:
        return True
    done = yield from _handle_mm_fault(mm, cpu, vma, page, write, vma_locked=vma_locked, first=first)
    if done:
        yield from trees.copy_in(cpu, vma, page, write)
    return done


def _handle_mm_fault(
    mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, write: bool, *, vma_locked: bool, first: bool
) -> Steps[bool]:
    """handle_mm_fault -> handle_pte_fault. Value: False means try again under mmap_lock.

    Raises `FaultRetry` where the lock was let go to sleep; for a page that is read only the *first* time.
    """
    yield from mm.stat.rss.fault_begins(cpu)
    if mm.pgd_line is not None:  # pgd_offset
        yield from mm.pgd_line.read(cpu, PAGE_TABLE)
    cpu.work(mm.cost.fault, PAGE_TABLE)
    if vma_locked and mm.speculates:
        return (yield from _handle_speculatively(mm, cpu, vma, page, write))
    if vma.morsel is not None:
        return (yield from morsel_fault(mm, cpu, vma, page))
    if vma.hugetlb:
        return (yield from hugetlb_fault(mm, cpu, vma, page, write, vma_locked=vma_locked))
    if mm.thp != "never":
        served = yield from handle_huge(mm, cpu, vma, page, write, vma_locked=vma_locked)
        if served is not None:
            return served
    rechecks = vma_locked and mm.vma_locks.rechecks
    if mm.forked is not None:
        yield from mm.forked.take_for_fault(mm, cpu, page, write)
    table = yield from ensure_table(mm, cpu, page, 1, looked_up=vma if rechecks else None)
    if table is None:  # a huge page, by somebody who was faster: the access is tried again
        return True
    if rechecks:  # the table itself may be on its way out
        yield from table.line(slot_of(page, 1)).read(cpu, PAGE_TABLE)
    entry = table.get(slot_of(page, 1))
    if isinstance(entry, SwapEntry):
        if rechecks:
            return False
        mapped = yield from do_swap_page(
            mm, cpu, vma, table, page, write, entry, vma_locked=vma_locked, first=first
        )
        brought = table.get(slot_of(page, 1))
        if not (mapped and write and isinstance(brought, Present)) or brought.writable:
            return True
    if entry is None:
        first_touch = do_anonymous_page if vma.area.file is None else do_fault
        return (yield from first_touch(mm, cpu, vma, table, page, write, vma_locked=vma_locked))
    return (yield from do_present_page(mm, cpu, vma, table, page, write, vma_locked=vma_locked))


def _handle_speculatively(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, write: bool) -> Steps[bool]:
    """A fault that has no lock of *vma*: it makes neither tables nor an anon_vma, and leaves to others what
    is not plain memory (CONFIG_SPECULATIVE_PAGE_FAULT). Value: False means again under a lock.

    Whoever sets an entry looks once more whether *vma* is as it was (`VmaLocks.still_valid`). If not, nothing
    is done, and the access is tried again.
    """
    if vma.hugetlb or vma.of_morsel or mm.thp != "never":
        return False
    table = yield from find_table(mm, cpu, page)
    if table is None:
        return False
    entry = table.get(slot_of(page, 1))
    if isinstance(entry, SwapEntry):
        return False
    if entry is not None:
        return (yield from do_present_page(mm, cpu, vma, table, page, write, vma_locked=True))
    if VmFlags.UFFD_MISSING in vma.area.flags:
        return False
    first_touch = do_anonymous_page if vma.area.file is None else do_fault
    return (yield from first_touch(mm, cpu, vma, table, page, write, vma_locked=True))
