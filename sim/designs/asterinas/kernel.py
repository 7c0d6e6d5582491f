"""The booted kernel: CortenMM's frames, tables and RCU, and what the second level needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from sim.designs.asterinas.fault import AROUND
from sim.designs.asterinas.space import AsterinasSpace
from sim.designs.asterinas.spec import AsterinasSpec, VmarCosts
from sim.designs.asterinas.truncate import ftruncate
from sim.designs.asterinas.vmar import FreePages
from sim.designs.base_spec import DesignSpec
from sim.designs.cortenmm import CortenKernel
from sim.designs.cortenmm.va_alloc import SearchedTables, VaAllocator
from sim.designs.rules import Rules
from sim.engine import Activity, Steps
from sim.engine.costs import at_clocks
from sim.hardware import Cpu, Machine
from sim.mm import Ftruncate, Handlers, Reference
from sim.sync import Rcu, Scheduler, Sleeper

if TYPE_CHECKING:
    from sim.designs.asterinas.vmar import Vmar
    from sim.designs.cortenmm.vmo import Vmo


class QuiescentScheduler(Scheduler):
    """A thread that sleeps switches away, which RCU waits for (ostd/src/task/processor.rs switch_to_task)."""

    __slots__ = ("_rcu",)

    def __init__(self, machine: Machine, rcu: Rcu) -> None:
        super().__init__(machine)
        self._rcu = rcu

    def sleep(self, cpu: Cpu, sleeper: Sleeper, activity: Activity) -> Steps[None]:
        yield from self._rcu.quiescent(cpu)
        yield from super().sleep(cpu, sleeper, activity)


class AsterinasKernel(CortenKernel):
    """Asterinas of one version on one machine."""

    __slots__ = ("_rmap", "scheduler", "vmar_cost")

    spec: AsterinasSpec
    space: ClassVar[type[AsterinasSpace]] = AsterinasSpace

    def __init__(self, machine: Machine, spec: DesignSpec) -> None:
        assert isinstance(spec, AsterinasSpec)
        super().__init__(machine, spec)
        clock, plain = machine.spec.kernel_clock, machine.spec.plain_clock
        self.vmar_cost = at_clocks(spec.vmar, clock, VmarCosts.plain, plain)
        self.scheduler = QuiescentScheduler(machine, self.rcu)
        self._rmap: dict[Vmo, dict[Vmar, int]] = {}

    def new_process(self, cpu: Cpu) -> AsterinasSpace:
        return self.space(self, cpu)

    def new_va_allocator(self) -> VaAllocator:
        """None: room is looked for in the set of mappings."""
        return SearchedTables(self.machine)

    def mapped_by(self, vmo: Vmo) -> dict[Vmar, int]:
        """The spaces that have mapped *vmo* to be shared, and how often; under the lock of its mappers."""
        return self._rmap.setdefault(vmo, {})

    @property
    def rules(self) -> Rules:
        """Of Asterinas as it is: what its system calls know and refuse."""
        return Rules(
            tells_fills=True,
            knows_flags=True,
            holes_end_mprotect=True,
            alike=True,
            swaps=self.swap is not None,
            heap_gap=0,
            fork_copies_files=True,
            populates=False,
            unknown_advice=("cold", "pageout"),
            cuts_private=False,
            writes_fault=True,
            around=AROUND,
            maps_twice=False,
        )

    def references(self) -> Iterator[Reference]:
        yield from super().references()
        for callback in self.rcu.callbacks():
            if isinstance(callback, FreePages):
                yield from callback.references()

    operations: ClassVar[Handlers] = {Ftruncate: ftruncate}
