"""No VMA locks, and faults that take mmap_lock all the same only if they must (Bonsai, ASPLOS 2012).

    fault   RCU: find the VMA | allocate, zero | PTL: is the VMA what it was, for this page? set the entry
                                                    no: all again under mmap_lock
    munmap  mmap_lock: mark the VMA, take it out | zap: PTL of each table | tables: free after a grace period

Nothing keeps a VMA as it is while a fault is in it. What makes that right is an order: a writer changes the
VMA before it takes the lock of any page table in it, and a fault looks at it again once it has that lock.
Either the writer then finds the entry that the fault has set, or the fault finds the VMA changed. In the same
way a new table and the VMA's anon_vma are linked under page_table_lock, and so is the mark set.

The VMA alone does not answer for a table that the fault has found: a munmap may have unlinked that, and an
mmap given the pages back to the same VMA. So the fault looks at the entry above the table, too. (What is
known of the patch speaks of the VMA; an order that `cortensim verify` has found shows that it is not enough.)
"""

from __future__ import annotations

from typing import ClassVar

from sim.designs.linux.vma_locks.base import Site
from sim.designs.linux.vma_locks.none import NoVmaLock, NoVmaLocks
from sim.engine import Steps
from sim.hardware import Cpu


class RecheckVmaLocks(NoVmaLocks):
    """What there is to say of a process whose faults look again."""

    __slots__ = ()

    serve_faults: ClassVar[bool] = True
    rechecks: ClassVar[bool] = True

    def __init__(self, site: Site) -> None:
        self._lock = _NothingToLock()


class _NothingToLock(NoVmaLock):
    """A fault gets it whenever it asks, and no writer waits for it."""

    __slots__ = ()

    def start_read(self, cpu: Cpu) -> Steps[bool]:
        return True
        yield
