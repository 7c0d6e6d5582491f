"""userfaultfd: faults that another thread of the process serves (fs/userfaultfd.c, mm/userfaultfd.c; 6.13).

    faulter   VMA lock | a page | PTL: nothing there | queue a message | unlock, wake readers | sleep ...
    monitor   ... asleep in read | take the message | UFFDIO_COPY: lock the VMA, copy, PTL, entry | wake ...
    faulter   ... woken | fault again: the page is there

A process has one such file here, which it makes when it first reads or registers; ranges are of private
anonymous memory, for pages that are missing, which are never huge. A write has allocated and zeroed a page
before it finds that it must ask, and gives that back. Since 6.9 a monitor locks the VMA that it fills
(`uffd_lock`), before that it held mmap_lock for reading. A VMA that is moved, and a child's copy of one, are
not registered. Left out: shared memory, write protection, minor faults, events, and faults that are told by a
signal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.anon import add_to_lru, anon_vma_prepare, written_entry
from sim.designs.linux.modify import modify
from sim.designs.linux.tables import ensure_table
from sim.designs.linux.uffd import Userfaultfd
from sim.designs.linux.vma import Vma, VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    SYSCALL,
    ZERO_FRAME,
    Errno,
    OutOfMemory,
    Present,
    SegmentationFault,
    UffdClose,
    UffdCopy,
    UffdRead,
    UffdRegister,
    UffdUnregister,
    UffdWake,
    UffdZeropage,
    beyond_user_memory,
    slot_of,
)

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm


# -- which memory -------------------------------------------------------------------------------------------


def uffd_register(mm: LinuxMm, cpu: Cpu, asked: UffdRegister) -> Steps[Errno | None]:
    """userfaultfd_register, with userfaultfd(2) before the first."""
    if not _is_open(mm):
        _open(mm, cpu)
    return (yield from _change(mm, cpu, asked.at, asked.pages, VmFlags.UFFD_MISSING))


def uffd_unregister(mm: LinuxMm, cpu: Cpu, asked: UffdUnregister) -> Steps[Errno | None]:
    """userfaultfd_unregister: who waits there faults again, and the kernel serves that."""
    refused = yield from _change(mm, cpu, asked.at, asked.pages, VmFlags.NONE)
    if refused is None and mm.uffd is not None:
        yield from mm.uffd.wake(cpu, range(asked.at, asked.at + asked.pages))
    return refused


def uffd_close(mm: LinuxMm, cpu: Cpu, asked: UffdClose) -> Steps[None]:
    """userfaultfd_release: no VMA is registered any more, who waits faults again, readers find it closed."""
    uffd = mm.uffd or _open(mm, cpu)
    mm.machine.entry.syscall(cpu, SYSCALL)
    if uffd.closed:
        return
    uffd.closed = True
    yield from mm.write_lock(cpu)
    for vma in list(mm.tree):
        if VmFlags.UFFD_MISSING in vma.area.flags:
            yield from vma.lock.start_write(cpu)
            yield from vma.line.store(cpu, VMA_WORK)
            forget(vma)
    yield from mm.write_unlock(cpu)
    yield from uffd.wake(cpu, None)
    yield from uffd.wake_readers(cpu)


def _open(mm: LinuxMm, cpu: Cpu) -> Userfaultfd:
    """userfaultfd(2)."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    mm.uffd = Userfaultfd(mm.kernel, cpu)
    return mm.uffd


def _is_open(mm: LinuxMm) -> bool:
    return mm.uffd is not None and not mm.uffd.closed


def forget(vma: Vma) -> None:
    """userfaultfd_reset_ctx: *vma*, which is locked for writing, is not registered any more."""
    vma.area = vma.area.with_flags(vma.area.flags & ~VmFlags.UFFD_MISSING)


