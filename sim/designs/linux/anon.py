"""Anonymous pages: the first touch, and the copy on a write (mm/memory.c, 6.13).

    never touched   read   the page of zeros, copied on a write
                    write  a zeroed page of one's own, or a `large_folio`
    zero page       write  a zeroed page of one's own |= PTL: clear, flush, set =|
    shared page     write  its only owner by now: make it writable; else a copy of it, as above

The flush of `wp_page_copy` happens under the page-table lock: the others must not read the old page any more
when the first write to the new one can be seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.fault_retry import FaultRetry, handle_userfault
from sim.designs.linux.large_folio import allows_folios, map_folio, new_folio
from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, ZERO_FRAME, PageTablePage, Present, Rights, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def do_anonymous_page(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, write: bool, *, vma_locked: bool
) -> Steps[bool]:
    """The first touch of *page*. Value: False means try again under mmap_lock. Raises `FaultRetry` if
    another thread was asked for it (userfaultfd)."""
    rechecks = vma_locked and mm.vma_locks.rechecks
    if not write:
        zeros = Present(ZERO_FRAME, vma.rights, copy_on_write=True)
        mapped = yield from _map(mm, cpu, vma, table, page, zeros, rechecks=rechecks)
        if mapped is None:
            yield from handle_userfault(mm, cpu, vma, table, page, vma_locked=vma_locked)
        return True
    prepared = yield from anon_vma_prepare(mm, cpu, vma, vma_locked=vma_locked)
    if not prepared:
        return False
    if allows_folios(mm, vma):
        head, order = yield from new_folio(mm, cpu, vma, table, page)
        if order:
            yield from map_folio(mm, cpu, vma, table, page, head, order)
            return True
    frame = yield from mm.new_zeroed_page(cpu)
    yield from mm.charge(cpu, frame)
    cpu.work(mm.cost.anon_page, PAGE_TABLE)
    try:
        mapped = yield from _map(mm, cpu, vma, table, page, written_entry(frame, vma), rechecks=rechecks)
    except FaultRetry:
        yield from mm.give_back(cpu, frame)
        raise
    if not mapped:
        yield from mm.give_back(cpu, frame)
    if mapped is None:
        yield from handle_userfault(mm, cpu, vma, table, page, vma_locked=vma_locked)
    return True


def written_entry(frame: int, vma: Vma) -> Present:
    """The entry that serves a write fault: maybe_mkwrite(pte_mkdirty), before the write has happened."""
    return Present(frame, vma.rights, accessed=True, dirty=True)


def _map(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, entry: Present, *, rechecks: bool
) -> Steps[bool | None]:
    """Set the entry under the page-table lock; value: False where somebody else was faster, None where
    another thread has to be asked.

    Raises `FaultRetry`, without the lock, where the fault *rechecks* its VMA and that is another one by now.
    """
    slot = slot_of(page, 1)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    if rechecks:
        yield from look_again(mm, cpu, vma, table, page, entry.rights)
    free: bool | None = table.get(slot) is None
    if free and mm.speculates:
        free = yield from mm.vma_locks.still_valid(cpu)
    if free and VmFlags.UFFD_MISSING in vma.area.flags:
        free = None
    if free:
        if not entry.special:
            yield from add_to_lru(mm, cpu, vma, page, entry.frame)
            yield from mm.stat.count_pages(cpu, anon=1)
        yield from table.line(slot).store(cpu, PAGE_TABLE)
        table.set(slot, entry)
    yield from lock.release(cpu)
    return free


def look_again(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, rights: Rights
) -> Steps[None]:
    """Under the lock of *table*: raises `FaultRetry`, without it, where *vma* is not what it was."""
    yield from table.line(slot_of(page, 1)).read(cpu, PAGE_TABLE)
    still = yield from mm.still(cpu, vma, table, page, rights)
    if not still:
        yield from mm.table_lock(table).release(cpu)
        raise FaultRetry(page)


def add_to_lru(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, frame: int) -> Steps[None]:
    """folio_add_new_anon_rmap, folio_add_lru_vma."""
    if mm.kernel.swap is not None:
        mm.kernel.rmap.add_new(vma, page, frame)
    return mm.lru.change_list(cpu, frame, new=True) if vma.locked else mm.lru.add(cpu, frame)


def do_present_page(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, write: bool, *, vma_locked: bool
) -> Steps[bool]:
    """do_wp_page, or a fault that somebody else has served. Value: False means again under mmap_lock."""
    slot = slot_of(page, 1)
    lock = mm.table_lock(table)
    rechecks, rights = vma_locked and mm.vma_locks.rechecks, vma.rights
    yield from lock.acquire(cpu)
    if rechecks:
        yield from look_again(mm, cpu, vma, table, page, rights)
    entry = table.get(slot)
    valid = not mm.speculates or (yield from mm.vma_locks.still_valid(cpu))
    if not (valid and write and isinstance(entry, Present) and not entry.writable):
        yield from lock.release(cpu)
        return True
    if not entry.special and entry.frame not in mm.kernel.descriptors.of_files:
        yield from _alone(mm, cpu, entry)
        if not entry.copy_on_write:  # wp_page_reuse
            yield from table.line(slot).store(cpu, PAGE_TABLE)
            table.set(slot, written_entry(entry.frame, vma))
            yield from lock.release(cpu)
            return True
    yield from lock.release(cpu)
    return (yield from _copy(mm, cpu, vma, table, page, entry, vma_locked=vma_locked))


def _alone(mm: LinuxMm, cpu: Cpu, entry: Present) -> Steps[None]:
    """wp_can_reuse_anon_folio: a page that nobody else maps any more is not copied. Sets the entry's bit.

    A page that waits in an LRU batch has one reference more: this cpu's is drained to find out.
    """
    if not entry.copy_on_write or mm.pages.in_use.head(entry.frame) in mm.pages.in_use.orders:
        return  # a part of a folio is never reused
    if mm.lru.is_waiting(cpu, entry.frame):
        yield from mm.lru.drain(cpu)
    if (swap := mm.kernel.swap) is not None:
        yield from swap.let_go(cpu, entry.frame)
    if mm.pages.in_use.owners(entry.frame) == 1:
        entry.copy_on_write = False


def _copy(
    mm: LinuxMm, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, old: Present, *, vma_locked: bool
) -> Steps[bool]:
    """wp_page_copy."""
    rechecks, rights = vma_locked and mm.vma_locks.rechecks, vma.rights
    prepared = yield from anon_vma_prepare(mm, cpu, vma, vma_locked=vma_locked)
    if not prepared:
        return False
    frame = yield from (mm.new_zeroed_page(cpu) if old.special else mm.new_copy(cpu, old.frame))
    yield from mm.charge(cpu, frame)
    cpu.work(mm.cost.anon_page, PAGE_TABLE)
    slot = slot_of(page, 1)
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    if rechecks:
        try:
            yield from look_again(mm, cpu, vma, table, page, rights)
        except FaultRetry:
            yield from mm.give_back(cpu, frame)
            raise
    valid = not mm.speculates or (yield from mm.vma_locks.still_valid(cpu))
    if not valid or table.get(slot) is not old:  # somebody else was faster
        yield from lock.release(cpu)
        yield from mm.give_back(cpu, frame)
        return True
    yield from table.line(slot).store(cpu, PAGE_TABLE)
    table.set(slot, None)
    yield from mm.tlb.flush(cpu, range(page, page + 1))  # ptep_clear_flush
    yield from add_to_lru(mm, cpu, vma, page, frame)
    yield from table.line(slot).store(cpu, PAGE_TABLE)
    table.set(slot, written_entry(frame, vma))
    cached = old.frame in mm.kernel.descriptors.of_files
    yield from mm.stat.count_pages(cpu, anon=int(old.special or cached), files=-int(cached))
    if vma.locked and not old.special:
        yield from mm.lru.change_list(cpu, old.frame)  # munlock_vma_folio
    yield from lock.release(cpu)
    if cached:
        yield from mm.kernel.descriptors.write(cpu, old.frame)  # folio_remove_rmap_pte
    if not old.special:
        if mm.kernel.swap is not None:
            yield from mm.kernel.swap.free_cache(cpu, old.frame)
        yield from mm.lru.release(cpu, [old.frame])
    return True


def anon_vma_prepare(mm: LinuxMm, cpu: Cpu, vma: Vma, *, vma_locked: bool) -> Steps[bool]:
    """vmf_anon_prepare: the first fault of a VMA needs mmap_lock for reading, at least by trylock.

    Value: whether *vma* has an anon_vma now.
    """
    if vma.has_anon_vma:
        return True
    if vma_locked and mm.vma_locks.rechecks:
        return (yield from _anon_vma_prepare(mm, cpu, vma))
    if vma_locked:
        taken = not mm.speculates and (yield from mm.mmap_lock.read_trylock(cpu))
        if not taken:
            return False
    try:
        if not vma.has_anon_vma:
            yield from _anon_vma_prepare(mm, cpu, vma)
    finally:
        if vma_locked:
            yield from mm.mmap_lock.read_unlock(cpu)
    return True


def prepare_to_copy(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """*vma* is about to be copied, under mmap_lock. Where faults hold nothing, one may give it an anon_vma at
    any time, and pages of it would lie in a copy that has none: so it gets one first. Raises `OutOfMemory`.
    """
    if mm.vma_locks.rechecks and vma.area.file is None and not vma.has_anon_vma:
        yield from _anon_vma_prepare(mm, cpu, vma)


def _anon_vma_prepare(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[bool]:
    """__anon_vma_prepare: somebody else may be at it too. Value: False where *vma* has gone meanwhile."""
    anon_vma, link = yield from mm.new_anon_vma(cpu)
    yield from mm.page_table_lock.acquire(cpu)
    gone = vma.detached
    first = vma.anon_vma is None and not gone
    if first:
        vma.adopt(anon_vma, link)
    yield from mm.page_table_lock.release(cpu)
    if not first:
        yield from mm.free_anon_vma(cpu, anon_vma, link)
    return not gone
