"""A process of Asterinas as workloads see it: what it offers, operation by operation.

There are no calls for mlock, munlock, mincore and process_madvise, and nothing swaps.
"""

from __future__ import annotations

from typing import ClassVar

from sim.designs.asterinas.brk import brk
from sim.designs.asterinas.fault import user_fault
from sim.designs.asterinas.fork import fork, put_space
from sim.designs.asterinas.madvise import madvise, msync
from sim.designs.asterinas.mmap import mmap
from sim.designs.asterinas.mprotect import mprotect
from sim.designs.asterinas.mremap import mremap
from sim.designs.asterinas.munmap import munmap
from sim.designs.asterinas.prepopulate import prepopulate
from sim.designs.asterinas.vmar import Vmar
from sim.designs.cortenmm.exit import exit_
from sim.designs.cortenmm.fork import exec_, vfork
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    Brk,
    Exec,
    Exit,
    Fork,
    Handlers,
    Madvise,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munmap,
    Prepopulate,
    Vfork,
)


class AsterinasSpace(Vmar):
    """One process."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {
        Mmap: mmap,
        MmapShared: mmap,
        MmapFile: mmap,
        Munmap: munmap,
        Mprotect: mprotect,
        Mremap: mremap,
        Madvise: madvise,
        Brk: brk,
        Msync: msync,
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
