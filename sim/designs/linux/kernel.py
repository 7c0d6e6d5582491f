"""The booted kernel: machine-wide allocators and locks, and its processes."""

from __future__ import annotations

from typing import ClassVar

from sim.designs.base import DesignSpec, Kernel
from sim.designs.linux.page_alloc import PageAllocator
from sim.designs.linux.space import LinuxSpace
from sim.designs.linux.spec import LinuxSpec
from sim.engine import Steps
from sim.hardware import Cpu, Machine
from sim.mm import (
    AllocatePages,
    ContextTable,
    FreePages,
    Handlers,
    NodePolicy,
    PhysicalMemory,
    SwitchMm,
)
from sim.sync import QueueNodes, Scheduler


class LinuxKernel(Kernel):
    """Linux of one version on one machine."""

    space = LinuxSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, LinuxSpec)
        self.machine = machine
        self.spec = spec
        self.nodes = QueueNodes(machine, "qspinlock")
        self.osq_nodes = QueueNodes(machine, "osq")
        self.scheduler = Scheduler(machine)
        self.pages = PageAllocator(machine, spec, self.nodes)
        self.contexts = ContextTable(machine, spec.flush.asids)

    def new_process(self, cpu: Cpu) -> LinuxSpace:
        return LinuxSpace(self, cpu)

    @property
    def memory(self) -> PhysicalMemory:
        return self.pages

    def place_memory(self, policy: NodePolicy) -> None:
        self.pages.policy = policy

    def _allocate(self, cpu: Cpu, asked: AllocatePages) -> Steps[int]:
        return self.pages.allocate(cpu, asked.order)

    def _free(self, cpu: Cpu, asked: FreePages) -> Steps[None]:
        return self.pages.free(cpu, asked.frame, asked.order)

    def _switch(self, cpu: Cpu, asked: SwitchMm) -> Steps[None]:
        assert isinstance(asked.space, LinuxSpace)
        return self.contexts.switch(cpu, asked.space.tlb)

    operations: ClassVar[Handlers] = {AllocatePages: _allocate, FreePages: _free, SwitchMm: _switch}
