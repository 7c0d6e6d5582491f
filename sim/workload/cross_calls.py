"""Steps that call a function on other cpus by an interrupt, as the kernel does (smp_call_function; 6.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.hardware import Cpu, Machine
    from sim.workload.call_spec import CallFunctionStep
    from sim.workload.placed import Action
    from sim.workload.thread import Worker


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
