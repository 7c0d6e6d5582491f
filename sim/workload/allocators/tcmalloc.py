"""tcmalloc of gperftools (2.9.1: page_heap.cc, central_freelist.cc, thread_cache.cc): spans, rarely given
back.

    thread caches     a list for each class of sizes up to 256 KiB
    central lists     one for each class: what no thread has cached; spans are cut up for them
    page heap         spans of pages of 8 KiB; grows by 1 MiB or more, by brk

A thread takes several objects at once from the central list, and gives several back when its cache is
longer than its limit. The page heap gives spans back with MADV_DONTNEED only after 2 GiB have been freed
into it, and then one page for a thousand (`release_rate` 1). Left out: the exact classes (here an eighth
of a power of two apart), how caches take limits from each other, and spans that go from a central list
back to the page heap.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.workload.allocator_spec import Tcmalloc
from sim.workload.allocators.base import Block, Heap, Locks, Mutex, Spans, discard, move_break, up, write

if TYPE_CHECKING:
    from sim.workload.thread import Worker

_PAGE: Final = 8 << 10
_LARGEST: Final = 256 << 10
"""kMaxSize."""
_BATCH: Final = 64 << 10
"""Bytes that move between a thread's cache and the central list at once (SizeMap::NumMoveSize), 2 to 32
objects."""
_DELAY: Final = 1 << 18
"""Pages that are freed before any is given back (kReleaseDelay)."""


class TcmallocHeap(Heap):
    """Thread caches, central lists and page heap of one process."""

    def __init__(self, spec: Tcmalloc, locks: Locks, cpus: int) -> None:
        super().__init__()
        self._spec = spec
        self._locks = locks
        self._page_heap = locks("page heap")
        self._spans = Spans()
        self._end = 0
        self._caches: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        """Thread and class -> what it has cached, the last one first used."""
        self._cached: defaultdict[int, int] = defaultdict(int)
        self._central: defaultdict[int, list[int]] = defaultdict(list)
        self._mutexes: dict[int, Mutex] = {}
        self._until_release = _DELAY

    def malloc(self, worker: Worker, size: int) -> Steps[Block]:
        if size > _LARGEST:
            start = yield from self._span(worker, up(size, _PAGE))
            return Block(start, up(size, _PAGE), None)
        length = class_of(size)
        cache = self._caches[worker.number, length]
        if not cache:
            yield from self._fetch(worker, cache, length)
        else:
            self._cached[worker.number] -= length
        start = cache.pop()
        yield from write(worker, start, 8)  # the link of the list
        return Block(start, length, length)

    def free(self, worker: Worker, block: Block) -> Steps[None]:
        if block.home is None:
            yield from self._give_span(worker, block.start, block.size)
            return
        length = block.size
        cache = self._caches[worker.number, length]
        yield from write(worker, block.start, 8)
        cache.append(block.start)
        self._cached[worker.number] += length
        if self._cached[worker.number] > self._spec.cache:
            moved = min(len(cache), _at_once(length))
            mutex = self._mutex(length)
            yield from mutex.lock(worker.cpu)
            self._central[length] += cache[:moved]
            yield from mutex.unlock(worker.cpu)
            del cache[:moved]
            self._cached[worker.number] -= moved * length

    def _mutex(self, length: int) -> Mutex:
        if length not in self._mutexes:
            self._mutexes[length] = self._locks(f"central list of {length}")
        return self._mutexes[length]

    def _fetch(self, worker: Worker, cache: list[int], length: int) -> Steps[None]:
        """Several objects from the central list, for which a span is cut up if need be."""
        mutex, wanted = self._mutex(length), _at_once(length)
        yield from mutex.lock(worker.cpu)
        central = self._central[length]
        if not central:
            size = up(max(length, length * wanted if length < _PAGE else length), _PAGE)
            start = yield from self._span(worker, size)
            central += range(start, start + size // length * length, length)
        taken = central[-wanted:]
        del central[-wanted:]
        yield from mutex.unlock(worker.cpu)
        cache += taken
        self._cached[worker.number] += (len(taken) - 1) * length

    def _span(self, worker: Worker, size: int) -> Steps[int]:
        yield from self._page_heap.lock(worker.cpu)
        found = self._spans.take(size, _PAGE)
        if found is None:
            grown = up(max(size, self._spec.grow), _PAGE)
            start = up(self._end or (yield from move_break(worker, None)), _PAGE)
            self._end = yield from move_break(worker, start + grown)
            self._spans.add(start, start + grown)
            found = self._spans.take(size, _PAGE)
            assert found is not None
        yield from self._page_heap.unlock(worker.cpu)
        return found[0]

    def _give_span(self, worker: Worker, start: int, size: int) -> Steps[None]:
        """PageHeap::Delete and IncrementalScavenge."""
        yield from self._page_heap.lock(worker.cpu)
        self._spans.add(start, start + size)
        self._until_release -= size // _PAGE
        if self._until_release < 0 and self._spec.release_rate:
            longest = self._spans.largest()
            assert longest is not None
            yield from discard(worker, longest[0], longest[1] - longest[0])
            pages = (longest[1] - longest[0]) // _PAGE
            self._until_release = min(_DELAY, int(1000 / self._spec.release_rate * pages))
        yield from self._page_heap.unlock(worker.cpu)


def class_of(size: int) -> int:
    """The class of a size: an eighth of a power of two apart, as coarse as a page at most."""
    size = max(size, 16)
    return up(size, max(16, min(_PAGE, 1 << (size.bit_length() - 4) if size > 128 else 16)))


def _at_once(length: int) -> int:
    return max(2, min(32, _BATCH // length))
