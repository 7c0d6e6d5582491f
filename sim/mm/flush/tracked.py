"""Shootdown to cpus that the kernel knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, Cpu, Machine


class TrackedFlush:
    """Shootdown to the cpus that may have the pages, where the kernel knows which (RadixVM, EuroSys'13)."""

    __slots__ = ("_machine",)

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def flush(self, cpu: Cpu, pages: Sequence[int], holders: Iterable[Cpu]) -> Steps[None]:
        """Remove *pages* from the TLBs of *cpu* and *holders* and wait until that is done."""

        cpu.probe.flush(cpu, len(pages))

        def flush_here(target: Cpu) -> int:
            target.probe.tlb_flush(target, len(pages), target is not cpu)
            target.tlb.invalidate(pages)
            return len(pages) * target.tlb.invalidate_cost

        round_ = yield from self._machine.interrupts.start(cpu, holders, flush_here)
        cpu.work(flush_here(cpu), TLB_FLUSH)
        yield from self._machine.interrupts.finish(round_)
