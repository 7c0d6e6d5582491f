"""What a way to flush TLBs is to those who use it: address spaces, and cpus that switch between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sim.engine import Steps
from sim.hardware import Cpu


class FlushMethod(Protocol):
    """How one address space gets translations out of all TLBs.

    Every method has a flush that is over when it returns; LATR has one beside it that is not.
    """

    def activate(self, cpu: Cpu) -> None:
        """The address space is loaded on *cpu*: its TLB has to be asked from now on."""

    def flush(
        self, cpu: Cpu, pages: Sequence[int], *, whole: bool = False, freed_tables: bool = False
    ) -> Steps[None]:
        """Remove *pages* from every TLB, or the *whole* space, and wait until that is done.

        With *freed_tables* no cpu may be left that can walk to an unlinked table, not even one in lazy-TLB
        mode.
        """


class SwitchedFlush(FlushMethod, Protocol):
    """One that knows of cpus that come and go (`Contexts`)."""

    @property
    def valid_from(self) -> int:
        """A cpu that has seen this generation has no entries that were flushed elsewhere since."""

    def leave(self, cpu: Cpu) -> Steps[int]:
        """*cpu* loads another space (cpumask_clear_cpu); value: the generation that it has seen."""

    def drop(self, cpu: Cpu) -> int:
        """`leave` that takes no time."""

    def enter(self, cpu: Cpu) -> Steps[None]:
        """*cpu* is about to load the space (cpumask_set_cpu, then mm.context.tlb_gen)."""

    def loaded(self, cpu: Cpu, asid: int) -> None:
        """*cpu* has loaded the space under *asid*, up to date."""

    def forget(self, cpu: Cpu) -> None:
        """*cpu* has given the space's asid away, and its entries with it."""
