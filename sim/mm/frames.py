"""Physical memory: a binary buddy allocator, and where each frame lies.

What stands in front of the buddy (per-cpu lists, zone locks, caches) differs between kernels and belongs to
the designs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine.units import PAGE_BYTES
from sim.errors import ModelError

if TYPE_CHECKING:
    from sim.hardware import MachineSpec

MAX_ORDER = 10


class OutOfMemory(ModelError):
    """No free block is large enough."""


class Buddy:
    """Binary buddy over frames *first* .. *first + count*, blocks of 2**0 .. 2**MAX_ORDER frames.

    Untouched memory is one run that is cut into blocks as needed. Free blocks are kept last in, first out, as
    Linux's free lists are. Invariants: free blocks are disjoint and aligned to their size; a block whose
    buddy is free is merged.
    """

    __slots__ = ("_end", "_free", "_fresh", "free_frames")

    def __init__(self, first: int, count: int) -> None:
        block = 1 << MAX_ORDER
        self._fresh = -(-first // block) * block
        self._end = (first + count) // block * block
        self._free: list[dict[int, None]] = [{} for _ in range(MAX_ORDER + 1)]
        self.free_frames = max(0, self._end - self._fresh)

    def allocate(self, order: int = 0) -> int:
        """First frame of a block of 2**order. Raises `OutOfMemory`."""
        for size in range(order, MAX_ORDER + 1):
            if self._free[size]:
                frame, _ = self._free[size].popitem()
                break
        else:
            size = MAX_ORDER
            frame = self._fresh
            if frame >= self._end:
                raise OutOfMemory(f"no free block of order {order}")
            self._fresh += 1 << MAX_ORDER
        while size > order:
            size -= 1
            self._free[size][frame + (1 << size)] = None
        self.free_frames -= 1 << order
        return frame

    def free(self, frame: int, order: int = 0) -> None:
        """Give a block back and merge it with its buddies."""
        self.free_frames += 1 << order
        while order < MAX_ORDER:
            buddy = frame ^ (1 << order)
            if buddy not in self._free[order]:
                break
            del self._free[order][buddy]
            frame &= ~(1 << order)
            order += 1
        self._free[order][frame] = None


class FrameMap:
    """The node of the hardware that each frame lies on.

    On bare metal that is the frame's address: each node's memory follows the one before. In a guest that sees
    fewer nodes than there are, the host places a frame when it is first touched, on the toucher's node, and
    the kernel does not know.
    """

    __slots__ = ("_frames_per_node", "_hidden", "_placed")

    def __init__(self, spec: MachineSpec) -> None:
        topology = spec.topology
        self._hidden = spec.guest and topology.numa_nodes < topology.nodes
        self._frames_per_node = spec.memory.size_per_socket // topology.nodes_per_socket // PAGE_BYTES
        self._placed: dict[int, int] = {}

    def node(self, frame: int, toucher: int) -> int:
        """Node of *frame*, which a cpu of node *toucher* touches."""
        if self._hidden:
            return self._placed.setdefault(frame, toucher)
        return frame // self._frames_per_node
