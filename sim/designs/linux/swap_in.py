"""Swap entries in page tables: bringing a page back, and what else becomes of them (mm/memory.c, 6.13).

    in the cache     lock the page | PTL: the same entry? free the slot, set the entry | unlock
    zram, one user   a page, read it past the cache, then the same; who comes second waits and faults again
    else             a page, into the cache, ask the drive | let the VMA's lock go, sleep, fault again

A fault does not sleep for a page with the lock that it came with, unless it comes the second time. So reading
from a drive takes two faults, the second under mmap_lock. Left out: reading ahead (vm.page-cluster).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.fault_retry import FaultRetry, release_fault_lock
from sim.designs.linux.swap.entry import SwapEntry
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SWAP, WRITE, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.swap_cache import Swap
    from sim.designs.linux.vma import Vma


def do_swap_page(
    mm: LinuxMm,
    cpu: Cpu,
    vma: Vma,
    table: PageTablePage,
    page: int,
    write: bool,
    entry: SwapEntry,
    *,
    vma_locked: bool,
    first: bool,
) -> Steps[bool]:
    """Bring in the page that *entry* names. Value: whether it is mapped; False: somebody else was faster.

    Raises `FaultRetry` where the caller's lock was let go to wait; not unless it comes the *first* time. And
    `OutOfMemory`.
    """
    swap, place, major = _swap(mm), entry.place, False
    cpu.work(swap.cost.swap_in, PAGE_TABLE)
    frame, fresh = (yield from swap.find(cpu, place)), False
    if frame is None:
        major = True
        if swap.device.synchronous and swap.slots.users.get(place) == 1:
            frame, fresh = (yield from _read_past_cache(mm, cpu, place)), True
        else:
            frame = yield from _read_into_cache(mm, cpu, place)
        if frame is None:
            return False
    if not fresh:
        locked = yield from mm.kernel.descriptors.try_lock(cpu, frame)  # folio_lock_or_retry
        if not locked and first:
            yield from release_fault_lock(mm, cpu, vma, vma_locked=vma_locked)
            yield from mm.kernel.descriptors.wait_unlocked(cpu, frame)
            yield from mm.kernel.put_page(cpu, frame)
            raise FaultRetry(page, major=major)
        if not locked:
            yield from mm.kernel.descriptors.lock(cpu, frame)
    mapped = fresh or swap.slot_of.get(frame) == place
    if mapped:
        if write and not fresh and mm.lru.is_waiting(cpu, frame):
            yield from mm.lru.drain(cpu)
        mapped = yield from _map(mm, cpu, vma, table, page, write, entry, frame, fresh=fresh)
    yield from mm.kernel.descriptors.unlock(cpu, frame)
    if fresh:
        yield from swap.has_been_read(cpu, place)
    if not mapped:
        yield from mm.kernel.put_page(cpu, frame)
    return mapped


def _swap(mm: LinuxMm) -> Swap:
    assert mm.kernel.swap is not None
    return mm.kernel.swap


def _read_past_cache(mm: LinuxMm, cpu: Cpu, place: int) -> Steps[int | None]:
    """Value: a page of its own, locked and read; None where another reads the slot, who is waited for."""
    swap = _swap(mm)
    frame = yield from mm.pages.allocate(cpu)
    yield from mm.charge(cpu, frame)  # mem_cgroup_swapin_charge_folio
    mine = yield from swap.slots.set_cache(cpu, place)
    if not mine:
        yield from mm.give_back(cpu, frame)
        if mine is not None:
            yield from swap.wait_for_reader(cpu, place)
        return None
    yield from mm.kernel.descriptors.lock(cpu, frame)  # __folio_set_locked: nobody else knows it
    yield from mm.lru.add(cpu, frame)
    yield from swap.read(cpu, frame, place)
    return frame


def _read_into_cache(mm: LinuxMm, cpu: Cpu, place: int) -> Steps[int | None]:
    """read_swap_cache_async: value is the page in the cache, with a reference, locked as long as it is read.

    None where the slot is not in use any more.
    """
    swap, kernel = _swap(mm), mm.kernel
    while True:
        frame = yield from swap.find(cpu, place)
        if frame is not None:
            return frame
        frame = yield from mm.pages.allocate(cpu)
        yield from mm.charge(cpu, frame)  # mem_cgroup_swapin_charge_folio
        mine = yield from swap.slots.set_cache(cpu, place)
        if mine:
            break
        yield from mm.give_back(cpu, frame)
        if mine is None:
            return None
        yield from swap.wait_for_reader(cpu, place)
    yield from kernel.descriptors.lock(cpu, frame)
    yield from swap.add(cpu, frame, place)
    yield from mm.lru.add(cpu, frame)
    yield from swap.read(cpu, frame, place)
    if swap.device.synchronous:
        yield from kernel.descriptors.unlock(cpu, frame)
    return frame


def _map(
    mm: LinuxMm,
    cpu: Cpu,
    vma: Vma,
    table: PageTablePage,
    page: int,
    write: bool,
    entry: SwapEntry,
    frame: int,
    *,
    fresh: bool,
) -> Steps[bool]:
    """The part under the page-table lock; *frame* is locked, and the entry takes over the caller's reference.

    Value: whether the entry was still *entry*.
    """
    swap, kernel, slot = _swap(mm), mm.kernel, slot_of(page, 1)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    if table.get(slot) is not entry:
        yield from lock.release(cpu)
        return False
    yield from swap.slots.count(cpu, entry.place, -1)
    if not fresh and (swap.slots.is_full or vma.locked or (write and _owners(mm, frame) == 2)):
        yield from swap.try_to_free(cpu, frame)
    alone = entry.exclusive or fresh or _owners(mm, frame) == 1
    yield from mm.stat.count_pages(cpu, anon=1)
    mm.stat.swap_entries -= 1
    if not kernel.rmap.is_known(frame):
        kernel.rmap.add_new(vma, page, frame)
    yield from kernel.descriptors.write(cpu, frame, activity=SWAP)  # folio_add_anon_rmap_ptes
    if vma.locked:
        yield from mm.lru.change_list(cpu, frame)  # mlock_vma_folio
    dirty = write and alone and bool(vma.rights & WRITE)
    yield from table.line(slot).store(cpu, PAGE_TABLE)
    table.set(slot, Present(frame, vma.rights, copy_on_write=not alone, accessed=True, dirty=dirty))
    yield from lock.release(cpu)
    return True


def _owners(mm: LinuxMm, frame: int) -> int:
    """folio_ref_count."""
    return mm.pages.in_use.owners(frame)


# -- what else becomes of an entry --------------------------------------------------------------------------


def forget_swapped(mm: LinuxMm, cpu: Cpu, entry: SwapEntry) -> Steps[None]:
    """zap_nonpresent_ptes: *entry* has left its table, which is locked."""
    swap = _swap(mm)
    cpu.work(swap.cost.zap_entry, PAGE_TABLE)
    mm.stat.swap_entries -= 1
    yield from swap.free_and_cache(cpu, entry.place)


def copy_swapped(
    mm: LinuxMm,
    child: LinuxMm,
    cpu: Cpu,
    source: PageTablePage,
    target: PageTablePage,
    slot: int,
    entry: SwapEntry,
) -> Steps[None]:
    """copy_nonpresent_pte: one user more; the page is copied on a write from now on."""
    cpu.work(mm.cost.fork_page, PAGE_TABLE)
    yield from _swap(mm).slots.count(cpu, entry.place, 1)
    if entry.exclusive:
        yield from source.line(slot).store(cpu, PAGE_TABLE)
        source.set(slot, SwapEntry.of(entry.place, exclusive=False))
    child.stat.swap_entries += 1
    yield from target.line(slot).store(cpu, PAGE_TABLE)
    target.set(slot, SwapEntry.of(entry.place, exclusive=False))


def in_swap_cache(mm: LinuxMm, cpu: Cpu, entry: SwapEntry) -> Steps[bool]:
    """mincore_page: whether the page of *entry* is in memory."""
    frame = yield from _swap(mm).find(cpu, entry.place)
    if frame is not None:
        yield from mm.kernel.put_page(cpu, frame)
    return frame is not None
