"""A machine made of the parts in this package, running on one engine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from sim.engine import Activity, Engine, Thread
from sim.hardware.ahead import ahead
from sim.hardware.broadcast import TlbBroadcast
from sim.hardware.cpu import Cpu, SmtCpu
from sim.hardware.entry import KernelEntry
from sim.hardware.fabric import Fabric
from sim.hardware.heard_cpu import HeardCpu, HeardSmtCpu
from sim.hardware.idle import IdleStates
from sim.hardware.interrupts import InterruptController
from sim.hardware.line import MEMORY, CacheLine
from sim.hardware.line_kinds import make_line
from sim.hardware.memory import MemorySystem
from sim.hardware.places import places_of
from sim.hardware.spec import MachineSpec
from sim.hardware.tlb import HeardTlb, Tlb
from sim.hardware.walks import RecentLines


class Machine:
    """Cpus, cache lines, memory, TLBs and interrupts of one `MachineSpec`.

    *online* is how many cpus the kernel has; the lines of the others do not exist. They are the first ones of
    *order*, the numbers of cpus as the machine counts them (its own order if there is none). Everywhere else
    cpus are counted from 0 to *online* - 1: `cpus[i]` sits at `order[i]`.
    """

    __slots__ = (
        "broadcast",
        "cpus",
        "engine",
        "entry",
        "fabric",
        "idle",
        "interrupts",
        "memory",
        "spec",
        "wake_lines",
    )

    def __init__(
        self,
        engine: Engine,
        spec: MachineSpec,
        online: int | None = None,
        order: Sequence[int] | None = None,
        lines_here: Sequence[str] = (),
        *,
        gives_back: bool = False,
    ) -> None:
        """Lines whose names match one of the patterns *lines_here* are always here (`LineHere`). Where the
        run *gives_back* waiting, cpus can save time (`sim.hardware.ahead`).
        """
        self.engine = engine
        self.spec = spec
        topology = spec.topology
        places = places_of(topology, range(spec.cpus) if order is None else order)
        self.fabric = Fabric(engine, spec, places, lines_here)
        self.memory = MemorySystem(spec, engine.stream("dram banks").random)
        seats = places.seats[:online]
        per_core = Counter(seat.core for seat in seats)
        slowdown = topology.smt_slowdown or 1
        heard = engine.probe.hears("charge")
        alone, beside = (HeardCpu, HeardSmtCpu) if heard else (Cpu, SmtCpu)
        if gives_back:
            alone, beside = ahead(alone), ahead(beside)
        self.cpus = [
            beside(engine, index, seat, slowdown, topology.smt_spin_share)
            if per_core[seat.core] > 1 and slowdown > 1
            else alone(engine, index, seat)
            for index, seat in enumerate(seats)
        ]
        far_walk = spec.tlb.far_walk
        heard_fills = engine.probe.hears("tlb_fill")
        near: dict[int, RecentLines] = {}
        on_core: defaultdict[int, list[Cpu]] = defaultdict(list)
        for cpu in self.cpus:
            on_core[cpu.core].append(cpu)
        for cpu in self.cpus:
            if far_walk and cpu.cluster not in near:
                near[cpu.cluster] = RecentLines(far_walk.cluster_lines)
            lines = near.get(cpu.cluster)
            cpu.tlb = HeardTlb(spec, lines, cpu) if heard_fills else Tlb(spec, lines)
            if isinstance(cpu, SmtCpu):
                cpu.siblings = [other for other in on_core[cpu.core] if other is not cpu]
        self.broadcast = TlbBroadcast(spec.tlb.broadcast, spec.clock) if spec.tlb.broadcast else None
        self.interrupts = InterruptController(self.fabric, spec, self.cpus)
        self.entry = KernelEntry(spec)
        self.idle = IdleStates(spec, len(self.cpus))
        self.wake_lines: dict[object, CacheLine] = {}
        """Lines of the scheduler, made when they are first used (`sim.sync.wake_lines`)."""
        engine.on_injected_delay = self._inject_delay

    def line(self, name: str, home: int = 0, *, owner: int = MEMORY, lines: int = 1) -> CacheLine:
        """A new cache line (or *lines* adjacent ones used together) in the memory of socket *home*."""
        fabric = self.fabric
        return make_line(fabric, name, home, owner=owner, lines=lines)

    def activity(self, name: str) -> Activity:
        """The activity *name* of something that the workload makes: each account gets a row for it."""
        activity = Activity(name)
        for cpu in self.cpus:
            cpu.make_room()
        return activity

    def _inject_delay(self, thread: Thread, length: int) -> None:
        for cpu in self.cpus:
            if cpu.thread is thread:
                cpu.inject_delay(length)
