"""Allocators of user space: what malloc and free ask of the kernel, one module a library.

A new one is a module with a `Heap` and a line in the table here, and its options in
`sim/workload/allocator_spec.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sim.workload.allocator_spec import AllocatorSpec
from sim.workload.allocators.base import Block, Heap, Locks, write
from sim.workload.allocators.jemalloc import JemallocHeap
from sim.workload.allocators.ptmalloc import PtmallocHeap
from sim.workload.allocators.tcmalloc import TcmallocHeap
from sim.workload.allocators.units import UnitsHeap

__all__ = ["Block", "Heap", "Locks", "make_heap", "write"]

_MAKERS: Mapping[str, Callable[[Any, Locks, int], Heap]] = {
    "ptmalloc": PtmallocHeap,
    "tcmalloc": TcmallocHeap,
    "jemalloc": JemallocHeap,
    "units": UnitsHeap,
}


def make_heap(spec: AllocatorSpec, locks: Locks, cpus: int) -> Heap:
    """The heap of one process on *cpus* cpus; *locks* makes its mutexes."""
    return _MAKERS[spec.kind](spec, locks, cpus)
