"""Linux: a VMA tree under mmap_lock, per-VMA locks for faults, page tables with split locks."""

from sim.designs.base import Family
from sim.designs.linux.kernel import LinuxKernel
from sim.designs.linux.morsel_kernel import kernel_of
from sim.designs.linux.slab import SlabObject
from sim.designs.linux.spec import LinuxSpec
from sim.designs.linux.vma_indexes import VMA_INDEXES, IndexSite, VmaIndex
from sim.designs.linux.vma_locks import VMA_LOCKS, Site, VmaLock, VmaLocks

FAMILY = Family("linux", LinuxSpec, kernel_of)

__all__ = [
    "FAMILY",
    "VMA_INDEXES",
    "VMA_LOCKS",
    "IndexSite",
    "LinuxKernel",
    "LinuxSpec",
    "Site",
    "SlabObject",
    "VmaIndex",
    "VmaLock",
    "VmaLocks",
]
