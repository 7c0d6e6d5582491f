"""madvise(MADV_DONTNEED) (mm/madvise.c; mmap_lock for reading until 6.16).

mmap_lock  |------------------- read --------------------|
            find, drain, zap, flush + acks, free           read_unlock
"""

from __future__ import annotations

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.gather import tlb_finish_mmu, tlb_gather_mmu
from sim.designs.linux.mm import LinuxMm
from sim.designs.linux.vma import Vma
from sim.designs.linux.zap import zap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Errno, Madvise


def madvise(mm: LinuxMm, cpu: Cpu, asked: Madvise) -> Steps[Errno | None]:
    """do_madvise -> madvise_walk_vmas -> madvise_dontneed_single_vma, one VMA of the range after another."""
    at, end = asked.at, asked.at + asked.pages
    cpu.work(mm._syscall, SYSCALL)
    if asked.pages < 0:
        return Errno.EINVAL
    if asked.pages == 0:
        return None
    yield from mm.mmap_lock.read_lock(cpu)
    refused: Errno | None = None
    while at < end:
        yield from mm.tree.find(cpu, at)
        vmas = mm.tree.overlapping(at, end)
        if not vmas:
            refused = Errno.ENOMEM
            break
        vma = vmas[0]
        if vma.start > at:
            refused, at = Errno.ENOMEM, vma.start
        stop = min(vma.end, end)
        yield from _dontneed(mm, cpu, vma, at, stop)
        at = stop
    yield from mm.mmap_lock.read_unlock(cpu)
    return refused


def _dontneed(mm: LinuxMm, cpu: Cpu, vma: Vma, start: int, end: int) -> Steps[None]:
    """zap_page_range_single."""
    yield from vma.line.read(cpu, VMA_WORK)
    if mm.switches.lru_drain_on_zap:
        yield from mm.lru.drain(cpu)
    gather = yield from tlb_gather_mmu(mm, cpu)
    yield from mm.stat.update_hiwater_rss(cpu)
    yield from zap(mm, cpu, start, end, gather)
    yield from tlb_finish_mmu(mm, cpu, gather)
