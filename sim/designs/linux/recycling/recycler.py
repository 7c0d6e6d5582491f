"""Pages that go round in one process: unmapped without a flush, and given to the same process again.

    munmap   own TLB; each page: whose it was | free, as ever                    nobody is interrupted
    fault    a page of one's own: no flush         a page of another process, or one for a page table or an
                                                   object of the kernel: all of who had it is flushed first
    mmap     below all addresses that were unmapped so; at one of them: all is flushed first

What other threads may still translate is a page of their own process. So nobody else sees it, and who touches
memory that it has unmapped finds what the process keeps in that page now, where it would have been killed.
The same address must not show two pages (the ABA problem): it is mapped again only after a flush. Tables of
addresses that have been unmapped so stay until then, too.

A page that somebody else maps, memory of files and shared memory are flushed as ever; so is what
MADV_DONTNEED gives back, whose addresses stay mapped, and all where another gather is open.

Source: Schimmelpfennig, Brinkmann, Asadi, Salkhordeh, Skip TLB flushes for reused pages within mmap's, arXiv
2409.10946, of which the abstract and the beginning were read: recycling within a process, the flush when a
page leaves it, and care for the ABA problem. There mmap asks for it, above all for files; here it is for all
anonymous memory, and what is not said there is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sim.designs.linux.addresses import FIRST_PAGE
from sim.designs.linux.page_alloc import PageAllocator
from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.mm import PAGE_TABLE, PAGES_PER_ENTRY, flush_batch

if TYPE_CHECKING:
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.recycling_spec import RecyclingSpec
    from sim.hardware import Cpu


class RecycledFrames:
    """What struct pages say: *owner* has the process whose TLBs may show a frame, and since which round of
    its flushes."""

    __slots__ = ("addresses", "check", "mark", "owner")

    def __init__(self, spec: RecyclingSpec, clock: int) -> None:
        cost = at_clock(spec, clock)
        self.addresses = spec.addresses
        self.mark = cost.mark
        self.check = cost.check
        self.owner: dict[int, tuple[Recycler, int]] = {}

    def given_away(self, cpu: Cpu, frame: int, order: int, to: object) -> Steps[None]:
        """A block is about to be used, by *to* for memory of its process or by anybody for anything else."""
        cpu.work(self.check, PAGE_TABLE)
        for each in range(frame, frame + (1 << order)):
            its = self.owner.get(each)
            if its is not None and its[0] is not to:
                yield from its[0].flush_all(cpu)

    def given_at_once(self, frames: Sequence[int]) -> None:
        """The same of *frames*, before anything is measured: it takes no time."""
        for frame in frames:
            its = self.owner.get(frame)
            if its is not None:
                its[0].settle()


class Recycler:
    """The part of one process: *_ranges* are the addresses that were unmapped without a flush, each with its
    round, and *_unflushed* how many pages they are."""

    __slots__ = ("_frames", "_line", "_mm", "_ranges", "_round", "_unflushed")

    def __init__(self, mm: LinuxMm, frames: RecycledFrames, cpu: Cpu) -> None:
        self._mm = mm
        self._frames = frames
        self._line = mm.machine.line("mm.recycled", cpu.socket, owner=cpu.id)
        self._ranges: list[tuple[int, int, int]] = []
        self._round = 0
        self._unflushed = 0

    def keep(self, cpu: Cpu, start: int, end: int, frames: Sequence[int | range]) -> Steps[None]:
        """[*start*, *end*) is unmapped, and *frames*, which lay there, are not flushed."""
        yield from self._line.write(cpu, PAGE_TABLE)
        owner, mark, mine = self._frames.owner, self._frames.mark, (self, self._round)
        for each in frames:
            for frame in each if isinstance(each, range) else (each,):
                cpu.work(mark, PAGE_TABLE)
                owner[frame] = mine
        self._ranges.append((start, end, self._round))
        self._unflushed += end - start

    def may_keep(self, frames: Sequence[int | range]) -> bool:
        """Whether nobody else has any of *frames*, so that they are free now or soon."""
        in_use = self._mm.pages.in_use
        return all(
            in_use.owners(frame) == 1 and in_use.head(frame) not in in_use.orders
            for each in frames
            for frame in (each if isinstance(each, range) else (each,))
        )

    def allocate(self, cpu: Cpu) -> Steps[int]:
        """A page for memory of the process. Raises `OutOfMemory`."""
        pages = self._mm.pages
        assert isinstance(pages, PageAllocator)
        return pages.allocate_for(cpu, self)

    @property
    def is_full(self) -> bool:
        """Whether so many addresses wait that all are to be flushed."""
        return self._unflushed >= self._frames.addresses

    @property
    def low(self) -> int | None:
        """The lowest address that was unmapped without a flush."""
        return min((start for start, _, _ in self._ranges), default=None)

    def find_room(self, cpu: Cpu, pages: int) -> Steps[int | None]:
        """Where *pages* pages fit that are anywhere: below what is not to be mapped again."""
        mm = self._mm
        yield from self._line.read(cpu, PAGE_TABLE)
        low = self.low
        if low is not None:
            found = yield from mm.tree.empty_area_rev(cpu, pages, FIRST_PAGE, low)
            if found is not None:
                return found
            yield from self.flush_all(cpu)
        return (yield from mm.locks.find_room(cpu, pages))

    def map_again(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """[*start*, *end*) is about to be mapped."""
        if any(start < high and low < end for low, high, _ in self._ranges):
            yield from self.flush_all(cpu)

    def flush_all(self, cpu: Cpu) -> Steps[None]:
        """No TLB shows anything any more that was unmapped before."""
        last, tlb = self.begin_flush(), self._mm.tlb
        yield from tlb.put_off(cpu)
        yield from flush_batch(self._mm.machine, cpu, [tlb])
        self.end_flush(last)

    def begin_flush(self) -> int:
        """Everything is about to be flushed. Value: for `end_flush`."""
        self._round += 1
        return self._round - 1

    def settle(self) -> None:
        """The same in no time."""
        if self._ranges:
            for cpu in self._mm.machine.cpus:
                asid = self._mm.asid_left_on(cpu)
                if asid is not None:
                    cpu.tlb.flush(asid)
            self.end_flush(self._round)

    def end_flush(self, last: int) -> None:
        """All that was unmapped up to the round *last* has been flushed."""
        owner = self._frames.owner
        for frame in [each for each, (its, since) in owner.items() if its is self and since <= last]:
            del owner[frame]
        self._ranges = [each for each in self._ranges if each[2] > last]
        self._unflushed = sum(end - start for start, end, _ in self._ranges)

    def holes(self) -> Iterator[tuple[int, int, int, int]]:
        """Where nothing is mapped between the unflushed addresses; each part with the hole it lies in."""
        if not self._ranges:
            return
        tree, top = self._mm.tree, PAGES_PER_ENTRY[self._mm.root.level + 1]
        at, end = min(each[0] for each in self._ranges), max(each[1] for each in self._ranges)
        mapped = [(vma.start, vma.end) for vma in tree.overlapping(at, end)]
        for start, stop in [*mapped, (end, end)]:
            if at < start:
                floor, ceiling = tree.hole(at, start, top)
                yield at, start, floor, ceiling
            at = stop

    def contradictions(self, present: Iterable[int]) -> Iterator[str]:
        """A page that TLBs may show is free or, among the *present* frames, one of the process."""
        memory, own = self._mm.pages.in_use, set(present)
        own.update(each.frame for each in self._mm.lru.references())
        for frame, (its, _) in self._frames.owner.items():
            if its is self and frame not in own and memory.owners(frame):
                yield f"frame {frame} is somebody else's, and TLBs of the process that had it may show it"

    def may_show(self, page: int, frame: int | None) -> bool:
        """Whether a TLB may have *page* at *frame* (None: the page of zeros), which the table has not."""
        if not any(start <= page < end for start, end, _ in self._ranges):
            return False
        if self._mm.tree.peek(page) is not None:
            return False
        return frame is None or self._frames.owner.get(frame, (None, 0))[0] is self
