"""What is in memory: a process whose frames have contents, and short ways to say what its threads do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels import BASE, Process

from sim.engine import Probe, Steps
from sim.engine.probe import CpuView
from sim.hardware import Cpu
from sim.mm import CreateFile, File
from sim.mm.performer import offered


class Contents(Probe):
    """What is in each frame, and in each swap slot: the number of the last write; 0 in a zeroed one."""

    def __init__(self) -> None:
        self.of: dict[int, int] = {}
        self.slots: dict[int, int] = {}

    def frame_filled(self, cpu: CpuView, frame: int, source: int | None) -> None:
        self.of[frame] = 0 if source is None else self.of[source]

    def page_out(self, cpu: CpuView, frame: int, slot: int) -> None:
        self.slots[slot] = self.of[frame]

    def page_in(self, cpu: CpuView, frame: int, slot: int) -> None:
        self.of[frame] = self.slots[slot]


class Files:
    """A process, the contents of its frames, and short ways to say what threads do."""

    def __init__(
        self, cpus: int = 2, listeners: tuple[Probe, ...] = (), *, kind: str = "linux", **options: Any
    ) -> None:
        self.contents = Contents()
        self.process = Process(kind, cpus=cpus, listeners=(self.contents, *listeners), **options)
        self.space = self.process.space
        self.kernel: Any = self.process.kernel
        self._writes = 0

    def run(self, *steps: Callable[[Cpu], Steps[Any]], cpu: int = 0) -> list[Any]:
        """What each of *steps* returned, done one after another on *cpu*."""
        values: list[Any] = []

        def body(here: Cpu) -> Steps[None]:
            for step in steps:
                value = yield from step(here)
                values.append(value)

        self.process.run({cpu: body})
        return values

    def file(self, pages: int, *, resident: bool = False) -> File:
        (file,) = self.run(lambda cpu: self.kernel.perform(cpu, CreateFile("test", pages, resident)))
        return file

    def do(self, *operations: Any, cpu: int = 0) -> list[Any]:
        return self.run(*(self.step(operation) for operation in operations), cpu=cpu)

    def step(self, operation: Any) -> Callable[[Cpu], Steps[Any]]:
        owner = self.kernel if type(operation) in offered(type(self.kernel)) else self.space
        return lambda cpu: owner.perform(cpu, operation)

    def write(self, page: int) -> Callable[[Cpu], Steps[int]]:
        """A write at `BASE` + *page*; value: its number."""

        def step(cpu: Cpu) -> Steps[int]:
            yield from self.space.access(cpu, BASE + page)
            self._writes += 1
            self.contents.of[cpu.tlb.lookup(BASE + page).frame] = self._writes  # type: ignore[union-attr]
            return self._writes

        return step

    def read(self, page: int) -> Callable[[Cpu], Steps[int]]:
        """A read there; value: the number of the write that it sees."""

        def step(cpu: Cpu) -> Steps[int]:
            yield from self.space.access(cpu, BASE + page, write=False)
            return self.contents.of.get(cpu.tlb.lookup(BASE + page).frame, 0)  # type: ignore[union-attr]

        return step

    def end(self) -> None:
        self.process.end()
