"""jemalloc (5.3: arena.c, extent.c, pac.c): arenas of extents; what is free decays and is given back.

A thread belongs to one of `arenas_per_cpu` x cpus arenas. An arena maps extents of 2 MiB, each time an
eighth of a power of two longer (`extent_grow_next`), and never unmaps (`opt.retain`). Pages that have
become free are dirty; what has been free for `dirty_decay` is given back with MADV_DONTNEED, which
whoever allocates or frees in the arena sees to. jemalloc gives back along a curve over that time; here
each run of pages goes at its end. Small requests have runs of pages of their own in classes four to a
power of two; thread caches are left out.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.quantities import PAGE_BYTES
from sim.workload.allocator_spec import Jemalloc
from sim.workload.allocators.base import Block, Heap, Locks, Spans, discard, map_memory, up

if TYPE_CHECKING:
    from sim.workload.thread import Worker

_LARGEST_SMALL: Final = 14 << 10
"""SC_SMALL_MAXCLASS."""


class _Arena:
    __slots__ = ("dirty", "free", "grow", "mutex", "slabs")

    def __init__(self, locks: Locks, number: int, grow: int) -> None:
        self.mutex = locks(f"arena {number}")
        self.free = Spans()
        self.grow = grow
        self.dirty: deque[tuple[int, int, int]] = deque()
        """When a range became free, and the range."""
        self.slabs: defaultdict[int, list[int]] = defaultdict(list)
        """Class -> free places."""


class JemallocHeap(Heap):
    """The arenas of one process."""

    def __init__(self, spec: Jemalloc, locks: Locks, cpus: int) -> None:
        super().__init__()
        self._spec = spec
        self._locks = locks
        self._most = spec.arenas_per_cpu * cpus
        self._arenas: dict[int, _Arena] = {}

    def malloc(self, worker: Worker, size: int) -> Steps[Block]:
        number = worker.number % self._most
        arena = self._arenas.get(number)
        if arena is None:
            arena = self._arenas[number] = _Arena(self._locks, number, self._spec.grow)
        yield from arena.mutex.lock(worker.cpu)
        length = class_of(size)
        if length <= _LARGEST_SMALL:
            places = arena.slabs[length]
            if not places:
                run = up(4 * length)
                start = yield from self._pages(worker, arena, run)
                places += range(start, start + run // length * length, length)
            start = places.pop()
        else:
            start = yield from self._pages(worker, arena, length)
        yield from self._decay(worker, arena)
        yield from arena.mutex.unlock(worker.cpu)
        return Block(start, length, arena)

    def free(self, worker: Worker, block: Block) -> Steps[None]:
        arena = block.home
        assert isinstance(arena, _Arena)
        yield from arena.mutex.lock(worker.cpu)
        if block.size <= _LARGEST_SMALL:
            arena.slabs[block.size].append(block.start)
        else:
            arena.free.add(block.start, block.start + block.size)
            arena.dirty.append((worker.cpu.now, block.start, block.start + block.size))
        yield from self._decay(worker, arena)
        yield from arena.mutex.unlock(worker.cpu)

    def _pages(self, worker: Worker, arena: _Arena, size: int) -> Steps[int]:
        found = arena.free.take(size, PAGE_BYTES)
        if found is None:
            while arena.grow < size:
                arena.grow = class_of(arena.grow + 1)
            start = yield from map_memory(worker, arena.grow)
            arena.free.add(start, start + arena.grow)
            arena.grow = class_of(arena.grow + 1)
            found = arena.free.take(size, PAGE_BYTES)
            assert found is not None
        start, end = found
        arena.dirty = deque(
            (since, first, last)
            for since, low, high in arena.dirty
            for first, last in ((low, min(high, start)), (max(low, end), high))
            if first < last
        )
        return start

    def _decay(self, worker: Worker, arena: _Arena) -> Steps[None]:
        """arena_decay_dirty."""
        while arena.dirty and arena.dirty[0][0] + self._spec.dirty_decay <= worker.cpu.now:
            _, start, end = arena.dirty.popleft()
            yield from discard(worker, start, end - start)


def class_of(size: int) -> int:
    """The class of a size: four to a power of two, whole pages where it is no small one."""
    size = max(size, 16)
    apart = max(16, 1 << max(0, (size - 1).bit_length() - 3))
    length = up(size, apart)
    return length if length <= _LARGEST_SMALL else up(length)
