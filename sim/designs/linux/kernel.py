"""The booted kernel: machine-wide allocators and locks, and its processes."""

from __future__ import annotations

from sim.designs.base import DesignSpec, Kernel
from sim.designs.linux.page_alloc import PageAllocator
from sim.designs.linux.space import LinuxSpace
from sim.designs.linux.spec import LinuxSpec
from sim.engine import Steps
from sim.hardware import Cpu, Machine
from sim.mm import NodePolicy
from sim.sync import QueueNodes, Scheduler


class LinuxKernel(Kernel):
    """Linux of one version on one machine."""

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, LinuxSpec)
        self.machine = machine
        self.spec = spec
        self.nodes = QueueNodes(machine, "qspinlock")
        self.osq_nodes = QueueNodes(machine, "osq")
        self.scheduler = Scheduler(machine)
        self.pages = PageAllocator(machine, spec, self.nodes)

    def new_process(self, cpu: Cpu) -> LinuxSpace:
        return LinuxSpace(self, cpu)

    def place_memory(self, policy: NodePolicy) -> None:
        self.pages.policy = policy

    def allocate_pages(self, cpu: Cpu, order: int) -> Steps[int]:
        return (yield from self.pages.allocate(cpu, order))

    def free_pages(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        yield from self.pages.free(cpu, frame, order)
