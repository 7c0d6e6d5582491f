"""A CortenMM process as workloads see it: what it offers, operation by operation."""

from __future__ import annotations

from typing import ClassVar

from sim.designs.cortenmm.brk import brk
from sim.designs.cortenmm.exit import exit_, put_space
from sim.designs.cortenmm.fault import user_fault
from sim.designs.cortenmm.fork import exec_, fork, vfork
from sim.designs.cortenmm.madvise import madvise, mincore, msync, process_madvise
from sim.designs.cortenmm.mlock import mlock, munlock
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.mmap import mmap
from sim.designs.cortenmm.mprotect import mprotect
from sim.designs.cortenmm.mremap import mremap
from sim.designs.cortenmm.munmap import munmap
from sim.designs.cortenmm.prepopulate import prepopulate
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    Brk,
    Exec,
    Exit,
    Fork,
    Handlers,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Operation,
    Prepopulate,
    ProcessMadvise,
    Vfork,
)


class CortenSpace(CortenMm):
    """One process."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {
        Mmap: mmap,
        MmapShared: mmap,
        MmapFile: mmap,
        Munmap: munmap,
        Mprotect: mprotect,
        Mremap: mremap,
        Mlock: mlock,
        Munlock: munlock,
        Madvise: madvise,
        ProcessMadvise: process_madvise,
        Brk: brk,
        Msync: msync,
        Mincore: mincore,
        Fork: fork,
        Vfork: vfork,
        Exec: exec_,
        Exit: exit_,
        Prepopulate: prepopulate,
    }

    def put(self, cpu: Cpu) -> Steps[None]:
        return put_space(self, cpu)

    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        return user_fault(self, cpu, page, write)


class ArtifactSpace(CortenSpace):
    """One process of the artifact's kernel, which has no mremap (ENOSYS) and no calls to lock memory."""

    __slots__ = ()

    without: ClassVar[frozenset[type[Operation]]] = frozenset((Mremap, Mlock, Munlock))
