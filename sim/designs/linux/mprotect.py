"""mprotect (mm/mprotect.c of 6.13, read at torvalds/linux 003fde4492c8).

mmap_lock  |------------------------------ write -------------------------------|
            find | each VMA: join or cut, mark, rewrite PTEs under the PTL | flush + acks

Everything happens under the write lock, the flush too. pte_needs_flush (arch/x86/include/asm/tlbflush.h)
wants one for every PTE whose rights change and that was accessible before, be they raised or lowered; only
what had no rights at all is in no TLB.
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.committed import with_other_rights
from sim.designs.linux.gather import Gather, tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.huge_pmd import change_huge_pmd
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.modify import modify
from sim.designs.linux.tlb_batch import flush_batched_pending
from sim.designs.linux.vma import Vma
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    NOTHING,
    PAGE_TABLE,
    SLOTS,
    SYSCALL,
    WRITE,
    Errno,
    Mprotect,
    OutOfMemory,
    Present,
    Rights,
    beyond_user_memory,
    slot_of,
)


def mprotect(mm: LinuxMm, cpu: Cpu, asked: Mprotect) -> Steps[Errno | None]:
    """do_mprotect_pkey. Where the range has a hole, what lies before it is changed all the same (ENOMEM)."""
    end = asked.at + asked.pages
    mm.machine.entry.syscall(cpu, SYSCALL)
    if asked.pages == 0:
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    yield from mm.write_lock_to_protect(cpu, asked.at, end, asked.rights)
    yield from mm.tree.find(cpu, asked.at)
    if mm.tree.peek(asked.at) is None:
        yield from mm.write_unlock(cpu)
        return Errno.ENOMEM
    gather = yield from tlb_gather_mmu(mm, cpu)
    refused: Errno | None = None
    page = asked.at
    while page < end:
        vma = mm.tree.peek(page)
        if vma is None:
            refused = Errno.ENOMEM
            break
        stop = min(end, vma.end)
        refused = yield from _fixup(mm, cpu, vma, page, stop, asked.rights, gather)
        if refused is not None:
            break
        page = stop
    yield from tlb_finish_mmu(mm, cpu, gather)
    yield from mm.write_unlock(cpu)
    return refused


def _fixup(
    mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int, rights: Rights, gather: Gather
) -> Steps[Errno | None]:
    """mprotect_fixup: the part [start, end) of *vma* has *rights* from now on."""
    cpu.work(mm.cost.mprotect, VMA_WORK)
    yield from vma.line.read(cpu, VMA_WORK)
    if vma.rights == rights:
        return None
    if vma.special or vma.of_morsel:  # left out: an exmap would be unmapped by its notifier
        return Errno.EINVAL
    try:
        yield from mm.take_tables(cpu, start, end)
    except OutOfMemory:
        return Errno.ENOMEM
    before = vma.area
    after = with_other_rights(vma, rights)
    if rights & WRITE:
        yield from mm.stat.may_expand_vm(cpu, before.with_rights(rights))
        if after.flags != before.flags:
            yield from mm.kernel.committed.add(cpu, end - start)
    part = yield from modify(mm, cpu, vma, start, end, after)
    if isinstance(part, Errno):
        if after.flags != before.flags:
            yield from mm.kernel.committed.add(cpu, start - end)
        return part
    yield from part.lock.start_write(cpu)
    yield from part.line.store(cpu, VMA_WORK)
    mm.change_area(cpu, part, after)
    yield from _change_protection(mm, cpu, start, end, rights, gather)
    yield from mm.stat.vm_stat_account(cpu, before, start - end)
    yield from mm.stat.vm_stat_account(cpu, after, end - start)
    mm.perf_event_mmap(cpu)
    return None


def _change_protection(
    mm: LinuxMm, cpu: Cpu, start: int, end: int, rights: Rights, gather: Gather
) -> Steps[None]:
    """change_pte_range, one level-1 table after the other; what is to be flushed goes to *gather*.

    A private anonymous page that nobody shares becomes writable at once (can_change_pte_writable).
    """
    page = start
    while page < end:
        stop = min(end, page - page % SLOTS + SLOTS)
        table = mm.leaf_table(page)
        if table is None:
            huge = mm.huge_table(page)
            if huge is None or (yield from change_huge_pmd(mm, cpu, huge, page, stop, rights, gather)):
                page = stop
            continue
        lock = mm.table_lock(table)
        yield from lock.acquire(cpu)
        yield from flush_batched_pending(mm, cpu)
        gather.shared_by(table)
        for each in range(page, stop):
            slot = slot_of(each, 1)
            entry = table.get(slot)
            if isinstance(entry, Present):
                yield from table.line(slot).write(cpu, PAGE_TABLE)
                cpu.work(mm.cost.change_page, PAGE_TABLE)
                table.set(slot, entry.with_rights(rights))
                if entry.rights not in (rights, NOTHING):
                    gather.changed(each)
        yield from lock.release(cpu)
        page = stop
