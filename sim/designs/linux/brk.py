"""brk (mm/mmap.c brk and do_brk_flags; 6.13.7).

mmap_lock  |------------ write -------------|
             grow: what is above, join or new   write_unlock
           |-------- write --------|------ read ------|
             shrink: as munmap       ^ downgrade        read_unlock

The break is read and set under the write lock, also where nothing is to be done. A break that is refused is
no error: the value is the one that stays.
"""

from __future__ import annotations

from typing import Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.committed import accounted
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import link_new, merge_new_range
from sim.designs.linux.munmap import unmap
from sim.designs.linux.vma import Area
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import READ_WRITE, SYSCALL, Brk, OutOfMemory, beyond_user_memory

GAP: Final = 1
"""Pages that stay free between the heap and what is mapped above it."""


def brk(mm: LinuxMm, cpu: Cpu, asked: Brk) -> Steps[int]:
    """brk(2). Value: the break after it, which is the one before where the new one is refused."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    yield from mm.write_lock(cpu)
    yield from mm.brk_line.read(cpu, VMA_WORK)
    before = mm.brk
    if mm.start_brk <= asked.at < before:
        done = yield from _shrink(mm, cpu, before, asked.at)
        if done:
            return asked.at
    elif asked.at == before or (asked.at > before and (yield from _grow(mm, cpu, before, asked.at))):
        yield from _set(mm, cpu, asked.at)
    value = mm.brk
    yield from mm.write_unlock(cpu)
    return value


def _set(mm: LinuxMm, cpu: Cpu, at: int) -> Steps[None]:
    yield from mm.brk_line.store(cpu, VMA_WORK)
    mm.brk = at


def _shrink(mm: LinuxMm, cpu: Cpu, before: int, at: int) -> Steps[bool]:
    """The new break stands before the lock is let go. Value: whether it was: else the caller still has it."""
    yield from mm.tree.find(cpu, at)
    if not mm.tree.overlapping(at, before):
        return False
    yield from _set(mm, cpu, at)
    refused = yield from unmap(mm, cpu, at, before - at)
    if refused is not None:
        yield from _set(mm, cpu, before)
        return False
    return True


def _grow(mm: LinuxMm, cpu: Cpu, before: int, at: int) -> Steps[bool]:
    """do_brk_flags, if there is room. Value: whether the heap has grown."""
    pages = at - before
    if beyond_user_memory(before, pages):
        return False
    yield from mm.tree.find(cpu, before)
    if mm.tree.overlapping(before, at + GAP):
        return False
    if mm.recycler is not None:
        yield from mm.recycler.map_again(cpu, before, at)
    area = accounted(mm.placed(cpu, Area(READ_WRITE)))
    yield from mm.stat.may_expand_vm(cpu, area)
    count = yield from mm.stat.read_map_count(cpu)
    if count > mm.kernel.spec.limits.max_map_count or pages > mm.kernel.total_pages:
        return False
    yield from mm.kernel.committed.add(cpu, pages)
    cpu.work(mm.cost.brk, VMA_WORK)
    heap, _ = mm.tree.neighbours(before, at)
    merged = None
    if heap is not None and before > mm.start_brk:
        yield from heap.line.read(cpu, VMA_WORK)
        merged = yield from merge_new_range(mm, cpu, before, at, area, heap, None, pgoff=before)
    if merged is None:
        try:
            yield from link_new(mm, cpu, (yield from mm.new_vma(cpu, before, at, area)))
        except OutOfMemory:
            yield from mm.kernel.committed.add(cpu, -pages)
            return False
    mm.perf_event_mmap(cpu)
    yield from mm.stat.vm_stat_account(cpu, area, pages)
    return True
