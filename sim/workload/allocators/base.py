"""What all allocators of user space have in common: blocks, free spans, and the calls that they make.

Addresses and sizes are bytes. What an allocator computes in user mode is not here: it belongs to the
`compute` steps of the workload. What is here is what its data do to memory: the calls, the pages that its
own headers lie on, and the mutex of each of its arenas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sim.engine import Steps
from sim.mm import NOTHING, READ_WRITE, Brk, Errno, Madvise, Mmap, Mprotect, Munmap, Touch
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.hardware import Cpu
    from sim.workload.thread import Worker


class Mutex(Protocol):
    """What an arena is locked with."""

    lock: Callable[[Cpu], Steps[None]]
    unlock: Callable[[Cpu], Steps[None]]


Locks = Callable[[str], Mutex]
"""Makes a mutex of this name."""


@dataclass(frozen=True, slots=True)
class Block:
    """What a malloc has returned: *size* usable bytes from *start* on. *home* is the arena or cache that it
    came from."""

    start: int
    size: int
    home: object


class Heap(ABC):
    """The allocator of one process."""

    def __init__(self) -> None:
        self.blocks: defaultdict[tuple[str, int | None], deque[Block]] = defaultdict(deque)
        """Name and thread, or None for all threads -> what is allocated, the oldest first."""

    @abstractmethod
    def malloc(self, worker: Worker, size: int) -> Steps[Block]:
        """Allocate *size* bytes."""

    @abstractmethod
    def free(self, worker: Worker, block: Block) -> Steps[None]:
        """Give *block* back, whichever thread has allocated it."""

    def realloc(self, worker: Worker, block: Block, size: int) -> Steps[Block]:
        """Make *block* so long: in place where it is long enough, else by malloc, a copy and free."""
        if size <= block.size:
            return block
        new = yield from self.malloc(worker, size)
        yield from write(worker, new.start, block.size)
        yield from self.free(worker, block)
        return new


class Spans:
    """Free ranges of bytes, of which neighbours are joined; the best fit is the shortest one that suffices,
    at the lowest address."""

    __slots__ = ("_by_size", "_ends", "starts")

    def __init__(self) -> None:
        self.starts: dict[int, int] = {}
        """Where a span begins -> where it ends."""
        self._ends: dict[int, int] = {}
        self._by_size: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> tuple[int, int]:
        """Make a range free. Value: the span that it is a part of now."""
        if start in self._ends:
            start = self._remove(self._ends[start])[0]
        if end in self.starts:
            end = self._remove(end)[1]
        self.starts[start], self._ends[end] = end, start
        insort(self._by_size, (end - start, start))
        return start, end

    def take(self, size: int, least_rest: int) -> tuple[int, int] | None:
        """The beginning of the best fit, and its end; what is left of it stays free, unless it is shorter
        than *least_rest*. None if there is none."""
        place = bisect_left(self._by_size, (size, 0))
        if place == len(self._by_size):
            return None
        start, end = self._remove(self._by_size[place][1])
        if end - start - size >= least_rest:
            self.add(start + size, end)
            end = start + size
        return start, end

    def ending_at(self, end: int) -> int | None:
        """Where the span begins that ends there; it is no longer free."""
        return self._remove(self._ends[end])[0] if end in self._ends else None

    def largest(self) -> tuple[int, int] | None:
        """The longest span, which stays free."""
        if not self._by_size:
            return None
        start = self._by_size[-1][1]
        return start, self.starts[start]

    def _remove(self, start: int) -> tuple[int, int]:
        end = self.starts.pop(start)
        del self._ends[end]
        del self._by_size[bisect_left(self._by_size, (end - start, start))]
        return start, end


# -- calls --------------------------------------------------------------------------------------------------

_SHIFT: Final = PAGE_BYTES.bit_length() - 1


def up(size: int, to: int = PAGE_BYTES) -> int:
    """*size* rounded up to a multiple of *to*."""
    return -(-size // to) * to


def map_memory(worker: Worker, size: int) -> Steps[int]:
    """mmap anywhere, to be read and written. Value: its first byte."""
    page: int = yield from worker.perform(Mmap(up(size) >> _SHIFT))
    return page << _SHIFT


def reserve(worker: Worker, size: int, at: int | None = None) -> Steps[int | None]:
    """mmap(PROT_NONE, MAP_NORESERVE) anywhere, or *at* an address that may be taken: then None."""
    asked = Mmap(
        up(size) >> _SHIFT, None if at is None else at >> _SHIFT, NOTHING, replace=False, reserve=False
    )
    page = yield from worker.perform(asked, may_fail=at is not None)
    return None if page.__class__ is Errno else int(page) << _SHIFT


def unmap(worker: Worker, start: int, size: int) -> Steps[None]:
    """munmap."""
    yield from worker.perform(Munmap(start >> _SHIFT, size >> _SHIFT))


def make_writable(worker: Worker, start: int, size: int) -> Steps[None]:
    """mprotect(PROT_READ | PROT_WRITE)."""
    yield from worker.perform(Mprotect(start >> _SHIFT, size >> _SHIFT, READ_WRITE))


def discard(worker: Worker, start: int, size: int) -> Steps[None]:
    """madvise(MADV_DONTNEED)."""
    yield from worker.perform(Madvise(start >> _SHIFT, size >> _SHIFT, "dontneed"))


def move_break(worker: Worker, to: int | None) -> Steps[int]:
    """brk; None asks where it is. Value: the break."""
    page: int = yield from worker.perform(Brk(0 if to is None else to >> _SHIFT))
    return page << _SHIFT


def write(worker: Worker, start: int, size: int) -> Steps[None]:
    """Write so many bytes: a page fault for each page that is not there."""
    if size > 0:
        pages = range(start >> _SHIFT, (start + size - 1 >> _SHIFT) + 1)
        yield from worker.space.perform(worker.cpu, Touch(pages, True))
