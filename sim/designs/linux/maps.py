"""Reading /proc/PID/maps (fs/proc/task_mmu.c m_start, m_next, show_map; fs/seq_file.c; 6.13 and 6.18).

A read(2) fills one page with lines, a VMA each; the next one looks for the VMA where that has ended. What is
mapped may change in between, so the whole is no picture of any one moment.

    mmap   |-- mmap_lock R: find, show, next, show ... page is full --|   |-- mmap_lock R: find ...
    vma    |-- find, lock VMA, show, unlock, find, lock VMA, show ... --|

Since 6.17 (`maps_lock: vma`) the reader holds the lock of the VMA that it shows, and mmap_lock only for the
moment that it takes to lock a VMA which a writer has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.activities import VMA_WORK
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, Mapped, ReadMaps

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


def read_maps(mm: LinuxMm, cpu: Cpu, asked: ReadMaps) -> Steps[list[Mapped]]:
    """The file from its beginning to its end. Value: its lines."""
    lines: list[Mapped] = []
    fill = _fill_by_vma_locks if mm.switches.maps_lock == "vma" else _fill_under_mmap_lock
    at: int | None = 0
    while at is not None:
        mm.machine.entry.syscall(cpu, SYSCALL, mm.cost.maps_read)
        at = yield from fill(mm, cpu, at, lines)
    mm.machine.entry.syscall(cpu, SYSCALL)  # the read that finds nothing more
    return lines


def _fill_under_mmap_lock(mm: LinuxMm, cpu: Cpu, at: int, lines: list[Mapped]) -> Steps[int | None]:
    """One page of lines from page *at* on. Value: where the next read goes on; None at the end."""
    yield from mm.mmap_lock.read_lock(cpu)
    yield from mm.tree.find(cpu, at)  # m_start
    left = mm.kernel.spec.limits.maps_lines
    vma = _next(mm, at)
    while vma is not None and left:
        yield from _show(mm, cpu, vma, lines)
        at, left = vma.end, left - 1
        cpu.work(mm.cost.tree_node, VMA_WORK)  # m_next
        vma = _next(mm, at)
    yield from mm.mmap_lock.read_unlock(cpu)
    return None if vma is None else at


def _fill_by_vma_locks(mm: LinuxMm, cpu: Cpu, at: int, lines: list[Mapped]) -> Steps[int | None]:
    """The same, under the lock of one VMA at a time (get_next_vma)."""
    for _ in range(mm.kernel.spec.limits.maps_lines):
        vma = yield from _lock_next_vma(mm, cpu, at)
        if vma is None:
            return None
        yield from _show(mm, cpu, vma, lines)
        at = vma.end
        yield from vma.lock.end_read(cpu)
    return at


def _lock_next_vma(mm: LinuxMm, cpu: Cpu, at: int) -> Steps[Vma | None]:
    """lock_next_vma: the first VMA that ends behind page *at*, locked for reading; None if none does."""
    vma = _next(mm, at)
    if vma is None:
        yield from mm.tree.find(cpu, at)
        vma = _next(mm, at)
        if vma is None:
            return None
    locked = yield from mm.lock_vma_under_rcu(cpu, max(at, vma.start))
    if locked is not None:
        return locked
    yield from mm.mmap_lock.read_lock(cpu)  # lock_next_vma_under_mmap_lock
    yield from mm.tree.find(cpu, at)
    vma = _next(mm, at)
    if vma is not None:
        yield from vma.line.read(cpu, VMA_WORK)
        taken = yield from vma.lock.start_read(cpu)
        assert taken, "no writer has a VMA while somebody reads under mmap_lock"
    yield from mm.mmap_lock.read_unlock(cpu)
    return vma


def _next(mm: LinuxMm, at: int) -> Vma | None:
    """The first VMA that ends behind page *at*."""
    vma = mm.tree.peek(at)
    return mm.tree.around(at)[1] if vma is None else vma


def _show(mm: LinuxMm, cpu: Cpu, vma: Vma, lines: list[Mapped]) -> Steps[None]:
    """show_map: the line of *vma*."""
    yield from vma.line.read(cpu, VMA_WORK)
    lines.append(Mapped(vma.start, vma.end, vma.rights, shared=vma.area.shared))
    cpu.work(mm.cost.maps_line, VMA_WORK)