def _change(mm: LinuxMm, cpu: Cpu, at: int, pages: int, flag: VmFlags) -> Steps[Errno | None]:
    """userfaultfd_register_range. Holes are passed over, but the range may not be one hole."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    if not _is_open(mm) or pages <= 0 or beyond_user_memory(at, pages):
        return Errno.EINVAL
    end = at + pages
    yield from mm.write_lock(cpu)
    yield from mm.tree.find(cpu, at)
    vmas = mm.tree.overlapping(at, end)
    refused = None if vmas and not any(_cannot_userfault(vma) for vma in vmas) else Errno.EINVAL
    while at < end and refused is None and (rest := mm.tree.overlapping(at, end)):
        vma, start, stop = rest[0], max(at, rest[0].start), min(end, rest[0].end)
        refused = yield from _change_vma(mm, cpu, vma, start, stop, flag)
        at = stop
    yield from mm.write_unlock(cpu)
    return refused


def _cannot_userfault(vma: Vma) -> bool:
    return vma.area.file is not None or vma.hugetlb or vma.of_morsel


def _change_vma(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, flag: VmFlags) -> Steps[Errno | None]:
    """vma_modify_flags_uffd of a part of *vma*."""
    yield from vma.line.read(cpu, VMA_WORK)
    area = vma.area.with_flags(vma.area.flags & ~VmFlags.UFFD_MISSING | flag)
    if area == vma.area:
        return None
    cpu.work(mm.cost.uffd_register, VMA_WORK)
    part = yield from modify(mm, cpu, vma, start, end, area)
    if isinstance(part, Errno):
        return part
    yield from part.lock.start_write(cpu)
    yield from part.line.store(cpu, VMA_WORK)
    mm.change_area(cpu, part, area)
    return None


# -- the monitor --------------------------------------------------------------------------------------------


def uffd_read(mm: LinuxMm, cpu: Cpu, asked: UffdRead) -> Steps[int | None]:
    """userfaultfd_read_iter: the page of the oldest message that nobody has taken; asleep until there is
    one. None if the file is closed."""
    uffd = mm.uffd or _open(mm, cpu)
    mm.machine.entry.syscall(cpu, SYSCALL)
    return (yield from uffd.read(cpu, mm.cost.uffd_read))


def uffd_wake(mm: LinuxMm, cpu: Cpu, asked: UffdWake) -> Steps[Errno | None]:
    """userfaultfd_wake."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    if not _is_open(mm) or asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    assert mm.uffd is not None
    yield from mm.uffd.wake(cpu, range(asked.at, asked.at + asked.pages))
    return None


def uffd_copy(mm: LinuxMm, cpu: Cpu, asked: UffdCopy) -> Steps[Errno | None]:
    """userfaultfd_copy."""
    if beyond_user_memory(asked.source, asked.pages):
        mm.machine.entry.syscall(cpu, SYSCALL)
        return Errno.EINVAL
    sources = range(asked.source, asked.source + asked.pages)
    return (yield from _fill(mm, cpu, range(asked.at, asked.at + asked.pages), sources))


def uffd_zeropage(mm: LinuxMm, cpu: Cpu, asked: UffdZeropage) -> Steps[Errno | None]:
    """userfaultfd_zeropage: the page of zeros."""
    return (yield from _fill(mm, cpu, range(asked.at, asked.at + asked.pages), None))


def _fill(mm: LinuxMm, cpu: Cpu, pages: range, sources: Iterable[int] | None) -> Steps[Errno | None]:
    """mfill_atomic, and wake who waits for what has been filled.

    Value: `ENOENT` where it is not registered, `EEXIST` where a page is already, `EFAULT` where its source
    is not mapped; `EAGAIN` where that comes after some pages that were filled.
    """
    mm.machine.entry.syscall(cpu, SYSCALL)
    uffd = mm.uffd
    if uffd is None or uffd.closed or not pages or beyond_user_memory(pages.start, len(pages)):
        return Errno.EINVAL
    filled, refused = 0, None
    vma = yield from _lock_target(mm, cpu, pages)
    for page, source in zip(pages, sources or pages, strict=True):
        if vma is None:
            refused = Errno.ENOENT
            break
        cpu.work(mm.cost.uffd_fill, PAGE_TABLE)
        try:
            if sources is None:
                refused = yield from _install(mm, cpu, vma, page, ZERO_FRAME)
            else:
                vma, refused = yield from _copy(mm, cpu, vma, pages, page, source)
        except OutOfMemory:
            refused = Errno.ENOMEM
        if refused is not None:
            break
        filled += 1
    if vma is not None:
        yield from _unlock_target(mm, cpu, vma)
    if filled:
        yield from uffd.wake(cpu, pages[:filled])
    return Errno.EAGAIN if filled and refused is not None else refused


