"""CortenMM's frames from an allocator that is not its own: `page_allocator` of the design's file.

CortenMM gives frames back in places that cannot wait: at the end of a sweep, in a callback of RCU. They lie
in the cpu's backlog until the end of its next transaction that removes something, or until it next takes a
frame; there the allocator's steps are done, one frame after the other.

    free      metadata | backlog, in no time
    settle    for each frame of the cpu's backlog: the allocator's put
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.designs.cortenmm.frame_alloc import FrameAllocator
from sim.engine import Steps
from sim.hardware import Cpu, Machine
from sim.mm import FreeList, NodePolicy, Pool, PooledAllocator
from sim.sync import QueueNodes

if TYPE_CHECKING:
    from sim.designs.cortenmm.spec import CortenSpec, Costs
    from sim.engine.costs import AtClock


class PooledFrames(FrameAllocator):
    """Frames of *pool*, counted and described as CortenMM does."""

    __slots__ = ("_backlog", "_pool")

    def __init__(
        self,
        machine: Machine,
        spec: CortenSpec,
        cost: AtClock[Costs],
        nodes: QueueNodes,
        pool: PooledAllocator,
    ) -> None:
        super().__init__(machine, spec, cost, nodes)
        self._pool = pool
        self._backlog: list[list[int]] = [[] for _ in machine.cpus]
        self.in_use = pool.in_use

    def place(self, policy: NodePolicy) -> None:
        self._policy = policy
        self._pool.policy = policy

    def allocate(self, cpu: Cpu) -> Steps[int]:
        yield from self.settle(cpu)
        return (yield from self._pool.allocate(cpu))

    def take(self, cpu: Cpu, count: int) -> list[int]:
        taken = self._pool.take(cpu, count)
        for frame in taken:
            self.node(cpu, frame)
        return taken

    def take_run(self, cpu: Cpu, order: int) -> range | None:
        frames = self._pool.take_run(cpu, order)
        if frames is not None:
            self.frames.touch(frames, cpu.node)
        return frames

    def _keep(self, cpu: Cpu, frame: int) -> None:
        self._backlog[cpu.id].append(frame)

    def _keep_run(self, cpu: Cpu, frames: range) -> None:
        self._backlog[cpu.id] += frames

    def settle(self, cpu: Cpu) -> Steps[None]:
        backlog = self._backlog[cpu.id]
        while backlog:
            yield from self._pool.put_free(cpu, backlog.pop())

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        return self._pool.buddies()

    def free_lists(self) -> Iterator[FreeList]:
        """The allocator's, and each cpu's backlog."""
        yield from self._pool.free_lists()
        for cpu in self._machine.cpus:
            yield FreeList(f"the backlog of {cpu}", range(self._total), 0, self._backlog[cpu.id])

    def contradictions(self) -> Iterator[str]:
        return self._pool.contradictions()
