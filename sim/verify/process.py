"""Processes of a simulated kernel, booted on the small machine, and threads to run in them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

from sim.check import Watch
from sim.designs import DesignSpec, build
from sim.engine import Probe, Schedule, ScheduleName, Steps
from sim.hardware import Cpu, Machine
from sim.mm import SwitchMm
from sim.verify.kernels import design
from sim.verify.machines import run, small_machine


class Process:
    """A process whose threads run on the first *cpus* cpus, the only ones online.

    With more *processes* than one, which have the cpus by turns; *space* is the first one's. *spec* is a
    design in place of those with round costs, *limits* are those of the engine.
    """

    watch_kind: ClassVar[type[Watch]] = Watch
    boot: ClassVar[Callable[..., Machine]] = staticmethod(small_machine)

    def __init__(
        self,
        kind: str,
        *,
        cpus: int = 2,
        processes: int = 1,
        ties: Schedule | ScheduleName = "fifo",
        seed: int = 0,
        changes: Mapping[str, Any] | None = None,
        spec: DesignSpec | None = None,
        machine: Mapping[str, Any] | None = None,
        listeners: Sequence[Probe] = (),
        **limits: int,
    ) -> None:
        self.watch = self.watch_kind()
        self.machine = self.boot(
            machine, ties=ties, seed=seed, online=cpus, listeners=(self.watch, *listeners), **limits
        )
        self.cpus = self.machine.cpus
        self.kernel = build(self.machine, spec or design(kind, changes))
        self.spaces: list[Any] = [self.kernel.new_process(cpu) for cpu in self.cpus[:processes]]
        self.space = self.spaces[0]
        self.wakes_elsewhere: Collection[int] = ()
        self._loaded = {cpu: self.spaces[cpu.id % processes] for cpu in self.cpus}
        for cpu, space in self._loaded.items():
            space.activate(cpu)
        self.watch.machine = self.machine
        self.watch.spaces = self.spaces
        memory = self.kernel.memory
        if memory is not None:
            for frame in memory.in_use.refcount:
                self.watch.owned.update(range(frame, frame + (1 << memory.in_use.orders.get(frame, 0))))

    def space_of(self, cpu: Cpu) -> Any:
        """The space that *cpu* has loaded."""
        return self._loaded[cpu]

    def load(self, cpu: Cpu, space: Any) -> Steps[None]:
        """*cpu* goes on in *space*; if it idled in it, it does what it has missed."""
        yield from self.kernel.perform(cpu, SwitchMm(space))
        cpu.tlb_catch_up()
        self.loads(cpu, space)

    def loads(self, cpu: Cpu, space: Any) -> None:
        """*cpu* has loaded *space*, a new one perhaps."""
        self._loaded[cpu] = space
        if space not in self.spaces:
            self.spaces.append(space)

    def run(
        self, bodies: Mapping[int, Callable[[Cpu], Steps[None]]], wakes_elsewhere: Collection[int] = ()
    ) -> None:
        """Run a thread on every cpu, an idle one where *bodies* has none, to its end; then verify.

        The cpus of *wakes_elsewhere* idle before, and their threads load another space first.
        """
        self.wakes_elsewhere = wakes_elsewhere
        for cpu in self.cpus:
            cpu.in_kernel_wait = False
        run(self.machine, {cpu.id: self._whole_life(bodies.get(cpu.id)) for cpu in self.cpus})
        self.verify()

    def verify(self) -> None:
        """The end state holds against all invariants."""
        loaded: dict[Any, list[Cpu]] = {space: [] for space in self.spaces}
        for cpu in self.cpus:
            loaded[self.space_of(cpu)].append(cpu)
        self.kernel.verify(loaded)

    def end(self) -> None:
        """Pass the grace periods and let every record be swept: nothing waits to be freed any more."""
        self.run({})
        self.run({})
        for space in self.spaces:
            space.settle()
            assert not list(space.deferred())
        self.verify()

    def _whole_life(self, body: Callable[[Cpu], Steps[None]] | None) -> Callable[[Cpu], Steps[None]]:
        def whole_life(cpu: Cpu) -> Steps[None]:
            if cpu.id not in self.wakes_elsewhere:
                cpu.tlb_catch_up()
            if body is not None:
                yield from body(cpu)
            yield from self.space_of(cpu).deactivate(cpu)

        return whole_life
