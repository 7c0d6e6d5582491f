"""fork and exec (kernel/fork.c copy_process and dup_mmap, mm/memory.c copy_page_range, fs/exec.c; 6.13).

parent's mmap_lock  |------------------------------ write ------------------------------|
                     for each VMA: mark, copy, share its anon_vmas, copy its pages | flush
child's             |------------------- write -------------------|  nobody knows it yet

The pages of private memory are shared from then on, and neither process may write them: entries of the parent
lose that right, so its TLBs are flushed before anybody else may change its memory. Only what cannot be found
again is copied: shared memory and untouched files are faulted in by the child itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.committed import accounted_pages
from sim.designs.linux.exit import exit_mmap
from sim.designs.linux.modify import change_file_mappings, hold_file
from sim.designs.linux.tables import ensure_leaf_table
from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    SLOTS,
    SYSCALL,
    AddressSpace,
    Errno,
    Exec,
    Fork,
    OutOfMemory,
    PageTablePage,
    Present,
    slot_of,
)

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def fork(mm: LinuxMm, cpu: Cpu, asked: Fork) -> Steps[AddressSpace | Errno]:
    """copy_process, as far as its memory: value is the child, or `ENOMEM` with nothing left of it."""
    cpu.work(mm._syscall, SYSCALL)
    cpu.work(mm.cost.fork, SYSCALL)
    child = mm.kernel.new_process(cpu)
    refused: Errno | None = None
    yield from mm.write_lock(cpu)
    yield from child.write_lock(cpu)
    child.start_brk, child.brk = mm.start_brk, mm.brk
    try:
        yield from _dup_mmap(mm, child, cpu)
    except OutOfMemory:
        refused = Errno.ENOMEM
    yield from child.write_unlock(cpu)
    yield from mm.tlb.flush(cpu, range(0), whole=True)  # flush_tlb_mm
    yield from mm.write_unlock(cpu)
    if refused is None:
        return child
    yield from exit_mmap(child, cpu)
    return refused


def exec_(mm: LinuxMm, cpu: Cpu, asked: Exec) -> Steps[AddressSpace]:
    """begin_new_exec, as far as its memory: a new address space, and the old one goes with all that is in it.

    The caller is the process's only thread. Value: the new space, which *cpu* has loaded.
    """
    cpu.work(mm._syscall, SYSCALL)
    cpu.work(mm.cost.execve, SYSCALL)
    fresh = mm.kernel.new_process(cpu)
    yield from mm.kernel.contexts.switch(cpu, fresh.tlb)  # exec_mmap
    yield from exit_mmap(mm, cpu)
    return fresh


def _dup_mmap(mm: LinuxMm, child: LinuxMm, cpu: Cpu) -> Steps[None]:
    """dup_mmap: the VMAs in turn, each with its pages. Raises `OutOfMemory`; *child* is whole up to there."""
    for vma in list(mm.tree):
        yield from vma.lock.start_write(cpu)
        yield from vma.line.read(cpu, VMA_WORK)
        area = vma.area.with_flags(vma.area.flags & ~(VmFlags.LOCKED | VmFlags.LOCKONFAULT))
        copy = yield from child.new_vma(cpu, vma.start, vma.end, area, pgoff=vma.pgoff, like=vma)
        yield from hold_file(cpu, copy)
        yield from _fork_anon_vma(child, cpu, copy)
        yield from child.tree.find_place(cpu, copy.start)
        yield from copy.lock.mark_attached(cpu)
        yield from child.tree.insert(cpu, copy)
        yield from child.stat.add_vmas(cpu, 1)
        yield from child.stat.vm_stat_account(cpu, area, copy.pages)
        yield from mm.kernel.committed.add(cpu, accounted_pages([copy]))
        yield from change_file_mappings(child, cpu, copy, new=[copy])
        if vma.anon_vma is not None:  # vma_needs_copy
            yield from _copy_pages(mm, child, cpu, vma)


def _fork_anon_vma(child: LinuxMm, cpu: Cpu, copy: Vma) -> Steps[None]:
    """anon_vma_fork: into each tree that the parent's pages are found by, and a new one for its own."""
    if copy.anon_vma is None:
        return
    yield from child.anon_vma_clone(cpu, copy)
    own, link = yield from child.new_anon_vma(cpu)
    yield from own.line.store(cpu, VMA_WORK)
    copy.adopt(own, link)


def _copy_pages(mm: LinuxMm, child: LinuxMm, cpu: Cpu, vma: Vma) -> Steps[None]:
    """copy_page_range: one level-1 table after the other, under both page-table locks; empty ones, too."""
    page = vma.start
    while page < vma.end:
        source = mm.leaf_table(page)
        stop = min(vma.end, page - page % SLOTS + SLOTS)
        if source is not None:
            yield from _copy_table(mm, child, cpu, source, page, stop)
        page = stop


def _copy_table(
    mm: LinuxMm, child: LinuxMm, cpu: Cpu, source: PageTablePage, page: int, stop: int
) -> Steps[None]:
    target = yield from ensure_leaf_table(child, cpu, page)
    outer, inner = child.table_lock(target), mm.table_lock(source)
    yield from outer.acquire(cpu)
    yield from inner.acquire(cpu)
    anon = files = 0
    for each in range(page, stop):
        slot = slot_of(each, 1)
        entry = source.get(slot)
        if isinstance(entry, Present):
            yield from _copy_entry(mm, child, cpu, source, target, slot, entry)
            cached = entry.frame in mm.kernel.descriptors.of_files
            anon, files = anon + (not entry.special and not cached), files + cached
    yield from child.stat.add_rss_vec(cpu, anon=anon, files=files)
    yield from inner.release(cpu)
    yield from outer.release(cpu)


def _copy_entry(
    mm: LinuxMm,
    child: LinuxMm,
    cpu: Cpu,
    source: PageTablePage,
    target: PageTablePage,
    slot: int,
    entry: Present,
) -> Steps[None]:
    """copy_present_pte: one owner more; a page that may be written is copied on a write from now on."""
    cpu.work(mm.cost.fork_page, PAGE_TABLE)
    if not entry.special:
        descriptors = mm.kernel.descriptors
        yield from descriptors.write(cpu, entry.frame, times=2)  # folio_get, folio_dup_anon_rmap_pte
        mm.pages.in_use.get(entry.frame)
    if not entry.copy_on_write:
        yield from source.line(slot).store(cpu, PAGE_TABLE)  # ptep_set_wrprotect
        entry.copy_on_write = True
    yield from target.line(slot).store(cpu, PAGE_TABLE)
    target.set(slot, Present(entry.frame, entry.rights, copy_on_write=True, dirty=entry.dirty))
