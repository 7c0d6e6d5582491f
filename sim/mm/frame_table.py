"""Who has which frame: how many owners each frame in use has, and what an allocator says of all the others.

Linux counts owners in the page's descriptor (`page->_refcount`, include/linux/page_ref.h), CortenMM in the
frame's (`ref_count` of ostd's MetaSlot). An owner is a place that holds the frame's number: an entry of a
page table, the table itself, a pool or a batch of the kernel, a free that has been put off, a bench.

    allocated                        another entry maps it     one of them goes       the last one goes
    refcount    1 ------------------- 2 ---------------------- 1 --------------------- back to the allocator
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from sim.errors import ModelError
from sim.mm.frames import Buddy
from sim.mm.runs import Runs

HUGE_ORDER: Final = 9
"""A huge page is a block of 2**9 frames: 2 MiB."""


class FrameTable:
    """The frames in use, by the first frame of each block: *refcount* is how many owners it has.

    *orders* has the blocks of more than one frame. Single frames that were taken in bulk are in *runs*, with
    as many owners each, until one of them gets another number of owners than its neighbours. What is not here
    is free, or on its way to a free list. An entry that maps a frame of a huge page is an owner of all of it.
    """

    __slots__ = ("_sizes", "orders", "refcount", "runs")

    def __init__(self) -> None:
        self.refcount: dict[int, int] = {}
        self.orders: dict[int, int] = {}
        self._sizes: list[int] = [HUGE_ORDER]
        """Orders of blocks whose frames may be mapped one by one."""
        self.runs = Runs()

    def __contains__(self, frame: int) -> bool:
        return frame in self.refcount or (bool(self.runs) and frame in self.runs)

    def __len__(self) -> int:
        return len(self.refcount) + self.runs.total

    def owners(self, frame: int) -> int:
        """How many owners *frame* has; 0: it is free."""
        return self.refcount.get(frame) or self.runs.value(frame) or 0

    def add(self, frame: int, order: int = 0) -> None:
        """Whoever allocated the 2**order frames is their owner. Raises `ModelError` if they have others."""
        if frame in self:
            raise ModelError(f"frame {frame} is given away and has {self.owners(frame)} owners")
        self.refcount[frame] = 1
        if order:
            self.orders[frame] = order

    def add_folio(self, frame: int) -> None:
        """The block that begins with *frame* is a folio: entries may map its frames one by one."""
        if (order := self.orders[frame]) not in self._sizes:
            self._sizes.append(order)

    def head(self, frame: int) -> int:
        """The first frame of the block in which *frame* lies: of a large folio, or itself (page_folio)."""
        if frame in self.refcount or frame < 0:
            return frame
        for order in self._sizes:
            first = frame & -(1 << order)
            if self.orders.get(first) == order:
                return first
        return frame

    def get(self, frame: int, owners: int = 1) -> None:
        """One owner more, or so many (get_page). Raises `ModelError` for a frame that is free."""
        frame = self.head(frame)
        if frame not in self.refcount and not self._single_out(frame):
            raise ModelError(f"frame {frame} gets an owner and is free")
        self.refcount[frame] += owners

    def try_get(self, frame: int) -> bool:
        """One owner more, of a frame that has any (folio_try_get); value: it has."""
        frame = self.head(frame)
        found = frame in self.refcount or self._single_out(frame)
        if found:
            self.refcount[frame] += 1
        return found

    def put(self, frame: int, order: int = 0) -> bool:
        """One owner less (put_page_testzero); value: it was the last, and the block is nobody's now.

        Raises `ModelError` for a frame that is free already, or that is no block of 2**order frames.
        """
        owners = self.refcount.pop(frame, 0)
        if not owners and self._single_out(frame):
            owners = self.refcount.pop(frame)
        if not owners:
            raise ModelError(f"frame {frame} loses an owner and is free")
        if self.orders.get(frame, 0) != order:
            raise ModelError(
                f"frame {frame} is given back as {1 << order} frames, not {1 << self.orders.get(frame, 0)}"
            )
        if owners > 1:
            self.refcount[frame] = owners - 1
            return False
        if order:
            del self.orders[frame]
        return True

    def _single_out(self, frame: int) -> bool:
        """Take *frame* out of its run and count it for itself; value: whether it was in one."""
        for run in self.runs.cut(frame, frame + 1) if self.runs else ():
            self.refcount[frame] = run.value
            return True
        return False

    # -- many single frames at a time ------------------------------------------------------------------------

    def add_run(self, frames: range) -> None:
        """`add` of each of *frames*. Raises `ModelError` if one has other owners."""
        taken = self.runs.within(frames.start, frames.stop)
        if taken or not self.refcount.keys().isdisjoint(frames):
            raise ModelError(
                f"some of frames {frames.start} to {frames.stop - 1} are given away and have owners"
            )
        self.runs.add(frames.start, frames.stop, 1)

    def get_run(self, frames: range) -> None:
        """`get` of each of *frames*."""
        start = frames.start
        for run in [*self.runs.cut(frames.start, frames.stop), None]:
            for frame in range(start, frames.stop if run is None else run.start):
                self.get(frame)
            if run is not None:
                self.runs.add(run.start, run.end, run.value + 1)
                start = run.end

    def put_run(self, frames: range) -> list[range]:
        """`put` of each of *frames*; value: those whose last owner has gone, in order."""
        gone: list[range] = []
        start = frames.start
        for run in [*self.runs.cut(frames.start, frames.stop), None]:
            alone = range(start, frames.stop if run is None else run.start)
            gone += [range(frame, frame + 1) for frame in alone if self.put(frame)]
            if run is None:
                break
            if run.value == 1:
                gone.append(range(run.start, run.end))
            else:
                self.runs.add(run.start, run.end, run.value - 1)
            start = run.end
        return gone


class Reference(NamedTuple):
    """One owner of *frame*: *owner* says what it is, *number* which one of that kind (a page, a cpu).

    With *frames* each of so many from *frame* on has such an owner, one number after the other.
    """

    frame: int
    owner: str
    number: int = 0
    frames: int = 1

    def __str__(self) -> str:
        return f"{self.owner} {self.number:#x}"


class FreeList(NamedTuple):
    """Free blocks of 2**order frames that lie in no buddy, all of them inside *memory*."""

    name: str
    memory: range
    order: int
    blocks: Collection[int]


class Pool(NamedTuple):
    """A buddy whose blocks all lie inside *memory*."""

    name: str
    memory: range
    buddy: Buddy


class PhysicalMemory(ABC):
    """An allocator, and what it answers about all its frames while no thread runs."""

    __slots__ = ("in_use",)

    def __init__(self) -> None:
        self.in_use = FrameTable()

    @abstractmethod
    def buddies(self) -> Iterable[Pool]:
        """The buddies, which together got all the memory that there is."""

    def free_lists(self) -> Iterable[FreeList]:
        """What lies in front of them: per-cpu lists and caches."""
        return ()

    def references(self) -> Iterable[Reference]:
        """The frames that the allocator itself is an owner of."""
        return ()

    def contradictions(self) -> Iterable[str]:
        """What else does not fit together in its own structures."""
        return ()
