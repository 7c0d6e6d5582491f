"""Kernels without processes: the machine alone, a page allocator, or page tables and TLBs."""

from __future__ import annotations

from itertools import count
from typing import ClassVar

from sim.designs.base import Kernel
from sim.designs.base_spec import DesignSpec
from sim.designs.bench.skiplist import SkipListKernel
from sim.designs.bench.space import BareSpace
from sim.designs.bench.spec import BenchDesignSpec
from sim.engine import Steps
from sim.hardware import Cpu, Machine
from sim.mm import (
    AllocatePages,
    Allocator,
    ContextTable,
    FreePages,
    Handlers,
    PhysicalMemory,
    SwitchMm,
    make_allocator,
    make_calls,
)


class BareKernel(Kernel):
    """The machine alone."""

    __slots__ = ()

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        pass


def _allocate(kernel: AllocatorKernel, cpu: Cpu, asked: AllocatePages) -> Steps[int]:
    return kernel._pages.allocate(cpu, asked.order)


def _free(kernel: AllocatorKernel, cpu: Cpu, asked: FreePages) -> Steps[None]:
    return kernel._pages.free(cpu, asked.frame, asked.order)


class AllocatorKernel(Kernel):
    """A page allocator."""

    __slots__ = ("_pages",)

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, BenchDesignSpec)
        assert spec.page_allocator is not None
        self._pages: Allocator = make_allocator(machine, spec.page_allocator, spec)

    @property
    def memory(self) -> PhysicalMemory:
        return self._pages

    operations: ClassVar[Handlers] = {AllocatePages: _allocate, FreePages: _free}


def _switch(kernel: TlbKernel, cpu: Cpu, asked: SwitchMm) -> Steps[None]:
    assert isinstance(asked.space, BareSpace)
    return kernel._contexts.switch(cpu, asked.space.tlb)


class TlbKernel(Kernel):
    """Address spaces of pages that are always present, switched and flushed when a bench asks for it."""

    __slots__ = (
        "_calls",
        "_contexts",
        "_flush",
        "_frames",
        "_machine",
    )

    space = BareSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, BenchDesignSpec)
        assert spec.flush is not None
        self._machine = machine
        self._flush = spec.flush
        self._calls = make_calls(machine, spec.flush)
        self._frames = count()
        self._contexts = ContextTable(machine, spec.flush.asids)

    def new_process(self, cpu: Cpu) -> BareSpace:
        return BareSpace(self._machine, cpu, self._flush, self._calls, self._frames, self._contexts)

    operations: ClassVar[Handlers] = {SwitchMm: _switch}


def kernel_of(spec: DesignSpec) -> type[Kernel]:
    """The kernel that a file of the family `bench` means."""
    assert isinstance(spec, BenchDesignSpec)
    if spec.page_allocator:
        return AllocatorKernel
    if spec.skiplist:
        return SkipListKernel
    return TlbKernel if spec.flush else BareKernel
