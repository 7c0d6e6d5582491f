"""A RadixVM process as workloads see it: what it offers, operation by operation."""

from __future__ import annotations

from typing import ClassVar

from sim.designs.radixvm.fault import user_fault
from sim.designs.radixvm.fork import exit_, fork
from sim.designs.radixvm.mmap import mmap
from sim.designs.radixvm.mprotect import mprotect
from sim.designs.radixvm.munmap import munmap
from sim.designs.radixvm.prepopulate import prepopulate
from sim.designs.radixvm.vmap import Vmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Exit, Fork, Handlers, Mmap, Mprotect, Munmap, Prepopulate


class RadixSpace(Vmap):
    """One process."""

    __slots__ = ()

    operations: ClassVar[Handlers] = {
        Mmap: mmap,
        Munmap: munmap,
        Mprotect: mprotect,
        Fork: fork,
        Exit: exit_,
        Prepopulate: prepopulate,
    }

    def fault(self, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        return user_fault(self, cpu, page, write)
