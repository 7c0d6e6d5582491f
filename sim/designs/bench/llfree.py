"""LLFree's page allocator, as accesses to cache lines.

Each cpu owns a reserved tree and takes pages from it with atomics on lines that nobody else writes. Only
taking a new tree touches the array that all cpus share. Frees go to the tree that the page came from, which
in a bench that frees what it took is the cpu's own.
"""

from __future__ import annotations

from sim.designs.bench.spec import LlfreeSpec
from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.engine.units import PAGE_BYTES
from sim.hardware import Cpu, Machine
from sim.mm import Buddy, Room, out_of_memory

ALLOCATE = "allocate"
HUGE_ORDER = 9


class Llfree:
    """One allocator over the memory of a machine."""

    def __init__(self, machine: Machine, spec: LlfreeSpec) -> None:
        topology = machine.spec.topology
        self._cost = at_clock(spec, machine.spec.clock)
        self._frames = machine.spec.memory.size_per_socket * topology.sockets // PAGE_BYTES
        self._buddy = Buddy(0, self._frames)
        self._trees = machine.line("tree array")
        self._left = {cpu.id: 0 for cpu in machine.cpus}

    def allocate(self, cpu: Cpu, order: int) -> Steps[int]:
        """Value: the block's first frame. Raises `OutOfMemory`."""
        if not self._buddy.has(order):
            raise out_of_memory(cpu, order, [Room("the machine", self._frames, self._buddy.free_frames)])
        pages = 1 << order
        if self._left[cpu.id] < pages:
            cpu.work(self._cost.reserve, ALLOCATE)
            yield from self._trees.write(cpu, ALLOCATE)
            self._left[cpu.id] = self._cost.tree_pages
        self._left[cpu.id] -= pages
        cpu.work(self._cost.huge_get if order >= HUGE_ORDER else self._cost.get, ALLOCATE)
        frame = self._buddy.allocate(order)
        cpu.probe.frame_allocated(cpu, frame, order)
        return frame

    def free(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        cpu.work(self._cost.huge_put if order >= HUGE_ORDER else self._cost.put, ALLOCATE)
        self._left[cpu.id] += 1 << order
        cpu.probe.frame_freed(cpu, frame, order)
        self._buddy.free(frame, order)
        return
        yield
