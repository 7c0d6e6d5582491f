"""What operations hold of their address space: mmap_lock as a whole, or ranges of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.space_locks.base import SpaceLocks
from sim.designs.linux.space_locks.exclusive import ExclusiveSpace
from sim.designs.linux.space_locks.interval import IntervalSpace
from sim.designs.linux.space_locks.ranges import RangeSpace
from sim.designs.linux.space_locks.whole import LOCK_MMAP, WholeSpace

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.layout import MmLines
    from sim.designs.linux.mm import LinuxMm
    from sim.hardware import Cpu

__all__ = ["LOCK_MMAP", "SpaceLocks", "make_space_locks"]


def make_space_locks(mm: LinuxMm, kernel: LinuxKernel, lines: MmLines, cpu: Cpu) -> SpaceLocks:
    """The locks of *mm*, which *cpu* is making, of the kind that the design file names."""
    if kernel.spec.mmap_lock == "rwsem-sharded":
        return IntervalSpace(mm, kernel, cpu)
    if kernel.spec.mmap_lock == "ranges":
        return RangeSpace(mm, kernel, lines, cpu)
    if kernel.spec.mmap_lock in ("qspinlock", "cna"):
        return ExclusiveSpace(mm, kernel, lines)
    return WholeSpace(mm, kernel, lines)
