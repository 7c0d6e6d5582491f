"""What a design file says of flushing."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from sim.hardware import MachineSpec
from sim.quantities import Cost, CycleCost, Duration, Spec


class FlushSpec(Spec):
    """How a kernel of Linux's kind flushes the TLBs of others."""

    method: Literal["ipi", "broadcast", "broadcast-if-present"]
    """By interrupt, or by instruction once a process runs on enough cpus (6.15): on machines that have it
    (`broadcast`), or on those, and by interrupt on others (`broadcast-if-present`)."""
    broadcast_from: PositiveInt | None = None
    """With a broadcast: so many cpus are enough."""
    concurrent: bool
    """The initiator flushes its own TLB while the others flush theirs (5.13); before that, first its own."""
    asids: PositiveInt
    """Address spaces that a cpu keeps in its TLB on machines with PCID (TLB_NR_DYN_ASIDS)."""
    ranges: bool = True
    """Short ranges are flushed page by page (3.7); before that everything, unless it is a single page."""
    skip_lazy: bool = True
    """A cpu in lazy-TLB mode flushes when it comes back (4.20); before that it is interrupted, and leaves."""
    tlb_gen_read: Literal["never", "always", "if-behind"] = "if-behind"
    """When a cpu that is asked reads the process's `tlb_gen`: there is none (until 4.13); in each call (until
    5.19); only if it has not yet done what the call asks for (6.0)."""
    calls: Literal["linux", "sv6"] = "linux"
    """How other cpus are asked: kernel/smp.c, or kernel/ipi.cc of sv6, for benches alone. sv6 has no
    generations and flushes only what was asked for, its own TLB first."""
    shorthand: bool = False
    """One write interrupts everybody where everybody is to be interrupted ("all but self", since 5.4)."""
    mm_cpumask: Literal["eager", "lazy"] = "eager"
    """When the bit of a cpu goes that loads another space: at once, or with a later flush that finds it
    (6.14), which interrupts that cpu."""
    trim_every: Duration | None = None
    """With `mm_cpumask: lazy`: a flush looks for such bits if the last that did is so long ago."""

    ask: Cost = CycleCost(0, 0)
    """Code of the initiator for each target (smp_call_function_many_cond), without the lines it moves."""
    answer: Cost = CycleCost(0, 0)
    """Code of a target for each call: the loop over its queue, and flush_tlb_func without the flush."""

    @model_validator(mode="after")
    def _broadcast_has_a_start(self) -> Self:
        if (self.broadcast_from is None) != (self.method == "ipi"):
            raise ValueError("`broadcast_from` is for `method: broadcast`, which needs it")
        if (self.trim_every is None) != (self.mm_cpumask == "eager"):
            raise ValueError("`trim_every` is for `mm_cpumask: lazy`, which needs it")
        if self.calls == "sv6" and self.method != "ipi":
            raise ValueError("`calls: sv6` are interrupts, so `method` is `ipi`")
        return self

    def broadcasts(self, machine: MachineSpec) -> bool:
        """Whether *machine* has the instruction and this flush uses it."""
        return self.method != "ipi" and machine.tlb.broadcast is not None and machine.tlb.pcid

    def refuses(self, machine: MachineSpec) -> str | None:
        """Why this flush cannot be had on *machine*, if so."""
        if self.method == "broadcast" and not self.broadcasts(machine):
            return (
                f"{machine.name} cannot broadcast TLB flushes: it has no `tlb.broadcast`, or not `tlb.pcid`"
            )
        return None
