"""A machine made of the parts in this package, running on one engine."""

from __future__ import annotations

from sim.engine import Engine
from sim.hardware.broadcast import TlbBroadcast
from sim.hardware.cpu import Cpu
from sim.hardware.interrupts import InterruptController
from sim.hardware.line import MEMORY, CacheLine, Fabric
from sim.hardware.memory import MemorySystem
from sim.hardware.spec import MachineSpec
from sim.hardware.tlb import Tlb
from sim.hardware.walks import RecentLines


class Machine:
    """Cpus, cache lines, memory, TLBs and interrupts of one `MachineSpec`.

    *online* is how many cpus the kernel has (the first ones); the lines of the others do not exist.
    """

    def __init__(self, engine: Engine, spec: MachineSpec, online: int | None = None) -> None:
        self.engine = engine
        self.spec = spec
        self.fabric = Fabric(engine, spec)
        self.memory = MemorySystem(spec, engine.stream("dram banks").random)
        fabric = self.fabric
        self.cpus = [
            Cpu(engine, cpu, fabric.cluster_of[cpu], fabric.socket_of[cpu])
            for cpu in range(spec.cpus if online is None else online)
        ]
        far_walk = spec.tlb.far_walk
        near: dict[int, RecentLines] = {}
        for cpu in self.cpus:
            if far_walk and cpu.cluster not in near:
                near[cpu.cluster] = RecentLines(far_walk.cluster_lines)
            cpu.tlb = Tlb(spec, near.get(cpu.cluster))
        self.broadcast = TlbBroadcast(spec.tlb.broadcast, spec.clock) if spec.tlb.broadcast else None
        self.interrupts = InterruptController(fabric, spec, self.cpus)

    def line(self, name: str, home: int = 0, *, owner: int = MEMORY, lines: int = 1) -> CacheLine:
        """A new cache line (or *lines* adjacent ones used together) in the memory of socket *home*."""
        return CacheLine(self.fabric, name, home, owner=owner, lines=lines)
