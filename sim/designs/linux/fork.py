"""fork, vfork, exec (kernel/fork.c copy_process and dup_mmap, mm/memory.c copy_page_range, fs/exec.c; 6.13).

parent's mmap_lock  |------------------------------ write ------------------------------|
                     for each VMA: mark, copy, share its anon_vmas, copy its pages | flush
child's             |------------------- write -------------------|  nobody knows it yet

The pages of private memory are shared from then on, and neither process may write them: entries of the parent
lose that right, so its TLBs are flushed before anybody else may change its memory. Only what cannot be found
again is copied: shared memory and untouched files are faulted in by the child itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.committed import accounted_pages
from sim.designs.linux.copied_entries import copy_entries
from sim.designs.linux.exit import mmput
from sim.designs.linux.file_calls import copy_files, keep_files
from sim.designs.linux.fork_run import copy_run
from sim.designs.linux.huge_pmd import copy_huge_pmd
from sim.designs.linux.hugetlb import copy_hugetlb
from sim.designs.linux.modify import change_file_mappings, hold_file
from sim.designs.linux.morsel_maps import copy_mapping
from sim.designs.linux.tables import ensure_leaf_table
from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    SLOTS,
    SYSCALL,
    AddressSpace,
    Errno,
    Exec,
    Fork,
    OutOfMemory,
    PageTablePage,
    Vfork,
)

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

_NOT_INHERITED: Final = VmFlags.LOCKED | VmFlags.LOCKONFAULT | VmFlags.UFFD_MISSING


def fork(mm: LinuxMm, cpu: Cpu, asked: Fork) -> Steps[AddressSpace | Errno]:
    """copy_process, as far as its memory: value is the child, or `ENOMEM` with nothing left of it."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(mm.cost.fork, SYSCALL)
    child = mm.kernel.new_process(cpu)
    yield from mm.kernel.percpu.allocate(cpu)  # mm_init
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
        yield from copy_files(mm, child, cpu)
        return child
    yield from mmput(child, cpu)
    return refused


def vfork(mm: LinuxMm, cpu: Cpu, asked: Vfork) -> Steps[AddressSpace]:
    """copy_process with CLONE_VM: nothing is copied, the process has one user more (copy_mm, mmget)."""
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(mm.cost.fork, SYSCALL)
    yield from mm.lines["pgtables_bytes"].write(cpu, SYSCALL)  # mm_users lies beside it
    mm.users += 1
    return mm


def exec_(mm: LinuxMm, cpu: Cpu, asked: Exec) -> Steps[AddressSpace]:
    """begin_new_exec, as far as its memory: a new address space, and the old one goes with all that is in it,
    unless others use it.

    The caller is the process's only thread. Value: the new space, which *cpu* has loaded.
    """
    mm.machine.entry.syscall(cpu, SYSCALL)
    cpu.work(mm.cost.execve, SYSCALL)
    fresh = mm.kernel.new_process(cpu)
    yield from keep_files(mm, fresh, cpu)
    yield from mm.kernel.percpu.allocate(cpu)
    yield from mm.kernel.contexts.switch(cpu, fresh.tlb)  # exec_mmap
    cpu.active_mm = fresh.lazy
    yield from mmput(mm, cpu)
    return fresh


def _dup_mmap(mm: LinuxMm, child: LinuxMm, cpu: Cpu) -> Steps[None]:
    """dup_mmap: the VMAs in turn, each with its pages. Raises `OutOfMemory`; *child* is whole up to there."""
    tree = child.tree
    store = tree.append
    if mm.switches.fork_tree == "duplicate":
        yield from tree.duplicate(cpu, mm.tree)
        store = tree.replace
    else:
        yield from tree.expect(cpu, len(list(mm.tree)))
    for vma in list(mm.tree):
        yield from vma.lock.start_write(cpu)
        yield from vma.line.read(cpu, VMA_WORK)
        if vma.special:  # VM_DONTCOPY
            if mm.switches.fork_tree == "duplicate":
                yield from tree.remove(cpu, vma)
            continue
        area = vma.area.with_flags(vma.area.flags & ~_NOT_INHERITED)
        copy = yield from child.new_vma(cpu, vma.start, vma.end, area, pgoff=vma.pgoff, like=vma)
        copy.reservation = None  # hugetlb_dup_vma_private
        yield from hold_file(cpu, copy)
        yield from _fork_anon_vma(child, cpu, copy)
        yield from copy.lock.mark_attached(cpu)
        yield from store(cpu, copy)
        yield from child.stat.add_vmas(cpu, 1)
        yield from child.stat.vm_stat_account(cpu, area, copy.pages)
        yield from mm.kernel.committed.add(cpu, accounted_pages([copy]))
        yield from change_file_mappings(child, cpu, copy, new=[copy])
        if mm.kernel.morsels is not None:
            yield from copy_mapping(child, cpu, vma, copy)
        if copy.anon_vma is not None:  # vma_needs_copy; a fault that holds nothing may come after the look
            yield from _copy_pages(mm, child, cpu, vma)
    yield from tree.settle(cpu)


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
        if source is not None and mm.forked is not None:
            shared = yield from mm.forked.share(mm, child, cpu, vma, page)
            source = None if shared else mm.leaf_table(page)
        if source is not None:
            yield from _copy_table(mm, child, cpu, source, page, stop)
        elif (huge := mm.huge_table(page)) is not None:
            copy = copy_hugetlb if vma.hugetlb else copy_huge_pmd
            yield from copy(mm, child, cpu, huge, page)
        page = stop


def _copy_table(
    mm: LinuxMm, child: LinuxMm, cpu: Cpu, source: PageTablePage, page: int, stop: int
) -> Steps[None]:
    """copy_pte_range: one owner more for each page; one that may be written is copied on a write from now on.

    The child's table is nobody else's yet, and neither is the parent's where no other cpu can walk it: all
    who change it wait for its lock. Stores to lines that nobody looks at are work like any other.
    """
    target = yield from ensure_leaf_table(child, cpu, page)
    outer, inner = child.table_lock(target), mm.table_lock(source)
    yield from outer.acquire(cpu)
    yield from inner.acquire(cpu)
    if stop - page == SLOTS and copy_run(mm, child, cpu, source, target):
        yield from child.stat.add_rss_vec(cpu, anon=SLOTS, files=0)
        page = stop
    unseen = mm.kernel.contexts.alone(cpu, mm.tlb)
    anon, files = yield from copy_entries(mm, child, cpu, source, target, page, stop, unseen=unseen)
    yield from child.stat.add_rss_vec(cpu, anon=anon, files=files)
    yield from inner.release(cpu)
    yield from outer.release(cpu)
