"""Mapping and unmapping a morsel: one entry of the process's own tables refers to it.

    mmap     mmap_lock |-- write: place | VMA | tables above | the entry --|
    munmap   mmap_lock |-- write: VMAs leave --|-- read: notifier: entry out, flush | zap: nothing there --|
    exit                                       release: all entries out | zap | one flush for everything

The kernel's own teardown walks tables and would go down into the morsel. So the entry goes before that, in
the MMU notifier (invalidate_range_start, or release at exit, also after a crash). That flushes all cpus of
the process: a TLB may have pages of the morsel, and paging-structure caches the entry itself.

Source: A. Halbuer, Morsels, 3.3.2, 4.3. How the prototype answers mprotect, mremap and a part of a munmap is
not said; here all of them are refused (EINVAL), madvise too, and a child has what its parent has mapped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.modify import link_new
from sim.designs.linux.morsel import MetaPage, Morsel
from sim.designs.linux.morsel_fault import MORSEL
from sim.designs.linux.tables import ensure_table
from sim.designs.linux.vma import Area, VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SYSCALL,
    Errno,
    MapMorsel,
    OutOfMemory,
    Subtree,
    beyond_user_memory,
    slot_of,
)

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def map_morsel(mm: LinuxMm, cpu: Cpu, asked: MapMorsel) -> Steps[int | Errno]:
    """mmap(2) of the driver's file. Value: the first page."""
    morsels = mm.kernel.morsels
    assert morsels is not None
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(mm.cost.mmap_enter, SYSCALL)
    cpu.work(morsels.cost.map, MORSEL)
    found, at = morsels.at(asked.morsel), asked.at
    if isinstance(found, MetaPage):
        yield from found.line.read(cpu, MORSEL)
        at = found.fixed if at is None else at
        found = found.morsel
    if found is None or found.order >= mm.root.level:
        return Errno.EINVAL
    yield from mm.write_lock_to_map(cpu, at, found.size)
    start = yield from _place(mm, cpu, found, at)
    if not isinstance(start, Errno):
        start = yield from _map_at(mm, cpu, found, start, asked)
    yield from mm.write_unlock(cpu)
    return start


def _place(mm: LinuxMm, cpu: Cpu, morsel: Morsel, at: int | None) -> Steps[int | Errno]:
    """get_unmapped_area of the driver: a multiple of the size that is free, *at* if that is given."""
    size = morsel.size
    count = yield from mm.stat.read_map_count(cpu)
    if count > mm.kernel.spec.limits.max_map_count:
        return Errno.ENOMEM
    if at is None:
        room = yield from mm.locks.find_room(cpu, 2 * size - 1)
        if room is None:
            return Errno.ENOMEM
        return room + size - 1 - (room + size - 1) % size if mm.locks.grows_down else room + -room % size
    if at % size:
        return Errno.EINVAL
    if beyond_user_memory(at, size):
        return Errno.ENOMEM
    yield from mm.tree.find(cpu, at)
    return Errno.EEXIST if mm.tree.overlapping(at, at + size) else at


def _map_at(mm: LinuxMm, cpu: Cpu, morsel: Morsel, start: int, asked: MapMorsel) -> Steps[int | Errno]:
    """A VMA, the private tables above the morsel, and the entry."""
    cpu.work(mm.cost.mmap_region, SYSCALL)
    area = Area(asked.rights, None, shared=True, flags=VmFlags.MORSEL)
    yield from mm.stat.may_expand_vm(cpu, area)
    yield from mm.tree.find_place(cpu, start)
    try:
        vma = yield from mm.new_vma(cpu, start, start + morsel.size, area)
        yield from link_new(mm, cpu, vma)
        yield from mm.stat.vm_stat_account(cpu, area, vma.pages)
        yield from link(mm, cpu, vma, morsel)
    except OutOfMemory:
        return Errno.ENOMEM
    mm.perf_event_mmap(cpu)
    return start


def link(mm: LinuxMm, cpu: Cpu, vma: Vma, morsel: Morsel) -> Steps[None]:
    """The entry at the beginning of *vma* refers to *morsel*: one store. Raises `OutOfMemory`.

    The caller has mmap_lock for writing. The rights are in this entry alone; entries below allow everything.
    """
    table = yield from ensure_table(mm, cpu, vma.start, morsel.order + 1)
    assert table is not None
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    yield from table.line(slot_of(vma.start, table.level)).store(cpu, MORSEL)
    table.set(slot_of(vma.start, table.level), Subtree(morsel.root, vma.rights, morsel))
    yield from lock.release(cpu)
    vma.morsel = morsel
    morsel.linked[vma] = None


def unlink(mm: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """The notifier: no entry refers to the morsel of *vma* any more. TLBs are the caller's."""
    morsel, morsels = vma.morsel, mm.kernel.morsels
    assert morsel is not None
    assert morsels is not None
    cpu.work(morsels.cost.unmap, MORSEL)
    table = mm.table_at(vma.start, morsel.order + 1)
    assert table is not None
    lock = mm.table_lock(table)
    yield from lock.acquire(cpu)
    yield from table.line(slot_of(vma.start, table.level)).store(cpu, MORSEL)
    table.set(slot_of(vma.start, table.level), None)
    yield from lock.release(cpu)
    vma.morsel = None
    del morsel.linked[vma]


def unlink_range(mm: LinuxMm, cpu: Cpu, vmas: list[Vma]) -> Steps[None]:
    """invalidate_range_start of a munmap: the entries of all morsels in it go, and then translations."""
    for vma in vmas:
        if vma.morsel is not None:
            yield from unlink(mm, cpu, vma)
            yield from mm.tlb.flush(cpu, range(vma.start, vma.end), freed_tables=True)


def unlink_all(mm: LinuxMm, cpu: Cpu, vmas: list[Vma]) -> Steps[None]:
    """release, at the end of the address space: nobody runs in it, and it is flushed as a whole."""
    for vma in vmas:
        if vma.morsel is not None:
            yield from unlink(mm, cpu, vma)


def copy_mapping(child: LinuxMm, cpu: Cpu, vma: Vma, copy: Vma) -> Steps[None]:
    """A fork: *copy*, the child's, refers to the same morsel as *vma*. Raises `OutOfMemory`."""
    if vma.morsel is not None:
        yield from vma.line.read(cpu, VMA_WORK)
        yield from link(child, cpu, copy, vma.morsel)
