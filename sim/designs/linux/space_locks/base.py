"""What an operation holds of its address space while it works on it, from mmap_lock as a whole to a range.

A kernel of Linux's kind chooses one kind when it is built. Operations say what they are about, and a kind may
lock more than that:

    mmap                      lock_to_map      find_room ...                       unlock
    munmap, mprotect          lock_range, lock_to_protect ... downgrade ... unlock_read, unlock
    fork, exit, brk, ...      lock_all         ... downgrade ... unlock_read       unlock
    a fault                   begin_fault      ...                                 end_fault

`mmap_lock` is the lock of the whole space, for those who want all of it for reading.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from sim.designs.linux.addresses import FIRST_PAGE, HIGHEST_PAGE, LEGACY_BASE
from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Task
from sim.mm import Rights
from sim.sync import ExclusiveRw, Lock, RangeLock, RwSem, ShardedRwSem, XaddRwSem

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma

MmapLock = RwSem | XaddRwSem | ShardedRwSem | RangeLock | ExclusiveRw


@mypyc_attr(allow_interpreted_subclasses=True)
class SpaceLocks(ABC):
    """The locks of one process, made with it. A thread holds one range, or all, at a time."""

    __slots__ = ("_mm", "mmap_lock", "prefetched")

    def __init__(self, mm: LinuxMm, mmap_lock: MmapLock, prefetched: CacheLine | None) -> None:
        self._mm = mm
        self.mmap_lock = mmap_lock
        """A reader-writer lock with `read_trylock` and `write_downgrade`."""
        self.prefetched = prefetched
        """The line that each fault prefetches for writing, where the kernel does that."""

    # -- to change it ---------------------------------------------------------------------------------------

    def lock_all(self, cpu: Cpu) -> Steps[None]:
        """Wait until nobody else works on the space, and lock all of it for writing."""
        return self.mmap_lock.write_lock(cpu)

    def lock_range(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """Lock [start, end) for writing, or more than that: what is mapped there, what it may be joined with,
        and the gaps at both ends."""
        return self.lock_all(cpu)

    def lock_to_map(self, cpu: Cpu, at: int | None, pages: int) -> Steps[None]:
        """The same for a new mapping, at the page *at* if it says where."""
        return self.lock_all(cpu)

    def lock_to_protect(self, cpu: Cpu, start: int, end: int, rights: Rights) -> Steps[None]:
        """The same for [start, end) that is to get other *rights*."""
        return self.lock_range(cpu, start, end)

    def unlock(self, cpu: Cpu) -> Steps[None]:
        """Give up what is locked for writing."""
        return self.mmap_lock.write_unlock(cpu)

    def downgrade(self, cpu: Cpu) -> Steps[None]:
        """What was to change has changed: let in who only reads it."""
        return self.mmap_lock.write_downgrade(cpu)

    def unlock_read(self, cpu: Cpu) -> Steps[None]:
        """Give up what is left after `downgrade`, or what `begin_fault` or a lock of all for reading took."""
        return self.mmap_lock.read_unlock(cpu)

    def find_room(self, cpu: Cpu, pages: int) -> Steps[int | None]:
        """After `lock_to_map` or `lock_all`: where *pages* pages fit that are anywhere. Value: the first, or
        None if there is no room; what they may be joined with is locked, too."""
        tree = self._mm.tree
        if self.grows_down:
            return tree.empty_area_rev(cpu, pages, FIRST_PAGE, HIGHEST_PAGE)
        return tree.empty_area(cpu, pages, LEGACY_BASE, HIGHEST_PAGE)

    @property
    def grows_down(self) -> bool:
        """Whether what is mapped anywhere goes below what was mapped before."""
        return self._mm.switches.mmap_layout == "top-down"

    # -- to fault in it -------------------------------------------------------------------------------------

    @abstractmethod
    def begin_fault(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """Lock *page* for a fault, or more than that, and look up its VMA. Value: None where there is
        none; the lock is held all the same."""

    # -- what is checked ------------------------------------------------------------------------------------

    def stored_under(self, task: Task, vma: Vma) -> Sequence[Lock]:
        """The locks of which *task* must have one for writing when it changes the index at *vma*."""
        assert not isinstance(self.mmap_lock, ExclusiveRw)
        return (self.mmap_lock,)
