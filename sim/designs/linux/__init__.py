"""Linux: a VMA tree under mmap_lock, per-VMA locks for faults, page tables with split locks."""

from sim.designs.base import Family
from sim.designs.linux.kernel import LinuxKernel
from sim.designs.linux.spec import LinuxSpec

FAMILY = Family("linux", LinuxSpec, LinuxKernel)

__all__ = ["FAMILY", "LinuxKernel", "LinuxSpec"]
