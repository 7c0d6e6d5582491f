"""The booted kernel: caches of frames, queues of work for other cores, and the processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from sim.designs.base import Kernel
from sim.designs.base_spec import DesignSpec
from sim.designs.nros.frames import FrameCaches
from sim.designs.nros.runner import ThreadRunner
from sim.designs.nros.shootdown import Shootdowns
from sim.designs.nros.space import NrosSpace
from sim.designs.nros.spec import NrosCosts, NrosSpec
from sim.designs.rules import Rules
from sim.engine.costs import at_clocks
from sim.errors import ModelError
from sim.hardware import Cpu, Machine
from sim.mm import Footprint, Reference
from sim.mm.errno import USER_PAGES


class NrosKernel(Kernel):
    """NrOS's memory management on one machine. *groups* are the cores of each replica; *retry* is how long a
    thread waits for its answer before it tries to combine (ps)."""

    __slots__ = (
        "_footprint",
        "_runners",
        "caches",
        "cost",
        "groups",
        "machine",
        "retry",
        "shootdowns",
        "spaces",
        "spec",
    )

    space: ClassVar[type[NrosSpace]] = NrosSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, NrosSpec)
        self.machine = machine
        self.spec = spec
        plain = machine.spec.plain_clock
        self.cost = at_clocks(spec.costs, machine.spec.kernel_clock, NrosCosts.plain, plain)
        self.retry = spec.retry
        self.caches = FrameCaches(machine, spec.caches, self.cost)
        self.groups = self._grouped()
        most = max(len(group) for group in self.groups)
        if most > spec.log.reserve:
            raise ModelError(
                f"{spec.name}: {most} cores of one replica may append as many operations at once, more than "
                f"the {spec.log.reserve} entries that its log keeps free (log.reserve)"
            )
        self.shootdowns = Shootdowns(self)
        self._footprint = Footprint(0)
        self._runners = [ThreadRunner(cpu, self.cost.poll) for cpu in machine.cpus]
        self.spaces: list[NrosSpace] = []

    def _grouped(self) -> list[list[Cpu]]:
        """The cores of each replica that has any."""
        cpus, asked = self.machine.cpus, self.spec.replicas
        groups: dict[int, list[Cpu]] = {}
        for cpu in cpus:
            number = self.caches.seen_node(cpu) if asked == "per-node" else cpu.id * asked // len(cpus)
            groups.setdefault(number, []).append(cpu)
        return list(groups.values())

    def first_page(self, cpu: Cpu) -> int:
        """Where the part of the address space begins from which the thread of *cpu* gets memory. Parts are
        smaller where there are more cores than room."""
        size, parts = self.spec.core_slot, len(self.machine.cpus) + 1
        while size * parts > USER_PAGES:
            size //= 2
        return (cpu.id + 1) * size

    @property
    def footprint(self) -> Footprint:
        return self._footprint

    def new_process(self, cpu: Cpu) -> NrosSpace:
        made = self.space(self, cpu)
        self.spaces.append(made)
        return made

    def thread_runner(self, cpu: Cpu) -> ThreadRunner:
        """The thread on *cpu*, as who executes kernel code."""
        return self._runners[cpu.id]

    @property
    def memory(self) -> FrameCaches:
        return self.caches

    @property
    def rules(self) -> Rules:
        return Rules(
            tells_fills=True,
            knows_flags=True,
            eager=True,
            whole_frames=True,
            piecewise=True,
            replaces=False,
            dirty_bits=False,
            alike=True,
        )

    def references(self) -> Iterator[Reference]:
        """A mapping is the owner of its frame, however many replicas have it."""
        for space in self.spaces:
            yield from space.references()
