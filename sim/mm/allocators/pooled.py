"""Allocators that keep the frames of each node that the kernel sees in a part of their own.

    take    the part of the policy's node | it is dry: the next one of the zone list | all are: out of memory
    free    the part that the frame is of, whoever gives it back

What a part is differs: LLFree's trees, a list, a buddy. This module has what they have in common: which part
is asked, who owns a frame, and what is done in no time before anything is measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm.allocators.base import Allocator
from sim.mm.frame_table import FreeList, Pool
from sim.mm.frames import Buddy, FrameMap, OutOfMemory, Room, out_of_memory
from sim.mm.policy import FirstTouch, NodePolicy
from sim.mm.zonelists import distances, zonelists
from sim.quantities import PAGE_BYTES

ALLOCATE: Final = Activity("allocate")
NONE: Final = -1
"""No block."""


class Part(ABC):
    """The frames of one node. A block that was given back and is not in use is a broken protocol."""

    __slots__ = ("memory", "name")

    def __init__(self, name: str, memory: range) -> None:
        self.name = name
        self.memory = memory

    @property
    @abstractmethod
    def free_frames(self) -> int:
        """How many frames are free, wherever the part keeps them."""

    @abstractmethod
    def get(self, cpu: Cpu, order: int) -> Steps[int]:
        """Value: a block of 2**order frames, or `NONE`."""

    @abstractmethod
    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        """*cpu* gives a block back."""

    @abstractmethod
    def get_now(self, cpu: Cpu, order: int) -> int:
        """`get` in no time."""

    @abstractmethod
    def put_now(self, cpu: Cpu, frame: int, order: int) -> None:
        """`put` in no time."""

    def get_many(self, cpu: Cpu, frames: int) -> list[int]:
        """Up to so many single frames, in no time."""
        found: list[int] = []
        while len(found) < frames:
            frame = self.get_now(cpu, 0)
            if frame == NONE:
                break
            found.append(frame)
        return found

    def get_run(self, cpu: Cpu, order: int) -> int:
        """2**order single frames side by side in no time: the first, or `NONE`."""
        return NONE

    def boot(self, cpu: Cpu, level: float) -> None:
        """What the part keeps for *cpu* is at *level*, from 0 to 1, of what it may be."""
        return

    @abstractmethod
    def pool(self) -> Pool:
        """What is free, as a buddy would keep it."""

    def free_lists(self) -> Iterable[FreeList]:
        """What is free and not in `pool`."""
        return ()

    def contradictions(self) -> Iterable[str]:
        """What does not fit together."""
        return ()


class PooledAllocator(Allocator):
    """Frames of one machine, in parts."""

    __slots__ = ("_frames", "_map", "_orders", "parts")

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        topology = machine.spec.topology
        nodes = topology.numa_nodes
        self._frames = machine.spec.memory.size_per_socket * topology.sockets // nodes // PAGE_BYTES
        self._orders = zonelists(distances(machine.spec, nodes))
        self._map = FrameMap(machine.spec)
        self.policy: NodePolicy = FirstTouch(topology)
        self.parts: list[Part] = [
            self.make_part(
                machine,
                node,
                range(node * self._frames, (node + 1) * self._frames),
                node * topology.sockets // nodes,
            )
            for node in range(nodes)
        ]

    @abstractmethod
    def make_part(self, machine: Machine, node: int, memory: range, home: int) -> Part:
        """The part of *node*, whose memory is that of socket *home*."""

    @property
    def total(self) -> int:
        """Frames of the machine."""
        return self._frames * len(self.parts)

    # -- taking and giving back -----------------------------------------------------------------------------

    def allocate(self, cpu: Cpu, order: int = 0) -> Steps[int]:
        for node in self._allowed(cpu):
            frame = yield from self.parts[node].get(cpu, order)
            if frame != NONE:
                self.in_use.add(frame, order)
                if cpu.heard:
                    cpu.probe.frame_allocated(cpu, frame, order)
                return frame
        raise self._exhausted(cpu, order)

    def free_unref(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        if cpu.heard:
            cpu.probe.frame_freed(cpu, frame, order)
        yield from self.parts[frame // self._frames].put(cpu, frame, order)

    def put_free(self, cpu: Cpu, frame: int) -> Steps[None]:
        """*cpu* gives a frame back that nobody has and of which everybody has been told."""
        return self.parts[frame // self._frames].put(cpu, frame, 0)

    def give_back_now(self, cpu: Cpu, frame: int, order: int = 0) -> None:
        """`free` in no time, while no thread runs."""
        if self.in_use.put(frame, order):
            if cpu.heard:
                cpu.probe.frame_freed(cpu, frame, order)
            self.parts[frame // self._frames].put_now(cpu, frame, order)

    def node(self, cpu: Cpu, frame: int) -> int:
        return self._map.node(frame, cpu.node)

    def _allowed(self, cpu: Cpu) -> Sequence[int]:
        """The nodes that the next block may come from, in order."""
        first = self.policy.node(cpu)
        return (first,) if self.policy.strict else self._orders[first]

    def _exhausted(self, cpu: Cpu, order: int) -> OutOfMemory:
        allowed = self._allowed(cpu)
        rooms = [Room(f"node {node}", self._frames, self.parts[node].free_frames) for node in allowed]
        bound = f"memory is bound to node {allowed[0]}" if self.policy.strict else ""
        return out_of_memory(cpu, order, rooms, bound)

    # -- in no time -----------------------------------------------------------------------------------------

    def boot(self, cpu: Cpu, frames: int, draw: Callable[[], float]) -> list[int]:
        part = self.parts[self.policy.node(cpu)]
        taken = part.get_many(cpu, frames)
        for frame in taken:
            self.in_use.add(frame)
        part.boot(cpu, draw())
        return taken

    def take(self, cpu: Cpu, frames: int) -> list[int]:
        taken: list[int] = []
        while len(taken) < frames:
            for node in self._allowed(cpu):
                found = self.parts[node].get_many(cpu, frames - len(taken) if self.policy.steady else 1)
                taken += found
                if found:
                    break
            else:
                for frame in taken:
                    self.parts[frame // self._frames].put_now(cpu, frame, 0)
                raise self._exhausted(cpu, 0)
        for frame in taken:
            self.in_use.add(frame)
        return taken

    def reserve(self, cpu: Cpu, order: int) -> int:
        frame = self.parts[self.policy.node(cpu)].get_now(cpu, order)
        if frame == NONE:
            raise self._exhausted(cpu, order)
        self.in_use.add(frame, order)
        return frame

    def take_run(self, cpu: Cpu, order: int) -> range | None:
        if not self.policy.steady:
            return None
        for node in self._allowed(cpu):
            part = self.parts[node]
            first = part.get_run(cpu, order)
            if first != NONE:
                frames = range(first, first + (1 << order))
                self.in_use.add_run(frames)
                self._map.touch(frames, cpu.node)
                return frames
            if part.free_frames:
                return None
        return None

    # -- the end state --------------------------------------------------------------------------------------

    def buddies(self) -> Iterator[Pool]:
        for part in self.parts:
            yield part.pool()

    def free_lists(self) -> Iterator[FreeList]:
        for part in self.parts:
            yield from part.free_lists()

    def contradictions(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.contradictions()


def whole_blocks(memory: range) -> range:
    """What a buddy makes of *memory*: blocks of the largest order, nothing of what is left at its ends."""
    return Buddy(memory.start, len(memory)).fresh
