"""What the index of a process's VMAs is to the operations that search and change it.

A kernel of Linux's kind chooses one kind when it is built. Searches and stores are steps on the calling cpu:
they read and write the lines that the kernel's do. What a search has just brought into the cache can be asked
again in no time (`peek`, `overlapping`, ...). Whoever stores holds mmap_lock for writing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from mypy_extensions import mypyc_attr

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Machine

if TYPE_CHECKING:
    from sim.designs.linux.costs import Costs
    from sim.designs.linux.interval_spec import IntervalSpec
    from sim.designs.linux.rcu import TreeRcu
    from sim.designs.linux.slab import SlabCaches
    from sim.designs.linux.vma import Vma
    from sim.designs.linux.vma_locks import VmaLocks
    from sim.engine.costs import AtClock

Preallocation = Literal["worst", "estimate", "store"]
"""For the worst store of all (until 6.5), by an estimate for this one (6.6 to 6.11), or as its kind needs."""


class IndexSite:
    """What the index of one process is made of."""

    __slots__ = (
        "cost",
        "interval",
        "locks",
        "machine",
        "preallocation",
        "rcu",
        "root_line",
        "slabs",
    )

    def __init__(
        self,
        machine: Machine,
        cost: AtClock[Costs],
        root_line: CacheLine,
        rcu: TreeRcu,
        slabs: SlabCaches,
        preallocation: Preallocation,
        interval: IntervalSpec | None = None,
        locks: VmaLocks | None = None,
    ) -> None:
        self.machine = machine
        self.cost = cost
        self.root_line = root_line
        """The line of mm_struct with the root, mm_mt."""
        self.rcu = rcu
        self.slabs = slabs
        self.preallocation = preallocation
        """How many nodes are allocated before a store that must not fail."""
        self.interval = interval
        self.locks = locks
        """What an interval skip list is like, and the locks that are its nodes."""


@mypyc_attr(allow_interpreted_subclasses=True)
class VmaIndex(ABC):
    """The VMAs of one process by address: what all kinds have is one sorted list of them."""

    __slots__ = ("_cost", "_machine", "_starts", "_vmas", "root_line")

    has_nodes: ClassVar[bool] = False
    """Whether its nodes are objects of their own; else the VMAs are the nodes."""

    rcu_safe: ClassVar[bool]
    """Whether it may be searched without mmap_lock, as a fault does that looks for its VMA's lock."""

    def __init__(self, site: IndexSite, cpu: Cpu) -> None:
        """An empty one; its lines are in the cache of *cpu*."""
        self.root_line = site.root_line
        self._machine = site.machine
        self._cost = site.cost
        self._starts: list[int] = []
        self._vmas: list[Vma] = []

    def __iter__(self) -> Iterator[Vma]:
        return iter(self._vmas)

    def nodes(self) -> int:
        """Objects of slabs that its nodes lie in."""
        return 0

    def lines(self) -> Iterator[CacheLine]:
        """The lines that searches read, where a bench asks for those of nodes."""
        yield self.root_line

    # -- searching ------------------------------------------------------------------------------------------

    @abstractmethod
    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """find_vma: value is the VMA that contains *page*, or None."""

    @abstractmethod
    def find_place(self, cpu: Cpu, page: int) -> Steps[None]:
        """Go to where a VMA from *page* on belongs (find_vma_links, vma_iter_prealloc)."""

    @abstractmethod
    def empty_area_rev(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        """unmapped_area_topdown: the last *pages* pages of the highest gap between *floor* and *top* that has
        room for them; value: the first of them, None if there is no such gap."""

    def empty_area(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        """unmapped_area: the beginning of the lowest gap between *floor* and *top* that has room for *pages*
        pages; value: its first page, None if there is no such gap.

        The kernel goes down by the widest gap below each node. What it reads is taken to be the way to what
        it finds.
        """
        at = floor
        for vma in self._vmas[max(0, bisect_right(self._starts, floor) - 1) :]:
            if vma.start - at >= pages:
                break
            at = max(at, vma.end)
        found = at if top - at >= pages else None
        yield from self.find_place(cpu, floor if found is None else found)
        return found

    def peek(self, page: int) -> Vma | None:
        """`find` where a search has just been."""
        index = bisect_right(self._starts, page) - 1
        if index >= 0 and self._vmas[index].end > page:
            return self._vmas[index]
        return None

    def neighbours(self, start: int, end: int) -> tuple[Vma | None, Vma | None]:
        """The VMAs that end at *start* and that begin at *end*."""
        before, after = self.peek(start - 1), self.peek(end)
        return before, after if after is not None and after.start == end else None

    def around(self, page: int) -> tuple[Vma | None, Vma | None]:
        """The last VMA that begins before *page* and the first one that begins at it or behind."""
        index = bisect_right(self._starts, page - 1)
        below, above = self._vmas[max(0, index - 1) : index], self._vmas[index : index + 1]
        return (below[0] if below else None), (above[0] if above else None)

    def beside(self, page: int) -> tuple[Vma | None, Vma | None]:
        """Those of `around` that who changes something at *page* finds beside it."""
        return self.around(page)

    def overlapping(self, start: int, end: int) -> list[Vma]:
        """VMAs that share a page with [start, end), in order."""
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_right(self._starts, end - 1)
        return [vma for vma in self._vmas[first:last] if vma.end > start]

    def hole(self, start: int, end: int, top: int) -> tuple[int, int]:
        """The pages from the end of the mapping before [start, end), which is mapped no more, to the next
        one, or to *top*: as far as no table of theirs is anybody else's."""
        before, after = self.beside(start)
        return (before.end if before else 0), (after.start if after and after.start >= end else top)

    # -- storing --------------------------------------------------------------------------------------------

    @abstractmethod
    def insert(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """Store a new VMA where nothing is, after `find_place`."""

    @abstractmethod
    def remove(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """Store a gap over *vma*."""

    @abstractmethod
    def extend(self, cpu: Cpu, vma: Vma, start: int, end: int, *absorbed: Vma) -> Steps[None]:
        """Store *vma* with other ends; it may take the place of neighbours that it has *absorbed*."""

    @abstractmethod
    def move_boundary(self, cpu: Cpu, lower: Vma, upper: Vma, at: int) -> Steps[None]:
        """Store one of two neighbours over a part of the other: *upper* begins at *at* from now on."""

    @abstractmethod
    def split(self, cpu: Cpu, vma: Vma, upper: Vma) -> Steps[None]:
        """Store *upper* over the end of *vma*, which now ends where *upper* starts."""

    def duplicate(self, cpu: Cpu, other: VmaIndex) -> Steps[None]:
        """fork copies the index of the parent as a whole (`fork_tree: duplicate`); `replace` follows for each
        VMA, in order. A kind that cannot do that stores each on its own."""
        return
        yield

    def replace(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """After `duplicate`: *vma* takes the place of the one that it is a copy of."""
        return self.append(cpu, vma)

    def expect(self, cpu: Cpu, count: int) -> Steps[None]:
        """fork is about to `append` so many VMAs."""
        return
        yield

    def settle(self, cpu: Cpu) -> Steps[None]:
        """It has appended them all."""
        return
        yield

    def append(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """fork stores the copy of a VMA behind all others, in an index that nobody else knows yet."""
        yield from self.find_place(cpu, vma.start)
        yield from self.insert(cpu, vma)

    @abstractmethod
    def destroy(self, cpu: Cpu) -> Steps[None]:
        """All VMAs leave it, and its nodes are freed at once: the process has ended."""

    def _list(self, vma: Vma) -> int:
        """Put *vma* into the sorted list; returns where."""
        index = bisect_right(self._starts, vma.start)
        self._starts.insert(index, vma.start)
        self._vmas.insert(index, vma)
        return index

    def _unlist(self, vma: Vma) -> None:
        """Take *vma* out of the sorted list."""
        index = bisect_right(self._starts, vma.start) - 1
        del self._starts[index], self._vmas[index]

    # -- the end state --------------------------------------------------------------------------------------

    def contradictions(self) -> Iterator[str]:
        """What is wrong with it, if anything, a sentence each."""
        if self._starts != [vma.start for vma in self._vmas]:
            yield "the list of VMAs is indexed by other addresses than theirs"
