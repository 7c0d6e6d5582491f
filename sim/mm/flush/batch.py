"""One round of interrupts for several address spaces (arch/x86/mm/tlb.c arch_tlbbatch_flush, 6.13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, Cpu, Machine

if TYPE_CHECKING:
    from sim.mm.flush.ipi import SynchronousFlush


def flush_batch(machine: Machine, cpu: Cpu, spaces: Sequence[SynchronousFlush]) -> Steps[None]:
    """Do the flushes of whole *spaces* that were put off, and wait until no cpu has anything of them.

    A space that is flushed by instruction is flushed on its own.
    """
    by_interrupt: list[SynchronousFlush] = []
    for space in spaces:
        if space.by_instruction:
            yield from space.flush(cpu, range(0), whole=True)
        else:
            by_interrupt.append(space)
    if not by_interrupt:
        return
    cpu.probe.flush(cpu, 0)

    def flush_here(target: Cpu) -> int:
        return sum(space.catch_up(target, remote=target is not cpu) for space in by_interrupt)

    targets: dict[Cpu, None] = {}
    for space in by_interrupt:
        targets.update(dict.fromkeys(space.to_ask(cpu)))
    if not targets:
        cpu.work(flush_here(cpu), TLB_FLUSH)
        return
    round_ = yield from machine.interrupts.start(
        cpu,
        list(targets),
        flush_here,
        shorthand=by_interrupt[0].shorthand,
        code=by_interrupt[0].asking,
    )
    cpu.work(flush_here(cpu), TLB_FLUSH)
    yield from machine.interrupts.finish(round_)
