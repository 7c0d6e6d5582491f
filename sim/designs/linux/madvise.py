"""madvise(MADV_DONTNEED) (mm/madvise.c; mmap_lock for reading until 6.16).

mmap_lock  |------------------- read --------------------|
            find, drain, zap, flush + acks, free           read_unlock
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.munmap import zap
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SYSCALL, Madvise


def madvise(mm: LinuxMm, cpu: Cpu, asked: Madvise) -> Steps[None]:
    """do_madvise -> madvise_dontneed_single_vma -> zap_page_range_single, for a range of one VMA."""
    at, pages = asked.at, asked.pages
    cpu.work(mm._syscall, SYSCALL)
    yield from mm.mmap_lock.read_lock(cpu)
    vma = yield from mm.tree.find(cpu, at)
    if vma is None or at + pages > vma.end:
        raise ModelError(f"{cpu} discards pages {at:#x} to {at + pages:#x}, which lie in no single VMA")
    yield from vma.line.read(cpu, VMA_WORK)
    if mm.switches.lru_drain_on_zap:
        yield from mm.lru.drain(cpu)
    yield from mm.flush_pending.write(cpu, PAGE_TABLE)  # tlb_gather_mmu
    unmapped: list[tuple[int, int]] = []
    yield from zap(mm, cpu, at, at + pages, unmapped)
    if unmapped:
        yield from mm.tlb.flush(cpu, [page for page, _ in unmapped])
        yield from mm.lru.release(cpu, [frame for _, frame in unmapped])
    yield from mm.flush_pending.write(cpu, PAGE_TABLE)  # tlb_finish_mmu
    yield from mm.mmap_lock.read_unlock(cpu)
