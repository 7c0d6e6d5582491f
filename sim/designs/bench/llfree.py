"""LLFree's page allocator, as accesses to cache lines.

Each cpu owns a reserved tree and takes pages from it with atomics on lines that nobody else writes. Only
taking a new tree touches the array that all cpus share. Frees go to the tree that the page came from, which
in a bench that frees what it took is the cpu's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.designs.bench.spec import LlfreeSpec
from sim.engine import Steps
from sim.hardware import Cpu, Machine
from sim.mm import Buddy, PhysicalMemory, Pool, Room, out_of_memory
from sim.quantities import PAGE_BYTES

ALLOCATE = "allocate"
HUGE_ORDER = 9


class Llfree(PhysicalMemory):
    """One allocator over the memory of a machine."""

    def __init__(self, machine: Machine, spec: LlfreeSpec) -> None:
        super().__init__()
        clock, topology = machine.spec.clock, machine.spec.topology
        self._spec = spec
        self._get, self._put = spec.get.at(clock), spec.put.at(clock)
        self._huge_get, self._huge_put = spec.huge_get.at(clock), spec.huge_put.at(clock)
        self._reserve = spec.reserve.at(clock)
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
            cpu.work(self._reserve, ALLOCATE)
            yield from self._trees.write(cpu, ALLOCATE)
            self._left[cpu.id] = self._spec.tree_pages
        self._left[cpu.id] -= pages
        cpu.work(self._huge_get if order >= HUGE_ORDER else self._get, ALLOCATE)
        frame = self._buddy.allocate(order)
        self.in_use.add(frame, order)
        cpu.probe.frame_allocated(cpu, frame, order)
        return frame

    def free(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        """Give up one reference; the block is free if that was the last."""
        if not self.in_use.put(frame, order):
            return
        cpu.work(self._huge_put if order >= HUGE_ORDER else self._put, ALLOCATE)
        self._left[cpu.id] += 1 << order
        cpu.probe.frame_freed(cpu, frame, order)
        self._buddy.free(frame, order)
        return
        yield

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        """The one that stands for all trees."""
        yield Pool("the trees", range(self._frames), self._buddy)
