"""The booted kernel: what all CortenMM processes share."""

from __future__ import annotations

from sim.designs.base import DesignSpec, Kernel
from sim.designs.cortenmm.frame_alloc import FrameAllocator
from sim.designs.cortenmm.space import CortenSpace
from sim.designs.cortenmm.spec import CortenSpec
from sim.designs.cortenmm.va_alloc import GlobalAllocator, PerCoreAllocator
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm import NodePolicy
from sim.sync import QueueNodes, Rcu, VisibleReaders


class CortenKernel(Kernel):
    """CortenMM of one variant on one machine."""

    space = CortenSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, CortenSpec)
        self.machine = machine
        self.spec = spec
        clock = machine.spec.clock
        self.cost = at_clock(spec.costs, clock)
        self.nodes = QueueNodes(machine, "mcs")
        self.frames = FrameAllocator(machine, spec, self.cost, self.nodes)
        self.table_pool: list[list[int]] = [[] for _ in machine.cpus]
        self.rcu = Rcu(machine, global_list=True, idle_counts=False)
        bravo = at_clock(spec.bravo, clock)
        self.visible_readers = VisibleReaders(
            machine, slots=bravo.slots, scan_line=bravo.scan_line, inhibit=bravo.inhibit
        )

    def new_process(self, cpu: Cpu) -> CortenSpace:
        return CortenSpace(self, cpu)

    def place_memory(self, policy: NodePolicy) -> None:
        self.frames.place(policy)

    def new_va_allocator(self) -> PerCoreAllocator | GlobalAllocator:
        """The virtual-address allocator of a new process."""
        if self.spec.va_allocator == "per-core":
            return PerCoreAllocator(self.machine, alloc=self.cost.va_alloc, scan=self.cost.va_scan)
        return GlobalAllocator(self.machine, self.nodes, alloc=self.cost.va_alloc)
