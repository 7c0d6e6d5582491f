"""mmap_lock as a spin lock that has no readers: plain, or NUMA-aware (CNA).

No kernel has that: who holds mmap_lock may sleep. It tells what an order of hand-overs that keeps to a node
is worth where mmap_lock is what threads wait for, and what it costs that faults exclude each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.designs.linux.space_locks.base import SpaceLocks
from sim.designs.linux.space_locks.whole import LOCK_MMAP
from sim.engine import Steps
from sim.hardware import Cpu, Task
from sim.sync import ExclusiveRw, Lock, QueuedSpinLock, spin_lock

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.layout import MmLines
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


class ExclusiveSpace(SpaceLocks):
    """One spin lock, on the line that the count of an rwsem has."""

    __slots__ = ("_inner",)

    def __init__(self, mm: LinuxMm, kernel: LinuxKernel, lines: MmLines) -> None:
        line = lines["mmap_lock.count"]
        self._inner: QueuedSpinLock = spin_lock(kernel.mmap_nodes, line, LOCK_MMAP, "mmap_lock")
        super().__init__(
            mm, ExclusiveRw(self._inner), line if kernel.spec.switches.prefetchw_mmap_lock else None
        )

    def begin_fault(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        taken = yield from self.mmap_lock.read_trylock(cpu)
        if not taken:
            yield from self.mmap_lock.read_lock(cpu)
        return (yield from self._mm.tree.find(cpu, page))

    def stored_under(self, task: Task, vma: Vma) -> Sequence[Lock]:
        return (self._inner,)
