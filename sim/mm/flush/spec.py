"""What a design file says of flushing."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from sim.hardware import MachineSpec
from sim.quantities import Spec


class FlushSpec(Spec):
    """How a kernel of Linux's kind flushes the TLBs of others."""

    method: Literal["ipi", "broadcast"]
    """`broadcast`: by instruction, on machines that have it, once a process runs on enough cpus (6.15)."""
    broadcast_from: PositiveInt | None = None
    """With `broadcast`: so many cpus are enough."""
    concurrent: bool
    """The initiator flushes its own TLB while the others flush theirs (5.13); before that, first its own."""
    asids: PositiveInt
    """Address spaces that a cpu keeps in its TLB on machines with PCID (TLB_NR_DYN_ASIDS)."""

    @model_validator(mode="after")
    def _broadcast_has_a_start(self) -> Self:
        if (self.broadcast_from is not None) != (self.method == "broadcast"):
            raise ValueError("`broadcast_from` is for `method: broadcast`, which needs it")
        return self

    def refuses(self, machine: MachineSpec) -> str | None:
        """Why this flush cannot be had on *machine*, if so."""
        if self.method == "broadcast" and (machine.tlb.broadcast is None or not machine.tlb.pcid):
            return (
                f"{machine.name} cannot broadcast TLB flushes: it has no `tlb.broadcast`, or not `tlb.pcid`"
            )
        return None
