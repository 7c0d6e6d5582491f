"""What a page allocator is to those who use it: faults, page tables, benches, the LRU, and checks.

It knows blocks of frames, cpus and nodes, and nothing of what the frames are for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm.policy import NodePolicy


class Allocator(Protocol):
    """Frames of one machine. A block is 2**order frames and named by its first one."""

    policy: NodePolicy
    """From which node the next block comes, as the kernel sees nodes."""
    owned: set[int]
    """First frames of the blocks that are given away, for checks."""

    def allocate(self, cpu: Cpu, order: int = 0) -> Steps[int]:
        """Value: a block. Raises `OutOfMemory` where no node that *policy* allows has one."""

    def free(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        """*cpu* gives a block back, whoever took it."""

    def node(self, cpu: Cpu, frame: int) -> int:
        """The node of the hardware that *frame* lies on; *cpu* touches it."""

    def boot(self, cpu: Cpu, frames: int, draw: Callable[[], float]) -> list[int]:
        """Before anything runs: give *frames* single frames away for *cpu*, and come to a state of every day.

        What the allocator keeps for the cpu is then at some level that *draw* chooses: otherwise all cpus
        would run out of it at the same request, which no real run does. Takes no time.
        """
