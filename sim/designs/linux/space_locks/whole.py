"""mmap_lock as Linux has it: who changes anything has all of it, and so has a fault that takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.space_locks.base import SpaceLocks
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync import GrantingRwSem, RwSem, SpinningReadersRwSem, XaddRwSem

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.layout import MmLines
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

LOCK_MMAP: Final = Activity("lock: mmap_lock")


class WholeSpace(SpaceLocks):
    """One rwsem, of the kernel's kind."""

    __slots__ = ()

    def __init__(self, mm: LinuxMm, kernel: LinuxKernel, lines: MmLines) -> None:
        rwsem = make_rwsem(kernel, lines)
        super().__init__(mm, rwsem, rwsem.count if kernel.spec.switches.prefetchw_mmap_lock else None)

    def begin_fault(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """All releases try mmap_lock first (do_user_addr_fault of 5.12, get_mmap_lock_carefully of 6.13),
        because a fault of the kernel itself must not wait for it."""
        taken = yield from self.mmap_lock.read_trylock(cpu)
        if not taken:
            yield from self.mmap_lock.read_lock(cpu)
        return (yield from self._mm.tree.find(cpu, page))


def make_rwsem(kernel: LinuxKernel, lines: MmLines) -> RwSem | XaddRwSem:
    """init_rwsem, of the kernel's kind. Until 5.1 count and owner are not told apart."""
    kind, nodes = kernel.spec.mmap_lock, kernel.osq_nodes
    scheduler = kernel.scheduler
    count = lines["mmap_lock.count"]
    if kind in ("rwsem", "rwsem-spinning-readers"):
        owner, tuning = lines["mmap_lock.owner"], kernel.spec.rwsem
        make = RwSem if kind == "rwsem" else SpinningReadersRwSem
        return make("mmap_lock", count, owner, nodes, scheduler, LOCK_MMAP, tuning)
    if kind == "rwsem-granting":
        return GrantingRwSem("mmap_lock", count, nodes, scheduler, LOCK_MMAP)
    spinning = kind == "rwsem-xadd"
    return XaddRwSem("mmap_lock", count, nodes, scheduler, LOCK_MMAP, owner_spinning=spinning)
