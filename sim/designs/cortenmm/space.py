"""A CortenMM process as workloads see it: what it offers, operation by operation."""

from __future__ import annotations

from typing import ClassVar

from sim.designs.cortenmm.fault import user_fault
from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.mmap import mmap
from sim.designs.cortenmm.mprotect import mprotect
from sim.designs.cortenmm.munmap import munmap
from sim.designs.cortenmm.prepopulate import prepopulate
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Handlers, Mmap, Mprotect, Munmap, Prepopulate


class CortenSpace(CortenMm):
    """One process."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {
        Mmap: mmap,
        Munmap: munmap,
        Mprotect: mprotect,
        Prepopulate: prepopulate,
    }

    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        return user_fault(self, cpu, page, write)
