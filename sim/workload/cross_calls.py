"""Steps that call a function on other cpus by an interrupt, as the kernel does (smp_call_function; 6.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from sim.engine import Steps
from sim.quantities import Cost, CycleCost, Spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.hardware import Cpu, Machine
    from sim.workload.placed import Action
    from sim.workload.thread import Worker


class CallFunctionStep(Spec):
    """Call a function on other cpus of the run, and wait until all have called it."""

    targets: Literal["all", "next"] | PositiveInt
    """`all` others, the `next` one in number, or so many next ones."""
    function: Cost = CycleCost(0, 0)
    """What it takes there."""
    until: Literal["over", "called"] = "over"
    """With `called` an operation that is timed ends when the last target has called the function, which reads
    the clock there. The thread waits in any case."""


def call_function(machine: Machine, step: CallFunctionStep) -> Action:
    """What *step* does: smp_call_function_single, or smp_call_function_many."""
    cost, interrupts = step.function.at(machine.spec.kernel_clock), machine.interrupts

    def called(cpu: Cpu) -> int:
        return cost

    def run(worker: Worker) -> Steps[None]:
        targets = _targets(worker.cpu, machine.cpus, step)
        sent = yield from interrupts.start(worker.cpu, targets, called)
        yield from interrupts.finish(sent)
        if step.until == "called":
            worker.noted = sent.finished_at

    return run


def _targets(cpu: Cpu, cpus: Sequence[Cpu], step: CallFunctionStep) -> list[Cpu]:
    others = [cpus[(cpu.id + 1 + after) % len(cpus)] for after in range(len(cpus) - 1)]
    if step.targets == "all":
        return others
    return others[: 1 if step.targets == "next" else step.targets]
