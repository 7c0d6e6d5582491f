"""What defences against attacks on speculation cost: a property of the processor and of the kernel's release.

A machine file names the *mitigations* that Linux takes on its processor by default, each with the release
that brought it (arch/x86/kernel/cpu/bugs.c). They cost in two places:

- at the border: cycles each time the kernel is entered from user mode and left again, for other page tables
  (KPTI), MSRs that are written (IBRS) or buffers that are overwritten (VERW), in arch/x86/entry/entry_64.S;
- in kernel code, which takes *code* times as many cycles where each return of a function is mispredicted on
  purpose (SRSO) or branches are predicted less well (IBRS).

What a processor does by itself (eIBRS, BHI_DIS_S) has no switch at the border: it is in costs as measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Final, Self

from pydantic import Field, model_validator

from sim.errors import RuleError
from sim.quantities import Cost, CycleCost, Release, Spec, format_release

_FREE: Final = CycleCost(0, 0)


class Mitigation(Spec):
    """One defence, on by default from one release of Linux on."""

    name: str
    """Of the defence, such as `kpti`."""
    since: Release
    """First release of Linux that has it."""
    until: Release | None = None
    """First release that has it no more. Absent: all since then have it."""
    syscall: Cost = _FREE
    """On top of a system call, there and back."""
    exception: Cost = _FREE
    """On top of a page fault, there and back."""
    code: float = Field(default=1, ge=1)
    """How many times as many cycles kernel code takes."""
    own_tables: bool = False
    """User mode has page tables of its own: what is invalidated is so in both (`tlb.invalidate_user`)."""

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Self:
        if self.until is not None and self.until <= self.since:
            raise RuleError(
                "`until` must be a later release than `since`",
                {"until": f"later than {format_release(self.since)}"},
            )
        return self

    def is_in(self, release: Release | None) -> bool:
        """Whether a kernel of *release* has it; any other kernel (None) has all that the machine needs."""
        if release is None:
            return self.until is None
        return self.since <= release and (self.until is None or release < self.until)


def in_force(
    mitigations: Iterable[Mitigation], release: Release | None, *, switched_off: bool
) -> list[Mitigation]:
    """Those that a kernel of *release* takes, booted with `mitigations=off` or without."""
    return [] if switched_off else [each for each in mitigations if each.is_in(release)]


def slower_code(mitigations: Iterable[Mitigation]) -> float:
    """How many times as many cycles kernel code takes under all of *mitigations*."""
    return prod(each.code for each in mitigations)
