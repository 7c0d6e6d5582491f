"""An NrOS process as workloads see it: what it offers, operation by operation."""

from __future__ import annotations

from typing import ClassVar

from sim.designs.nros.fault import user_fault
from sim.designs.nros.mmap import mmap
from sim.designs.nros.mprotect import mprotect
from sim.designs.nros.munmap import munmap
from sim.designs.nros.prepopulate import prepopulate
from sim.designs.nros.process import NrosProcess
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Handlers, Mmap, Mprotect, Munmap, Prepopulate


class NrosSpace(NrosProcess):
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
