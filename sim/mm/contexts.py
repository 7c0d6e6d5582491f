"""Switching a cpu between address spaces (Linux arch/x86/mm/tlb.c switch_mm_irqs_off, choose_new_asid; 6.13).

Without PCID a switch drops the TLB. With it a cpu keeps the entries of the last few address spaces under a
number each (*asid*), and with each the flush generation that it had seen when it left. A space that comes
back to its number and has not been flushed meanwhile finds its entries; one that has been, or that is given
the number of another, begins without. While a space is not loaded, nobody tells the cpu about its flushes.

    leave A (clear its bit) | enter B (set its bit, read tlb_gen) | write CR3 | interrupts on
    |---------------------- interrupts off ---------------------------------|
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, Cpu, Machine

if TYPE_CHECKING:
    from sim.mm.flush import SwitchedFlush


class Context:
    """What an asid stands for on one cpu: whose entries, and complete up to which generation."""

    __slots__ = (
        "seen",
        "space",
    )

    def __init__(self, space: SwitchedFlush, seen: int) -> None:
        self.space = space
        self.seen = seen


_NOTHING_SEEN: Final = -1


class Contexts:
    """The address spaces of one cpu, *asids* of them with PCID."""

    __slots__ = ("_cpu", "_loaded", "_next", "_slots")

    def __init__(self, cpu: Cpu, asids: int, *, pcid: bool) -> None:
        self._cpu = cpu
        self._slots: list[Context | None] = [None] * (asids if pcid else 1)
        self._next = 0
        self._loaded: SwitchedFlush | None = None

    def switch(self, space: SwitchedFlush) -> Steps[None]:
        """Load *space*; the cpu's thread runs in it from now on.

        A cpu that idled meanwhile and was not told of a flush leaves it undone: it has seen nothing of the
        space that it leaves.
        """
        cpu, before = self._cpu, self._loaded
        if space is before:
            return
        cpu.disable_interrupts()
        self._loaded = None  # LOADED_MM_SWITCHING
        missed, cpu.tlb.stale = cpu.tlb.stale, False
        if before is not None:
            seen = yield from before.leave(cpu)
            self._slots[cpu.tlb.asid] = Context(before, _NOTHING_SEEN if missed else seen)
        yield from space.enter(cpu)
        cost, valid = self._load(space)
        cpu.work(cost, TLB_FLUSH)
        cpu.probe.address_space_switch(cpu, valid)
        cpu.enable_interrupts()

    def activate(self, space: SwitchedFlush) -> None:
        """`switch` outside of what is measured: it takes no time."""
        cpu, before = self._cpu, self._loaded
        if space is before:
            return
        if before is not None:
            self._slots[cpu.tlb.asid] = Context(before, before.drop(cpu))
        space.activate(cpu)
        self._load(space)

    def asid_of(self, space: SwitchedFlush) -> int | None:
        """Under which number the cpu has entries of *space* that it may use, now or when it comes back."""
        if space is self._loaded:
            return self._cpu.tlb.asid
        return next((asid for asid, left in self.left() if left is space), None)

    def has_loaded(self, space: SwitchedFlush) -> bool:
        """Whether the cpu runs in *space*."""
        return space is self._loaded

    def left(self) -> list[tuple[int, SwitchedFlush]]:
        """The spaces that are not loaded and whose entries are still good, each with its asid."""
        return [
            (asid, context.space)
            for asid, context in enumerate(self._slots)
            if context and context.space is not self._loaded and context.seen >= context.space.valid_from
        ]

    def _load(self, space: SwitchedFlush) -> tuple[int, bool]:
        """Write CR3. Returns what that costs (ps) and whether the entries of *space* are still good."""
        asid, seen = self._choose(space)
        valid = seen >= space.valid_from
        cost = self._cpu.tlb.load(asid, flush=not valid)
        space.loaded(self._cpu, asid)
        self._loaded = space
        return cost, valid

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
        self._slots[asid] = Context(space, _NOTHING_SEEN)
        return asid, _NOTHING_SEEN


class ContextTable:
    """The contexts of all cpus of *machine*, *asids* to a cpu: what a kernel switches spaces with."""

    __slots__ = ("_asids", "_of", "_pcid")

    def __init__(self, machine: Machine, asids: int) -> None:
        self._asids = asids
        self._pcid = machine.spec.tlb.pcid
        self._of: dict[Cpu, Contexts] = {}

    def switch(self, cpu: Cpu, space: SwitchedFlush) -> Steps[None]:
        """*cpu* loads *space*."""
        return self._on(cpu).switch(space)

    def activate(self, cpu: Cpu, space: SwitchedFlush) -> None:
        """*cpu* loads *space*, which takes no time."""
        self._on(cpu).activate(space)

    def alone(self, cpu: Cpu, space: SwitchedFlush) -> bool:
        """Whether no other cpu than *cpu* has *space* loaded, so that none can walk its tables."""
        return not any(its.has_loaded(space) for other, its in self._of.items() if other is not cpu)

    def asid_of(self, cpu: Cpu, space: SwitchedFlush) -> int | None:
        """Under which number *cpu* has entries of *space* that it may use."""
        return self._on(cpu).asid_of(space)

    def _on(self, cpu: Cpu) -> Contexts:
        if cpu not in self._of:
            self._of[cpu] = Contexts(cpu, self._asids, pcid=self._pcid)
        return self._of[cpu]
