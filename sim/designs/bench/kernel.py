"""A kernel that has no processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count

from sim.designs.base import DesignSpec, Kernel
from sim.designs.bench.llfree import Llfree
from sim.designs.bench.space import BareSpace
from sim.designs.bench.spec import BenchDesignSpec
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm import AddressSpace, Contexts


class BareKernel(Kernel):
    """The machine alone, with a page allocator, or with address spaces of pages that are always present."""

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, BenchDesignSpec)
        self._name = spec.name
        self._machine = machine
        self._flush = spec.flush
        self._frames = count()
        self._contexts: dict[Cpu, Contexts] = {}
        self._pages = Llfree(machine, spec.llfree) if spec.llfree else None

    def new_process(self, cpu: Cpu) -> AddressSpace:
        if self._flush is None:
            raise ModelError(f"{self._name} has no address spaces: its file says nothing of `flush`")
        return BareSpace(self._machine, cpu, self._flush, self._frames)

    def switch(self, cpu: Cpu, space: AddressSpace) -> Steps[None]:
        assert isinstance(space, BareSpace)
        assert self._flush is not None
        if cpu not in self._contexts:
            pcid = self._machine.spec.tlb.pcid
            self._contexts[cpu] = Contexts(cpu, self._flush.asids, pcid=pcid)
        yield from self._contexts[cpu].switch(space.tlb)

    def shoot_down(
        self, cpu: Cpu, space: AddressSpace, pages: Sequence[int], holders: Iterable[Cpu] | None
    ) -> Steps[None]:
        assert isinstance(space, BareSpace)
        yield from space.shoot_down(cpu, pages, holders)

    def allocate_pages(self, cpu: Cpu, order: int) -> Steps[int]:
        if self._pages is None:
            return (yield from super().allocate_pages(cpu, order))
        return (yield from self._pages.allocate(cpu, order))

    def free_pages(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        if self._pages is None:
            yield from super().free_pages(cpu, frame, order)
        else:
            yield from self._pages.free(cpu, frame, order)
