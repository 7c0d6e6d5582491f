"""CortenMM's frame allocator: a cache and a buddy for each cpu over one global buddy.

Source: artifact, osdk/deps/frame-allocator. A cpu's cache is refilled with two thirds of its size from the
cpu's own buddy; that takes a chunk from the global buddy, under a spin lock, when it runs dry. Frames go
back to the cpu that frees them. There is no NUMA awareness.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import ThreadBody
from sim.engine.units import PAGE_BYTES
from sim.hardware import Cpu, Machine
from sim.mm import MAX_ORDER, Buddy, FrameMap
from sim.sync import QueuedSpinLock, QueueNodes

if TYPE_CHECKING:
    from sim.designs.cortenmm.spec import CortenSpec

ALLOCATE = "allocate"
LOCK_FRAMES = "lock: frames"


class FrameAllocator:
    """Frames for data and page tables."""

    def __init__(self, machine: Machine, spec: CortenSpec, nodes: QueueNodes) -> None:
        self._machine = machine
        clock, costs = machine.spec.clock, spec.costs
        self._limits = spec.limits
        self._alloc, self._free = costs.frame_alloc.at(clock), costs.frame_free.at(clock)
        self._refill = costs.frame_refill.at(clock)
        frames = machine.spec.memory.size_per_socket * machine.spec.topology.sockets // PAGE_BYTES
        self._global = Buddy(0, frames)
        self._lock = QueuedSpinLock(nodes, machine.line("global frame allocator"), LOCK_FRAMES)
        self._buddies = [Buddy(0, 0) for _ in machine.cpus]
        self._caches: list[list[int]] = [[] for _ in machine.cpus]
        self.frames = FrameMap(machine.spec)
        self.owned: set[int] = set()

    def allocate(self, cpu: Cpu) -> ThreadBody:
        """Value is a frame."""
        cpu.work(self._alloc, ALLOCATE)
        cache = self._caches[cpu.id]
        if not cache:
            cpu.work(self._refill, ALLOCATE)
            buddy = self._buddies[cpu.id]
            if buddy.free_frames < self._limits.frame_refill:
                yield from self._fetch_chunk(cpu, buddy)
            cache.extend(buddy.allocate() for _ in range(self._limits.frame_refill))
        frame = cache.pop()
        self.owned.add(frame)
        return frame

    def free(self, cpu: Cpu, frame: int) -> None:
        """Back into this cpu's cache; an overflow goes to its buddy."""
        self.owned.remove(frame)
        cpu.work(self._free, ALLOCATE)
        cache = self._caches[cpu.id]
        cache.append(frame)
        if len(cache) > self._limits.frame_cache:
            cpu.work(self._refill, ALLOCATE)
            for _ in range(self._limits.frame_refill + 1):
                self._buddies[cpu.id].free(cache.pop(0))

    def home(self, cpu: Cpu, frame: int) -> int:
        """The socket of *frame*; *cpu* touches it."""
        return self.frames.home(frame, cpu.socket)

    def _fetch_chunk(self, cpu: Cpu, buddy: Buddy) -> ThreadBody:
        """Move a chunk from the global buddy to the cpu's, or what is left of it. Raises `OutOfMemory`."""
        yield from self._lock.acquire(cpu)
        for _ in range(max(1, min(self._limits.frame_chunk, self._global.free_frames) >> MAX_ORDER)):
            buddy.free(self._global.allocate(MAX_ORDER), MAX_ORDER)
        cpu.work(self._refill, ALLOCATE)
        yield from self._lock.release(cpu)
