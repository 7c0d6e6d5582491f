"""What each kind of step does: one maker a kind, called once for each step of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from sim.engine import Steps
from sim.hardware import HUGE_PAGES, Cpu, Machine
from sim.mm import USER, AllocatePages, FreePages
from sim.quantities import LINE_BYTES, PAGE_BYTES, PS_PER_S
from sim.workload.bench.objects import Word
from sim.workload.window import Meter

if TYPE_CHECKING:
    from sim.designs import Kernel
    from sim.workload.bench import spec
    from sim.workload.bench.objects import Objects
    from sim.workload.bench.spaces import Spaces

DRAM, ASLEEP = "dram", "asleep"

Action = Callable[[Cpu], "Steps[None] | None"]
"""Does a step on a cpu. None where that is private work, which takes no generator."""


class Record:
    """What the threads of a run without a window measured: all of it. *latencies* in ps, an operation."""

    def __init__(self) -> None:
        self.latencies: list[int] = []
        self.operations = 0

    def add(self, begun: int, ended: int, operations: int) -> None:
        """*operations*, one after the other, from *begun* to *ended* (ps)."""
        self.latencies.append((ended - begun) // operations)
        self.operations += operations


@dataclass
class Stage:
    """What the steps of one run work on. *streams* is how many threads make memory traffic."""

    machine: Machine
    kernel: Kernel
    objects: Objects
    spaces: Spaces | None
    streams: int
    counted: bool = False
    """The window is over after so many operations: each is counted at the engine's own time."""
    record: Record | Meter = field(default_factory=Record)

    def __post_init__(self) -> None:
        self.held: dict[Cpu, list[int]] = {cpu: [] for cpu in self.machine.cpus}
        self.gaps: Random = self.machine.engine.stream("memory traffic")

    def node(self, cpu: Cpu, node: spec.Node) -> int:
        """The node that a step means by *node*."""
        topology = self.machine.spec.topology
        if node == "remote":
            return (cpu.node + topology.nodes_per_socket) % topology.nodes
        return cpu.node if node == "local" else node


def sequence(stage: Stage, steps: Sequence[spec.BenchStep]) -> Callable[[Cpu], Steps[None]]:
    """*steps* one after the other, as a thread's body."""
    actions = [_MAKERS[step.kind](stage, step) for step in steps]

    def run(cpu: Cpu) -> Steps[None]:
        for action in actions:
            body = action(cpu)
            if body is not None:
                yield from body

    return run


def _compute(stage: Stage, step: Any) -> Action:
    cost = step.compute.at(stage.machine.spec.clock)
    return lambda cpu: cpu.work(cost, USER)


def _cas_add(stage: Stage, step: Any) -> Action:
    word, retry = stage.objects.words[step.cas_add.line], step.cas_add.retry.at(stage.machine.spec.clock)
    return lambda cpu: word.cas_add(cpu, retry)


def _turn(stage: Stage, step: Any) -> Action:
    word = stage.objects.words[step.turn]
    assert isinstance(word, Word)  # the file was refused otherwise
    return word.turn


def _timed(stage: Stage, step: Any) -> Action:
    inner, per = sequence(stage, step.timed), step.per or 1

    def run(cpu: Cpu) -> Steps[None]:
        begun = cpu.now
        yield from inner(cpu)
        if stage.counted and cpu.pending:
            yield cpu.take_pending()
        stage.record.add(begun, cpu.now, per)

    return run


def _seq_read(stage: Stage, step: Any) -> Action:
    lock, inner = stage.objects.locks[step.seq_read.lock], sequence(stage, step.seq_read.steps)

    def run(cpu: Cpu) -> Steps[None]:
        again = True
        while again:
            number = yield from lock.read_begin(cpu)
            yield from inner(cpu)
            again = yield from lock.read_retry(cpu, number)

    return run


