"""What a page allocator is to those who use it: faults, page tables, benches, the LRU, and checks.

It knows blocks of frames, cpus and nodes, and nothing of what the frames are for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm.frame_table import PhysicalMemory
from sim.mm.policy import NodePolicy


class Allocator(PhysicalMemory):
    """Frames of one machine. A block is 2**order frames and named by its first one."""

    __slots__ = ("policy",)

    policy: NodePolicy
    """From which node the next block comes, as the kernel sees nodes."""

    @abstractmethod
    def allocate(self, cpu: Cpu, order: int = 0) -> Steps[int]:
        """Value: a block, whose one owner is the caller.

        Raises `OutOfMemory` where no node that *policy* allows has one.
        """

    def free(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        """__free_pages: *cpu* gives up one reference to a block; it is free if that was the last."""
        if self.in_use.put(frame, order):
            yield from self.free_unref(cpu, frame, order)

    @abstractmethod
    def free_unref(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        """free_unref_page: *cpu* gives a block back that has no owner any more, whoever took it."""

    def free_run(self, cpu: Cpu, frames: range) -> Steps[None]:
        """`free_unref` of each of *frames*, which are single frames of one node."""
        for frame in frames:
            yield from self.free_unref(cpu, frame)

    @abstractmethod
    def take_run(self, cpu: Cpu, order: int) -> range | None:
        """2**order single frames side by side for *cpu*, in no time: `take`, where they come from one node.

        None where the next single frames would not be so many in a row.
        """

    @abstractmethod
    def take(self, cpu: Cpu, frames: int) -> list[int]:
        """So many single frames for *cpu*, in no time: what a workload has before anything is measured.

        Raises `OutOfMemory` where no node that *policy* allows has them.
        """

    @abstractmethod
    def node(self, cpu: Cpu, frame: int) -> int:
        """The node of the hardware that *frame* lies on; *cpu* touches it."""

    @abstractmethod
    def reserve(self, cpu: Cpu, order: int) -> int:
        """Before anything runs: a block of *cpu*'s node, whose one owner is the caller. Takes no time.

        Raises `OutOfMemory` where that node has none.
        """

    @abstractmethod
    def boot(self, cpu: Cpu, frames: int, draw: Callable[[], float]) -> list[int]:
        """Before anything runs: give *frames* single frames away for *cpu*, and come to a state of every day.

        What the allocator keeps for the cpu is then at some level that *draw* chooses: otherwise all cpus
        would run out of it at the same request, which no real run does. Takes no time.
        """
