"""RadixVM's frames from an allocator that is not sv6's: `page_allocator` of the design's file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.designs.radixvm.frame_alloc import FrameAllocator
from sim.engine import Steps
from sim.hardware import Cpu, Machine
from sim.mm import FreeList, Pool, PooledAllocator

if TYPE_CHECKING:
    from sim.designs.radixvm.spec import FrameSpec, RadixCosts
    from sim.engine.costs import AtClock


class PooledFrames(FrameAllocator):
    """Frames of *pool*."""

    __slots__ = ("_pool",)

    def __init__(
        self, machine: Machine, spec: FrameSpec, cost: AtClock[RadixCosts], pool: PooledAllocator
    ) -> None:
        super().__init__(machine, spec, cost)
        self._pool = pool
        self.in_use = pool.in_use

    def allocate(self, cpu: Cpu) -> Steps[int]:
        return self._pool.allocate(cpu)

    def free(self, cpu: Cpu, frame: int) -> Steps[None]:
        return self._pool.free(cpu, frame)

    def free_at_once(self, cpu: Cpu, frame: int) -> None:
        self._pool.give_back_now(cpu, frame)

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        return self._pool.buddies()

    def free_lists(self) -> Iterator[FreeList]:
        return self._pool.free_lists()

    def contradictions(self) -> Iterator[str]:
        return self._pool.contradictions()
