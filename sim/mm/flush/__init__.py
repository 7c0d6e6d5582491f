"""TLB flushing: one way a module, and what a design file's `flush` makes of them."""

from sim.errors import ModelError
from sim.hardware import CacheLine, Machine
from sim.mm.flush.base import FlushMethod, SwitchedFlush
from sim.mm.flush.batch import flush_batch
from sim.mm.flush.broadcast import BroadcastFlush
from sim.mm.flush.calls import Calls, LockedCalls
from sim.mm.flush.ipi import SynchronousFlush, Ways
from sim.mm.flush.latr import LazyFlush, pages_of
from sim.mm.flush.spec import FlushSpec
from sim.mm.flush.tracked import TrackedFlush


def make_flush(
    machine: Machine, generation_line: CacheLine, spec: FlushSpec, *, mask: CacheLine | None = None
) -> SynchronousFlush:
    """The flush that *spec* asks for, on the line that counts the space's flushes; *mask* is the line of
    mm_cpumask, if it is not to be one of its own.

    Raises `ModelError` where it has to be a broadcast and the machine has none.
    """
    refusal = spec.refuses(machine.spec)
    if refusal is not None:
        raise ModelError(refusal)
    kernel = ways_of(machine, spec)
    if spec.broadcasts(machine.spec):
        assert spec.broadcast_from is not None
        return BroadcastFlush(machine, generation_line, kernel, start=spec.broadcast_from, mask=mask)
    return SynchronousFlush(machine, generation_line, kernel, mask=mask)


def ways_of(machine: Machine, spec: FlushSpec) -> Ways:
    """What *spec* says of a flush by interrupt, at the clock of *machine*."""
    return Ways(
        concurrent=spec.concurrent,
        ranges=spec.ranges,
        skip_lazy=spec.skip_lazy,
        trim_every=spec.trim_every,
        tlb_gen_read=spec.tlb_gen_read,
        shorthand=spec.shorthand,
        ask=spec.ask.at(machine.spec.plain_clock),
        answer=spec.answer.at(machine.spec.plain_clock),
    )


def make_calls(machine: Machine, spec: FlushSpec) -> Calls:
    """How *spec* has other cpus asked."""
    if spec.calls == "sv6":
        return LockedCalls(machine, answer=spec.answer.at(machine.spec.plain_clock))
    return machine.interrupts


__all__ = [
    "BroadcastFlush",
    "Calls",
    "FlushMethod",
    "FlushSpec",
    "LazyFlush",
    "LockedCalls",
    "SwitchedFlush",
    "SynchronousFlush",
    "TrackedFlush",
    "Ways",
    "flush_batch",
    "make_calls",
    "make_flush",
    "pages_of",
    "ways_of",
]
