"""ptmalloc, the malloc of glibc (malloc/malloc.c and arena.c, 2.35): arenas of heaps.

    arena of a thread   heaps of 64 MiB, reserved without rights and made writable as they grow (grow_heap)
    main arena          the heap of the process, by brk (sysmalloc, systrim)
    large requests      a mapping each, whose size raises the threshold when it is freed (munmap_chunk)

        heap:  | arena | used | free | used | top ........ | writable, given back | no rights ........ |
                                                           ^ size                 ^ mprotect_size

The top shrinks when a free chunk of 64 KiB or more has come to be and the top is `trim_threshold` long:
all but `top_pad` of it goes back with MADV_DONTNEED (heap_trim, shrink_heap), after which it may still be
written. So a heap that breathes is made writable once.

Left out: the caches of small chunks (tcache, fast bins), so requests of up to 1032 bytes cost more calls
here than there, if any. The best fit is taken at once; glibc looks at the chunks freed last first (the
unsorted bin).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.quantities import PAGE_BYTES
from sim.workload.allocator_spec import Ptmalloc
from sim.workload.allocators.base import (
    Block,
    Heap,
    Locks,
    Spans,
    discard,
    make_writable,
    map_memory,
    move_break,
    reserve,
    unmap,
    up,
    write,
)

if TYPE_CHECKING:
    from sim.workload.thread import Worker

_WORD: Final = 8
_ALIGN: Final = 16
_LEAST: Final = 32
"""MINSIZE."""
_CONSOLIDATION: Final = 64 << 10
"""FASTBIN_CONSOLIDATION_THRESHOLD."""
_HEAP_INFO: Final = 48
_ARENA: Final = 2200
"""sizeof(struct malloc_state)."""
_ARENAS_PER_CPU: Final = 8
"""NARENAS_FROM_NCORES of 64 bits."""


class _Area:
    """A heap of an arena: *size* bytes in use from *start* on, *writable* ones."""

    __slots__ = ("size", "start", "writable")

    def __init__(self, start: int, size: int, writable: int) -> None:
        self.start, self.size, self.writable = start, size, writable

    @property
    def end(self) -> int:
        return self.start + self.size


class _Arena:
    """Free chunks, and a *top* behind all that is used; the newest area is the last one."""

    __slots__ = ("areas", "free", "main", "mutex", "top")

    def __init__(self, locks: Locks, name: str, *, main: bool) -> None:
        self.main = main
        self.mutex = locks(name)
        self.free = Spans()
        self.areas: list[_Area] = []
        self.top = 0

    @property
    def room(self) -> int:
        """Length of the top."""
        return self.areas[-1].end - self.top if self.areas else 0


class PtmallocHeap(Heap):
    """The arenas of one process."""

    def __init__(self, spec: Ptmalloc, locks: Locks, cpus: int) -> None:
        super().__init__()
        self._spec = spec
        self._locks = locks
        self._most = _ARENAS_PER_CPU * cpus
        self._arenas: list[_Arena] = []
        self._of: dict[int, _Arena] = {}
        self._aligned: int | None = None
        """Where a heap may well be mapped aligned (aligned_heap_area)."""
        self.mmap_threshold = spec.mmap_threshold
        self.trim_threshold = spec.trim_threshold

    def malloc(self, worker: Worker, size: int) -> Steps[Block]:
        """_int_malloc and, where the arena has no room, sysmalloc."""
        need = max(_LEAST, up(size + _WORD, _ALIGN))
        arena = yield from self._arena(worker)
        yield from arena.mutex.lock(worker.cpu)
        found = arena.free.take(need, _LEAST)
        if found is None and arena.room < need + _LEAST and need >= self.mmap_threshold:
            yield from arena.mutex.unlock(worker.cpu)
            length = up(need + _WORD)
            start = yield from map_memory(worker, length)
            yield from write(worker, start, 2 * _WORD)
            return Block(start + 2 * _WORD, length - 2 * _WORD, None)
        if found is None:
            if arena.room < need + _LEAST:
                yield from self._grow(worker, arena, need)
            found = arena.top, arena.top + need
            arena.top += need
            yield from write(worker, arena.top + _WORD, _WORD)  # the header of what is left
        start, end = found
        yield from write(worker, start + _WORD, _WORD)
        yield from arena.mutex.unlock(worker.cpu)
        return Block(start + 2 * _WORD, end - start - _WORD, arena)

    def free(self, worker: Worker, block: Block) -> Steps[None]:
        """_int_free."""
        start, arena = block.start - 2 * _WORD, block.home
        if arena is None:
            yield from self._unmap(worker, start, block.size + 2 * _WORD)
            return
        assert isinstance(arena, _Arena)
        yield from arena.mutex.lock(worker.cpu)
        yield from self._put(worker, arena, start, start + block.size + _WORD)
        yield from arena.mutex.unlock(worker.cpu)

    def realloc(self, worker: Worker, block: Block, size: int) -> Steps[Block]:
        """_int_realloc: what a chunk is too long by is freed."""
        need, arena = max(_LEAST, up(size + _WORD, _ALIGN)), block.home
        have = block.size + _WORD
        if arena is None or need + _LEAST > have:
            return (yield from super().realloc(worker, block, size))
        assert isinstance(arena, _Arena)
        start = block.start - 2 * _WORD
        yield from arena.mutex.lock(worker.cpu)
        yield from self._put(worker, arena, start + need, start + have)
        yield from arena.mutex.unlock(worker.cpu)
        return Block(block.start, need - _WORD, arena)

    # -- arenas ---------------------------------------------------------------------------------------------

    def _arena(self, worker: Worker) -> Steps[_Arena]:
        """arena_get: a thread has one of its own, while there are not too many."""
        arena = self._of.get(worker.number)
        if arena is not None:
            return arena
        number = len(self._arenas)
        if number >= self._most:
            arena = self._of[worker.number] = self._arenas[worker.number % self._most]
            return arena
        main = self._spec.main_arena and worker.index == 0
        arena = self._of[worker.number] = _Arena(self._locks, f"arena {number}", main=main)
        self._arenas.append(arena)
        if not main:
            area = yield from self._new_heap(worker, _HEAP_INFO + _ARENA + _ALIGN)
            arena.areas.append(area)
            arena.top = up(area.start + _HEAP_INFO + _ARENA, _ALIGN)
            yield from write(worker, area.start, _HEAP_INFO + _ARENA)
        return arena

    def _new_heap(self, worker: Worker, size: int) -> Steps[_Area]:
        """new_heap: a mapping of twice the length, of which the aligned half stays."""
        length, start = self._spec.heap, None
        size = up(min(length, size + self._spec.top_pad))
        hint, self._aligned = self._aligned, None
        if hint is not None:
            start = yield from reserve(worker, length, hint)
        if start is None:
            mapped = yield from reserve(worker, 2 * length)
            assert mapped is not None
            start = up(mapped, length)
            if start > mapped:
                yield from unmap(worker, mapped, start - mapped)
            else:
                self._aligned = start + length
            yield from unmap(worker, start + length, length - (start - mapped))
        yield from make_writable(worker, start, size)
        return _Area(start, size, size)

    def _grow(self, worker: Worker, arena: _Arena, need: int) -> Steps[None]:
        """sysmalloc: let the top be *need* long and a little more."""
        if arena.main:
            yield from self._sbrk(worker, arena, need)
            return
        area, spec = arena.areas[-1], self._spec
        size = area.size + up(need + _LEAST - arena.room)
        if size <= spec.heap:
            if size > area.writable:  # grow_heap
                yield from make_writable(worker, area.start + area.writable, size - area.writable)
                area.writable = size
            area.size = size
            return
        new = yield from self._new_heap(worker, need + _LEAST + _HEAP_INFO)
        old = arena.top, area.end
        arena.areas.append(new)
        arena.top = up(new.start + _HEAP_INFO, _ALIGN)
        yield from write(worker, new.start, _HEAP_INFO)
        if old[1] - old[0] >= 2 * _LEAST:
            arena.free.add(old[0], old[1] - _LEAST)  # the rest fences it off

    def _sbrk(self, worker: Worker, arena: _Arena, need: int) -> Steps[None]:
        if not arena.areas:
            start = yield from move_break(worker, None)
            arena.areas.append(_Area(start, 0, 0))
            arena.top = start
        area = arena.areas[-1]
        end = up(area.end + need + self._spec.top_pad + _LEAST - arena.room)
        area.size = (yield from move_break(worker, end)) - area.start

    def _put(self, worker: Worker, arena: _Arena, start: int, end: int) -> Steps[None]:
        """Make a chunk free, join it with its neighbours or the top, and trim the top."""
        if end == arena.top:
            before = arena.free.ending_at(start)
            arena.top = start if before is None else before
            yield from write(worker, arena.top + _WORD, _WORD)
            length = arena.room
        else:
            first, last = arena.free.add(start, end)
            length = last - first
            yield from write(worker, first + 2 * _WORD, 2 * _WORD)  # its links
        if length >= _CONSOLIDATION:
            yield from self._trim(worker, arena)

    def _trim(self, worker: Worker, arena: _Arena) -> Steps[None]:
        """heap_trim, or systrim in the main arena."""
        while len(arena.areas) > 1 and arena.top == up(arena.areas[-1].start + _HEAP_INFO, _ALIGN):
            area = arena.areas.pop()  # delete_heap
            if self._aligned == area.start + self._spec.heap:
                self._aligned = None
            yield from unmap(worker, area.start, self._spec.heap)
            end = arena.areas[-1].end
            before = arena.free.ending_at(end - _LEAST)
            arena.top = end - _LEAST if before is None else before
        if arena.room < self.trim_threshold:
            return
        area = arena.areas[-1]
        extra = (arena.room - _LEAST - 1 - self._spec.top_pad) // PAGE_BYTES * PAGE_BYTES
        if extra <= 0:
            return
        if arena.main:
            area.size = (yield from move_break(worker, area.end - extra)) - area.start
        else:  # shrink_heap
            area.size -= extra
            yield from discard(worker, area.end, extra)

    def _unmap(self, worker: Worker, start: int, length: int) -> Steps[None]:
        """munmap_chunk, and what __libc_free learns from it."""
        if self._spec.dynamic and self.mmap_threshold < length <= self._spec.most_threshold:
            self.mmap_threshold = length
            self.trim_threshold = 2 * length
        yield from unmap(worker, start, length)
