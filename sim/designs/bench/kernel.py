"""A kernel that has no processes."""

from __future__ import annotations

from sim.designs.base import DesignSpec, Kernel
from sim.designs.bench.llfree import Llfree
from sim.designs.bench.spec import BenchDesignSpec
from sim.engine import ThreadBody
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm import AddressSpace


class BareKernel(Kernel):
    """The machine alone, or with a page allocator."""

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, BenchDesignSpec)
        self._name = spec.name
        self._pages = Llfree(machine, spec.llfree) if spec.llfree else None

    def new_process(self, cpu: Cpu) -> AddressSpace:
        raise ModelError(f"{self._name} has no address spaces: it runs benches only")

    def allocate_pages(self, cpu: Cpu, order: int) -> ThreadBody:
        if self._pages is None:
            return (yield from super().allocate_pages(cpu, order))
        return (yield from self._pages.allocate(cpu, order))

    def free_pages(self, cpu: Cpu, frame: int, order: int) -> ThreadBody:
        if self._pages is None:
            yield from super().free_pages(cpu, frame, order)
        else:
            yield from self._pages.free(cpu, frame, order)
