"""TLB flushing: one way a module, and what a design file names as its `flush.method`."""

from collections.abc import Callable, Mapping
from typing import Final

from sim.errors import ModelError
from sim.hardware import CacheLine, Machine
from sim.mm.flush.base import FlushMethod, SwitchedFlush
from sim.mm.flush.broadcast import BroadcastFlush
from sim.mm.flush.ipi import SynchronousFlush
from sim.mm.flush.latr import LazyFlush
from sim.mm.flush.spec import FlushSpec
from sim.mm.flush.tracked import TrackedFlush


def _ipi(machine: Machine, line: CacheLine, spec: FlushSpec, mask: CacheLine | None) -> SwitchedFlush:
    return SynchronousFlush(machine, line, concurrent=spec.concurrent, mask=mask)


def _broadcast(machine: Machine, line: CacheLine, spec: FlushSpec, mask: CacheLine | None) -> SwitchedFlush:
    assert spec.broadcast_from is not None
    return BroadcastFlush(machine, line, concurrent=spec.concurrent, start=spec.broadcast_from, mask=mask)


METHODS: Final[Mapping[str, Callable[[Machine, CacheLine, FlushSpec, CacheLine | None], SwitchedFlush]]] = {
    "ipi": _ipi,
    "broadcast": _broadcast,
}
"""How each method of Linux's kind is made, on the line of the space's flushes and that of its mask."""


def make_flush(
    machine: Machine, generation_line: CacheLine, spec: FlushSpec, *, mask: CacheLine | None = None
) -> SwitchedFlush:
    """The flush that *spec* asks for; *mask* is the line of mm_cpumask, if it is not to be one of its own.
    Raises `ModelError` where the machine has no broadcast."""
    refusal = spec.refuses(machine.spec)
    if refusal is not None:
        raise ModelError(refusal)
    return METHODS[spec.method](machine, generation_line, spec, mask)


__all__ = [
    "METHODS",
    "BroadcastFlush",
    "FlushMethod",
    "FlushSpec",
    "LazyFlush",
    "SwitchedFlush",
    "SynchronousFlush",
    "TrackedFlush",
    "make_flush",
]
