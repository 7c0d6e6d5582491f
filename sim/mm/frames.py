"""Physical memory: a binary buddy allocator, where each frame lies, and what is said when none is left.

What stands in front of the buddy (per-cpu lists, zone locks, caches) differs between kernels and belongs to
the designs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sim.errors import ModelError
from sim.mm.zonelists import distances, zonelists
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sim.hardware import Cpu, MachineSpec

MAX_ORDER: Final = 10
_PART: Final = 512


class OutOfMemory(ModelError):
    """No free block is large enough."""


class Room(NamedTuple):
    """A part of memory that was asked: what it is called, its frames, and how many of them are free."""

    name: str
    frames: int
    free: int


def out_of_memory(cpu: Cpu, order: int, rooms: Sequence[Room], reason: str = "") -> OutOfMemory:
    """The error of *cpu*, which asked *rooms* in vain for 2**order pages; *reason* says why no others."""
    asked = size_of(1 << order) + (f" in one block of {1 << order} pages" if order else "")
    left = ", ".join(f"{room.name} has {size_of(room.free)} of {size_of(room.frames)} left" for room in rooms)
    return OutOfMemory(f"{cpu!r} asked for {asked}, but {left}" + (f" ({reason})" if reason else ""))


def size_of(frames: int) -> str:
    """Frames as people write a size: `64 MiB`."""
    size = frames * PAGE_BYTES
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >> shift:
            return f"{size / (1 << shift):.4g} {unit}"
    return "0 B"


class Buddy:
    """Binary buddy over frames *first* .. *first + count*, blocks of 2**0 .. 2**MAX_ORDER frames.

    Untouched memory is one run that is cut into blocks as needed. Free blocks are kept last in, first out, as
    Linux's free lists are. Invariants: free blocks are disjoint and aligned to their size; a block whose
    buddy is free is merged. *managed* is how many frames it was made with, whoever has them now.
    """

    __slots__ = ("_end", "_free", "_fresh", "free_frames", "managed")

    def __init__(self, first: int, count: int) -> None:
        block = 1 << MAX_ORDER
        self._fresh = -(-first // block) * block
        self._end = (first + count) // block * block
        self._free: list[dict[int, None]] = [{} for _ in range(MAX_ORDER + 1)]
        self.free_frames = self.managed = max(0, self._end - self._fresh)

    @property
    def fresh(self) -> range:
        """The frames that were never given away."""
        return range(self._fresh, max(self._fresh, self._end))

    def blocks(self, order: int) -> Collection[int]:
        """The free blocks of 2**order frames, by their first frame, but for what is fresh."""
        return self._free[order].keys()

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
                raise OutOfMemory(f"no free block of {1 << order} frames; {self.free_frames} frames are free")
            self._fresh += 1 << MAX_ORDER
        while size > order:
            size -= 1
            self._free[size][frame + (1 << size)] = None
        self.free_frames -= 1 << order
        return frame

    def has(self, order: int) -> bool:
        """Whether a block of 2**order is free."""
        return self._fresh < self._end or any(self._free[order:])

    def take(self, count: int, order: int = 0) -> list[int]:
        """Up to *count* blocks of 2**order: fewer, or none, where there are no more."""
        blocks: list[int] = []
        while count > 0:
            size = next((size for size in range(order, MAX_ORDER + 1) if self._free[size]), None)
            if size is not None:
                frame, _ = self._free[size].popitem()
                end = frame + (1 << size)
            elif self._fresh < self._end:
                whole = min(max(1, count >> (MAX_ORDER - order)), (self._end - self._fresh) >> MAX_ORDER)
                frame, end = self._fresh, self._fresh + (whole << MAX_ORDER)
                self._fresh = end
            else:
                break
            stop = min(end, frame + (count << order))
            found = range(frame, stop, 1 << order)
            blocks += found
            count -= len(found)
            self.free_frames -= stop - frame
            while stop < end:  # what is left of the last block: the halves that were cut off
                size = (stop & -stop).bit_length() - 1
                self._free[size][stop] = None
                stop += 1 << size
        return blocks

    def free_whole(self, blocks: list[int]) -> None:
        """`free` of each of *blocks*, which are of the largest order."""
        self.free_frames += len(blocks) << MAX_ORDER
        self._free[MAX_ORDER].update(dict.fromkeys(blocks))

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

    def free_all(self, frames: list[int]) -> None:
        """Give single frames back, in their order. Those side by side go as the blocks that they come to.

        The free lists are the same as after one frame after the other, and in the same order: of the blocks
        that stay, each is put on its list with its last frame.
        """
        if not frames:
            return
        first, end = frames[0], frames[0] + len(frames)
        if frames != list(range(first, end)):
            for frame in frames:
                self.free(frame)
            return
        while first < end:
            order = min((end - first).bit_length() - 1, MAX_ORDER)
            if first:
                order = min(order, (first & -first).bit_length() - 1)
            self.free(first, order)
            first += 1 << order


class FrameMap:
    """The node of the hardware that each frame lies on.

    On bare metal that is the frame's address: each node's memory follows the one before. In a guest that
    sees fewer nodes than there are, the host places a frame when it is first touched, and the kernel does
    not know. It takes the toucher's node or, when the guest has filled that, the next one of its zone list.
    It never gets a frame back.
    """

    __slots__ = ("_frames_per_node", "_hidden", "_order", "_placed", "_room")

    def __init__(self, spec: MachineSpec) -> None:
        topology = spec.topology
        self._hidden = spec.guest and topology.numa_nodes < topology.nodes
        self._frames_per_node = spec.memory.size_per_socket // topology.nodes_per_socket // PAGE_BYTES
        self._order = zonelists(distances(spec, topology.nodes)) if self._hidden else []
        self._room = [self._frames_per_node] * topology.nodes
        self._placed: dict[int, bytearray] = {}
        """For each 512 frames side by side, each one's node + 1; 0: it was never touched."""

    def node(self, frame: int, toucher: int) -> int:
        """Node of *frame*, which a cpu of node *toucher* touches; the page of zeros came with the kernel."""
        if frame < 0:
            return 0
        if not self._hidden:
            return frame // self._frames_per_node
        part = self._placed.get(frame // _PART)
        if part is None:
            part = self._placed[frame // _PART] = bytearray(_PART)
        node = part[frame % _PART] - 1
        if node < 0:
            node = self._node_with_room(toucher)
            self._room[node] -= 1
            part[frame % _PART] = node + 1
        return node

    def touch(self, frames: range, toucher: int) -> None:
        """A cpu of node *toucher* touches all of *frames*: `node` of each."""
        if not self._hidden:
            return
        start = frames.start
        while start < frames.stop:
            at, part = start % _PART, self._placed.setdefault(start // _PART, bytearray(_PART))
            stop = min(_PART, at + frames.stop - start)
            if any(part[at:stop]):
                for frame in range(start, start + stop - at):
                    self.node(frame, toucher)
            else:
                node = self._node_with_room(toucher)
                stop = min(stop, at + max(1, self._room[node]))
                self._room[node] -= stop - at
                part[at:stop] = bytes([node + 1]) * (stop - at)
            start += stop - at

    def _node_with_room(self, toucher: int) -> int:
        """Where the host puts what is touched next. None has room where a socket's size is no whole number of
        pages."""
        return next((node for node in self._order[toucher] if self._room[node] > 0), toucher)
