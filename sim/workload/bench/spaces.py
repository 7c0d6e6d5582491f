"""The address spaces of a bench: each thread's pages in them, and what steps do with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu, Machine
from sim.mm import AddressSpace, Madvise, Mmap, Shootdown, SwitchMm
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs import Kernel
    from sim.workload.bench.spec import ShootdownStep, SpacesSpec, TouchPagesStep


class Spaces:
    """Processes of one kernel. All cpus run all of them in turn; *loaded* says which one runs where."""

    def __init__(self, machine: Machine, kernel: Kernel, spec: SpacesSpec) -> None:
        self._machine = machine
        self._kernel = kernel
        self._spec = spec
        self._spaces: list[AddressSpace] = []
        self._starts: list[int] = []
        self._loaded: dict[int, int] = {}

    def set_up(self) -> None:
        """Make the spaces, and let each cpu load each and touch its region; takes simulated time."""
        engine, cpus = self._machine.engine, self._machine.cpus
        cpus[0].thread = engine.process(self._map(cpus[0]), "set-up")
        engine.run()
        for cpu in cpus:
            cpu.thread = engine.process(self._touch_own(cpu), f"set-up of thread {cpu.id}")
        engine.run()

    def verify(self) -> None:
        """Raises `ModelError` where a TLB holds what the page table does not say."""
        for number, space in enumerate(self._spaces):
            space.verify([cpu for cpu in self._machine.cpus if self._loaded[cpu.id] == number])

    def touch(self, cpu: Cpu, step: TouchPagesStep) -> Steps[None]:
        space = self._spaces[self._loaded[cpu.id]]
        for page in self._pages(cpu.id if step.region == "own" else 0, cpu, step.pages):
            # A TLB is not the cpu's alone: others flush it. So an access happens when its time has come.
            if cpu.pending:
                yield cpu.take_pending()
            yield from space.access(cpu, page)

    def shoot_down(self, cpu: Cpu, step: ShootdownStep) -> Steps[None]:
        cpus, holders = self._machine.cpus, None
        if step.targets != "all":
            number = 1 if step.targets == "next" else min(step.targets, len(cpus) - 1)
            holders = [cpus[(cpu.id + 1 + other) % len(cpus)] for other in range(number)]
            holders = [holder for holder in holders if holder is not cpu]
        pages = self._pages(cpu.id, cpu, step.pages)
        yield from self._spaces[self._loaded[cpu.id]].perform(cpu, Shootdown(pages, holders))

    def discard(self, cpu: Cpu, pages: int | None) -> Steps[None]:
        """Pages side by side go in one call, as a program would give them; pages apart in one call each."""
        space, place = self._spaces[self._loaded[cpu.id]], self._pages(cpu.id, cpu, pages)
        if place.step == 1:
            yield from space.perform(cpu, Madvise(place.start, len(place)))
            return
        for page in place:
            yield from space.perform(cpu, Madvise(page, 1))

    def switch(self, cpu: Cpu) -> Steps[None]:
        yield from self._load(cpu, (self._loaded[cpu.id] + 1) % len(self._spaces))

    def _load(self, cpu: Cpu, number: int) -> Steps[None]:
        self._loaded[cpu.id] = number
        if self._spec.count == 1:
            self._spaces[0].activate(cpu)
        else:
            yield from self._kernel.perform(cpu, SwitchMm(self._spaces[number]))

    def _pages(self, thread: int, cpu: Cpu, pages: int | None) -> range:
        """The first *pages* pages of *thread*'s region in the space that *cpu* has loaded."""
        apart = self._spec.apart // PAGE_BYTES
        first = self._starts[self._loaded[cpu.id]] + thread * self._spec.pages * apart
        return range(first, first + (pages or self._spec.pages) * apart, apart)

    def _map(self, cpu: Cpu) -> Steps[None]:
        size = len(self._machine.cpus) * self._spec.pages * self._spec.apart // PAGE_BYTES
        for number in range(self._spec.count):
            space = self._kernel.new_process(cpu)
            self._spaces.append(space)
            yield from self._load(cpu, number)  # a kernel maps in the space that its cpu runs
            self._starts.append((yield from space.perform(cpu, Mmap(size))))
        if cpu.pending:
            yield cpu.take_pending()

    def _touch_own(self, cpu: Cpu) -> Steps[None]:
        for number in (*range(1, self._spec.count), 0):
            yield from self._load(cpu, number)
            for page in self._pages(cpu.id, cpu, None):
                yield from self._spaces[number].access(cpu, page)
        if cpu.pending:
            yield cpu.take_pending()
