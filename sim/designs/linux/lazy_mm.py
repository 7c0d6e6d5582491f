"""The address space that a cpu borrows while it idles (lazy-TLB mode, kernel/sched/core.c context_switch).

A thread that goes to sleep leaves its mm loaded for the idle thread, which counts a reference of it in
`mm_count`; the next thread gives that back. Both are atomic instructions on one line for all threads of a
process. What else a switch between a thread and the idle loop touches in the mm:

    to idle     locked: cid_lock, mask | W mm_count | per cpu: R pcpu_cid
    from idle   locked: cid_lock, mask |              per cpu: R pcpu_cid | R membarrier_state, W mm_count

The reads cost something where others write the line (`Layout`). *mm_cid* is how a thread gets its number
among those of its process that run (for rseq). Until 6.2 it has none. In 6.3 each switch takes one and gives
one back, in a mask of the process under `cid_lock`. Since 6.4 a cpu keeps one, and nothing is written.

Sources: context_switch, prepare_task_switch, finish_task_switch and switch_mm_cid of 6.3 (af7f588d8f73), 6.4
(223baf9d17f2) and 6.13; the look at membarrier_state is membarrier_mm_sync_core_before_usermode.
Simplifications: the search for a free number in the mask is part of `context_switch`; numbers that a cpu
keeps are never taken from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from sim.sync import SCHED, QueuedSpinLock, spin_lock

if TYPE_CHECKING:
    from sim.designs.linux.layout import Layout, MmField, MmLines
    from sim.engine import Steps
    from sim.hardware import CacheLine, Cpu
    from sim.sync import QueueNodes

MmCid = Literal["none", "locked", "per cpu"]


class LazyMm:
    """What one process lends. *lines* are those of its mm, *mask* that of its numbers."""

    __slots__ = ("_count", "_lock", "_looks", "_mask", "_number")

    def __init__(
        self, lines: MmLines, layout: Layout, nodes: QueueNodes, mm_cid: MmCid, mask: CacheLine
    ) -> None:
        def looked_at(field: MmField) -> CacheLine | None:
            return lines[field] if layout.shares(field) else None

        self._count = lines["mm_count"]
        self._looks = looked_at("membarrier_state")
        self._number = looked_at("pcpu_cid") if mm_cid == "per cpu" else None
        self._lock = spin_lock(nodes, lines["cid_lock"], SCHED, "cid_lock") if mm_cid == "locked" else None
        self._mask = mask

    def borrow(self, cpu: Cpu) -> Steps[None]:
        """The thread on *cpu* gives it to the idle thread (mmgrab_lazy_tlb)."""
        if self._lock is not None:
            yield from self._change_mask(cpu, self._lock)
        yield from self._count.write(cpu, SCHED)
        if self._number is not None:
            yield from self._number.read(cpu, SCHED)

    def give_back(self, cpu: Cpu) -> Steps[None]:
        """A thread has the cpu again (mmdrop_lazy_tlb_sched)."""
        if self._lock is not None:
            yield from self._change_mask(cpu, self._lock)
        if self._number is not None:
            yield from self._number.read(cpu, SCHED)
        if self._looks is self._count:
            apart = yield from self._count.read_to_write(cpu, SCHED)
            if not apart:
                return
        elif self._looks is not None:
            yield from self._looks.read(cpu, SCHED)
        yield from self._count.write(cpu, SCHED)

    def _change_mask(self, cpu: Cpu, lock: QueuedSpinLock) -> Steps[None]:
        """mm_cid_get or mm_cid_put of 6.3."""
        yield from lock.acquire(cpu)
        yield from self._mask.store(cpu, SCHED)
        yield from lock.release(cpu)
