"""The allocator that Metis brings with it (lib/umalloc.c of the copy in sv6 and in the artifact of
CortenMM).

Each thread has a list of free blocks for each power of two, in units of 16 bytes. Where the list of a
request has no block that is long enough, a whole unit is mapped, 64 KiB or 8 MiB, and put into that list;
a block is cut from the end of the first one that suffices. Nothing is ever given back to the kernel, and
threads share nothing. So each size of block has units of its own, and the last one of each stays partly
unused.
"""

from __future__ import annotations

from bisect import insort
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.workload.allocator_spec import Units
from sim.workload.allocators.base import Block, Heap, Locks, map_memory, up, write

if TYPE_CHECKING:
    from sim.workload.thread import Worker

_HEADER: Final = 16


class UnitsHeap(Heap):
    """The free lists of one process."""

    def __init__(self, spec: Units, locks: Locks, cpus: int) -> None:
        super().__init__()
        self._size = spec.size
        self._unused = int(spec.size * (1 - spec.used))
        self._staggered = spec.staggered
        self._lists: defaultdict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        """Thread and power of two -> free (start, end), by address."""
        self._begun: defaultdict[int, set[int]] = defaultdict(set)
        """Thread -> the lists that have had a unit."""

    def malloc(self, worker: Worker, size: int) -> Steps[Block]:
        need = _HEADER + up(size, _HEADER)
        kind = (need // _HEADER).bit_length()
        blocks = self._lists[worker.number, kind]
        place = next((number for number, (start, end) in enumerate(blocks) if end - start >= need), None)
        if place is None:
            length = max(need, self._size)
            mapped = yield from map_memory(worker, length)
            yield from write(worker, mapped, _HEADER)
            unit = mapped + min(self._unused, length - need), mapped + length
            if self._staggered and kind not in self._begun[worker.number]:
                part = worker.stream("first unit").random()
                unit = unit[0], unit[1] - int(part * (unit[1] - unit[0] - need)) // need * need
            self._begun[worker.number].add(kind)
            insort(blocks, unit)
            place = blocks.index(unit)
        start, end = blocks[place]
        if end - start == need:
            del blocks[place]
        else:
            blocks[place] = start, end - need
        yield from write(worker, end - need, _HEADER)
        return Block(end - need + _HEADER, need - _HEADER, kind)

    def free(self, worker: Worker, block: Block) -> Steps[None]:
        """Into the list of the thread that frees it, joined with its neighbours there."""
        start, end = block.start - _HEADER, block.start + block.size
        blocks = self._lists[worker.number, ((end - start) // _HEADER).bit_length()]
        for other in [other for other in blocks if other[1] == start or other[0] == end]:
            blocks.remove(other)
            start, end = min(start, other[0]), max(end, other[1])
        insort(blocks, (start, end))
        yield from write(worker, start, _HEADER)
