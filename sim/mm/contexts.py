"""Switching a cpu between address spaces (Linux arch/x86/mm/tlb.c switch_mm_irqs_off, choose_new_asid; 6.13).

Without PCID a switch drops the TLB. With it a cpu keeps the entries of the last few address spaces under a
number each (*asid*), and with each the flush generation that it had seen when it left. A space that comes
back to its number and has not been flushed meanwhile finds its entries; one that has been, or that is given
the number of another, begins without. While a space is not loaded, nobody tells the cpu about its flushes.

    leave A (clear its bit) | enter B (set its bit, read tlb_gen) | write CR3 | interrupts on
    |---------------------- interrupts off ---------------------------------|
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, Cpu

if TYPE_CHECKING:
    from sim.mm.flush import SwitchedFlush


class Context(NamedTuple):
    """What an asid stands for on one cpu: whose entries, and complete up to which generation."""

    space: SwitchedFlush
    seen: int


class Contexts:
    """The address spaces of one cpu, *asids* of them with PCID."""

    __slots__ = ("_cpu", "_loaded", "_next", "_slots")

    def __init__(self, cpu: Cpu, asids: int, *, pcid: bool) -> None:
        self._cpu = cpu
        self._slots: list[Context | None] = [None] * (asids if pcid else 1)
        self._next = 0
        self._loaded: SwitchedFlush | None = None

    def switch(self, space: SwitchedFlush) -> Steps[None]:
        """Load *space*; the cpu's thread runs in it from now on."""
        cpu, before = self._cpu, self._loaded
        if space is before:
            return
        cpu.disable_interrupts()
        self._loaded = None  # LOADED_MM_SWITCHING
        if before is not None:
            seen = yield from before.leave(cpu)
            self._slots[cpu.tlb.asid] = Context(before, seen)
        yield from space.enter(cpu)
        asid, seen = self._choose(space)
        valid = seen >= space.valid_from
        cpu.work(cpu.tlb.load(asid, flush=not valid), TLB_FLUSH)
        space.loaded(cpu, asid)
        self._loaded = space
        cpu.probe.address_space_switch(cpu, valid)
        cpu.enable_interrupts()

    def left(self) -> list[tuple[int, SwitchedFlush]]:
        """The spaces that are not loaded and whose entries are still good, each with its asid."""
        return [
            (asid, context.space)
            for asid, context in enumerate(self._slots)
            if context and context.space is not self._loaded and context.seen >= context.space.valid_from
        ]

    def _choose(self, space: SwitchedFlush) -> tuple[int, int]:
        """`choose_new_asid`: a number for *space* and the generation up to which its entries are good."""
        if len(self._slots) > 1:
            for asid, context in enumerate(self._slots):
                if context is not None and context.space is space:
                    return asid, context.seen
        asid = self._next
        self._next = (asid + 1) % len(self._slots)
        taken = self._slots[asid]
        if taken is not None:
            taken.space.forget(self._cpu)
        self._slots[asid] = Context(space, -1)
        return asid, -1
