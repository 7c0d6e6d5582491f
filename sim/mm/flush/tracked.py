"""Shootdown to cpus that the kernel knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, Cpu, Machine
from sim.mm.flush.calls import Calls


class TrackedFlush:
    """Shootdown to the cpus that may have the pages, where the kernel knows which (RadixVM, EuroSys'13).

    *calls* is how it asks them, Linux's way if it is None. With *own_first* the initiator's own TLB comes
    before it asks the others (sv6: page_map_cache::invalidate, core_tracking_shootdown::perform). *code* is
    what it executes for each of them (ps).
    """

    __slots__ = ("_calls", "_code", "_own_first")

    def __init__(
        self, machine: Machine, calls: Calls | None = None, *, own_first: bool = False, code: int = 0
    ) -> None:
        self._calls = machine.interrupts if calls is None else calls
        self._own_first = own_first
        self._code = code

    def flush(self, cpu: Cpu, pages: Sequence[int], holders: Iterable[Cpu]) -> Steps[None]:
        """Remove *pages* from the TLBs of *cpu* and *holders* and wait until that is done."""

        cpu.probe.flush(cpu, len(pages))

        def flush_here(target: Cpu) -> int:
            target.probe.tlb_flush(target, len(pages), target is not cpu)
            target.tlb.invalidate(pages)
            return len(pages) * target.tlb.invalidate_cost

        if self._own_first:
            cpu.work(flush_here(cpu), TLB_FLUSH)
        round_ = yield from self._calls.start(cpu, holders, flush_here, code=self._code)
        if not self._own_first:
            cpu.work(flush_here(cpu), TLB_FLUSH)
        yield from self._calls.finish(round_)