def _read_dram(stage: Stage, step: Any) -> Action:
    memory = stage.machine.memory

    def run(cpu: Cpu) -> Steps[None]:
        node = stage.node(cpu, step.node or "local")
        for _ in range(step.read_dram):
            if cpu.pending:
                yield cpu.take_pending()
            cpu.stall(memory.read_line(cpu, node), DRAM)

    return run


def _stream_dram(stage: Stage, step: Any) -> Action:
    """One line, and the pause until the next is due. Exponential: delay loops are not in step."""
    gap = LINE_BYTES * PS_PER_S * stage.streams / step.stream_dram.bandwidth

    def run(cpu: Cpu) -> Steps[None]:
        stage.machine.memory.read_line(cpu, cpu.node)
        cpu.stall(max(1, int(stage.gaps.expovariate(1) * gap)), USER)
        yield cpu.take_pending()

    return run


def _clear(stage: Stage, step: Any) -> Action:
    memory, pages = stage.machine.memory, step.clear.size // PAGE_BYTES

    def run(cpu: Cpu) -> Steps[None]:
        node = stage.node(cpu, step.clear.node)
        for _ in range(pages // HUGE_PAGES):
            yield from memory.clear_huge_page(cpu, node)
        for _ in range(pages % HUGE_PAGES):
            yield from memory.clear_page(cpu, node)

    return run


def _copy(stage: Stage, step: Any) -> Action:
    memory, what = stage.machine.memory, step.copy_

    def run(cpu: Cpu) -> Steps[None]:
        node, source = stage.node(cpu, what.node), stage.node(cpu, what.source)
        for _ in range(what.size // PAGE_BYTES):
            yield from memory.copy_page(cpu, node, source=source)

    return run


def _allocate(stage: Stage, step: Any) -> Action:
    asked = AllocatePages(step.allocate.order)

    def run(cpu: Cpu) -> Steps[None]:
        for _ in range(step.allocate.count):
            stage.held[cpu].append((yield from stage.kernel.perform(cpu, asked)))

    return run


def _free(stage: Stage, step: Any) -> Action:
    def run(cpu: Cpu) -> Steps[None]:
        for _ in range(step.free.count):
            yield from stage.kernel.perform(cpu, FreePages(stage.held[cpu].pop(0), step.free.order))

    return run


def _spaces(stage: Stage) -> Spaces:
    assert stage.spaces is not None  # the file was refused otherwise
    return stage.spaces


_MAKERS: Mapping[str, Callable[[Stage, Any], Action]] = {
    "load": lambda stage, step: stage.objects.words[step.load].load,
    "store": lambda stage, step: stage.objects.words[step.store].store,
    "add": lambda stage, step: stage.objects.words[step.add].add,
    "cas_add": _cas_add,
    "turn": _turn,
    "lock": lambda stage, step: stage.objects.locks[step.lock].lock,
    "unlock": lambda stage, step: stage.objects.locks[step.unlock].unlock,
    "read_lock": lambda stage, step: stage.objects.locks[step.read_lock].read_lock,
    "read_unlock": lambda stage, step: stage.objects.locks[step.read_unlock].read_unlock,
    "seq_read": _seq_read,
    "sleep": lambda stage, step: lambda cpu: stage.objects.scheduler.nap(cpu, step.sleep, ASLEEP),
    "compute": _compute,
    "read_dram": _read_dram,
    "stream_dram": _stream_dram,
    "clear": _clear,
    "copy": _copy,
    "allocate": _allocate,
    "free": _free,
    "touch": lambda stage, step: lambda cpu: _spaces(stage).touch(cpu, step.touch),
    "shootdown": lambda stage, step: lambda cpu: _spaces(stage).shoot_down(cpu, step.shootdown),
    "discard": lambda stage, step: lambda cpu: _spaces(stage).discard(cpu, step.discard.pages),
    "switch_space": lambda stage, step: lambda cpu: _spaces(stage).switch(cpu),
    "barrier": lambda stage, step: lambda cpu: stage.objects.barrier.meet(cpu, step.barrier),
    "timed": _timed,
}