def _lock_target(mm: LinuxMm, cpu: Cpu, pages: range) -> Steps[Vma | None]:
    """uffd_mfill_lock; value: None where *pages* do not lie in one registered VMA."""
    vma = yield from _find_target(mm, cpu, pages.start)
    if vma is not None and not (pages.stop <= vma.end and VmFlags.UFFD_MISSING in vma.area.flags):
        yield from _unlock_target(mm, cpu, vma)
        return None
    return vma


def _find_target(mm: LinuxMm, cpu: Cpu, page: int) -> Steps[Vma | None]:
    """uffd_lock_vma, or find_vma_and_prepare_anon under mmap_lock."""
    by_vma = mm.switches.uffd_lock == "vma" and mm.vma_locks.serve_faults
    if by_vma:
        vma = yield from mm.lock_vma_under_rcu(cpu, page)
        if vma is not None and vma.anon_vma is not None:
            return vma
        if vma is not None:
            yield from vma.lock.end_read(cpu)
    yield from mm.mmap_lock.read_lock(cpu)
    vma = yield from mm.tree.find(cpu, page)
    if vma is not None:
        yield from anon_vma_prepare(mm, cpu, vma, vma_locked=False)
        if by_vma:
            locked = yield from vma.lock.start_read(cpu)
            assert locked, "no writer is in a VMA while mmap_lock is held for reading"
    if vma is None or by_vma:
        yield from mm.mmap_lock.read_unlock(cpu)
    return vma


def _unlock_target(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """uffd_mfill_unlock."""
    if mm.switches.uffd_lock == "vma" and mm.vma_locks.serve_faults:
        yield from vma.lock.end_read(cpu)
    else:
        yield from mm.mmap_lock.read_unlock(cpu)


def _copy(
    mm: LinuxMm, cpu: Cpu, vma: Vma, pages: range, page: int, source: int
) -> Steps[tuple[Vma | None, Errno | None]]:
    """mfill_atomic_pte_copy. Where the source is not present, it is faulted in with the lock let go.

    Value: the VMA that is locked afterwards, if one is, and why it failed.
    """
    frame = yield from mm.pages.allocate(cpu)
    while (entry := mm.root.walk(source)) is None or not entry.allows(write=False):
        yield from _unlock_target(mm, cpu, vma)
        try:
            yield from mm.access(cpu, source, write=False)
        except (SegmentationFault, OutOfMemory):
            yield from mm.pages.free(cpu, frame)
            return None, Errno.EFAULT
        again = yield from _lock_target(mm, cpu, pages)
        if again is None:
            yield from mm.pages.free(cpu, frame)
            return None, Errno.ENOENT
        vma = again
    folio = mm.pages.in_use.head(entry.frame_of(source))
    if not entry.special:
        mm.pages.in_use.get(folio)  # nobody takes it away while its bytes are on their way
    yield from mm.copy_into(cpu, frame, entry.frame_of(source))
    if not entry.special:
        yield from mm.kernel.put_page(cpu, folio)
    return vma, (yield from _install(mm, cpu, vma, page, frame))


def _install(mm: LinuxMm, cpu: Cpu, vma: Vma, page: int, frame: int) -> Steps[Errno | None]:
    """mfill_atomic_install_pte, mfill_atomic_pte_zeropage."""
    slot, special = slot_of(page, 1), frame == ZERO_FRAME
    if not special:
        yield from mm.charge(cpu, frame)
    try:
        yield from mm.take_tables(cpu, page, page + 1)
        table = yield from ensure_table(mm, cpu, page, 1)
    except OutOfMemory:
        if not special:
            yield from mm.give_back(cpu, frame)
        raise
    if not special:
        cpu.work(mm.cost.anon_page, PAGE_TABLE)
    lock = None if table is None else mm.table_lock(table)  # without a table there is a huge page
    if lock is not None:
        yield from lock.acquire(cpu)
    if table is None or lock is None or table.get(slot) is not None:
        if lock is not None:
            yield from lock.release(cpu)
        if not special:
            yield from mm.give_back(cpu, frame)
        return Errno.EEXIST
    if special:
        entry = Present(ZERO_FRAME, vma.rights, copy_on_write=True)
    else:
        entry = written_entry(frame, vma)
        yield from add_to_lru(mm, cpu, vma, page, frame)
        yield from mm.stat.count_pages(cpu, anon=1)
    yield from table.line(slot).store(cpu, PAGE_TABLE)
    table.set(slot, entry)
    yield from lock.release(cpu)
    return None
