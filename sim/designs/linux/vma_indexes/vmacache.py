"""What find_vma found last, so that it need not search (mm/vmacache.c, 3.15 to 6.0; mm->mmap_cache before).

    mmap_cache   one VMA for the whole process, in mm_struct: every miss of any thread stores to that line
    vmacache     four VMAs for each thread, in its task_struct, good while the thread's sequence number is
                 that of mm_struct, which every VMA that goes counts up

Both are looked at under mmap_lock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sim.designs.linux.activities import VMA_WORK
from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Task
from sim.mm import SLOTS

if TYPE_CHECKING:
    from sim.designs.linux.costs import Costs
    from sim.designs.linux.vma import Vma
    from sim.engine.costs import AtClock

ENTRIES: Final = 4
"""VMACACHE_SIZE."""


class FindCache(ABC):
    """*line* is that of mm_struct where the process's part of it is."""

    __slots__ = ("_cost", "_line")

    def __init__(self, line: CacheLine, cost: AtClock[Costs]) -> None:
        self._line = line
        self._cost = cost

    @abstractmethod
    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """Value: the VMA that contains *page*, if it is cached."""

    @abstractmethod
    def update(self, cpu: Cpu, page: int, vma: Vma) -> Steps[None]:
        """A search for *page* has found *vma*, which contains it or is the next one."""

    @abstractmethod
    def invalidate(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """*vma* has left the tree."""

    @abstractmethod
    def contradictions(self, vmas: Sequence[Vma]) -> Iterator[str]:
        """No thread may find a VMA that is not one of *vmas*."""

    def _hits(self, cpu: Cpu, vma: Vma, page: int) -> Steps[bool]:
        cpu.work(self._cost.tree_node, VMA_WORK)
        yield from vma.line.read(cpu, VMA_WORK)
        return vma.start <= page < vma.end


class MmapCache(FindCache):
    """mm->mmap_cache (up to 3.14)."""

    __slots__ = ("_vma",)

    def __init__(self, line: CacheLine, cost: AtClock[Costs]) -> None:
        super().__init__(line, cost)
        self._vma: Vma | None = None

    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        yield from self._line.read(cpu, VMA_WORK)
        vma = self._vma
        hit = vma is not None and (yield from self._hits(cpu, vma, page))
        return vma if hit else None

    def update(self, cpu: Cpu, page: int, vma: Vma) -> Steps[None]:
        yield from self._line.store(cpu, VMA_WORK)
        self._vma = vma

    def invalidate(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self._line.store(cpu, VMA_WORK)
        self._vma = None

    def contradictions(self, vmas: Sequence[Vma]) -> Iterator[str]:
        if self._vma is not None and self._vma not in vmas:
            yield f"mmap_cache has {self._vma}, which is not mapped"


class VmaCache(FindCache):
    """mm->vmacache_seqnum, and the vmacache of each thread (3.15 to 6.0)."""

    __slots__ = ("_of", "_sequence")

    def __init__(self, line: CacheLine, cost: AtClock[Costs]) -> None:
        super().__init__(line, cost)
        self._sequence = 0
        self._of: dict[Task, tuple[int, list[Vma | None]]] = {}

    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """vmacache_find: all entries, the one that *page* hashes to first."""
        yield from self._line.read(cpu, VMA_WORK)  # vmacache_valid
        first, entries = _slot(page), self._entries(cpu.current)
        for vma in (*entries[first:], *entries[:first]):
            if vma is not None:
                hit = yield from self._hits(cpu, vma, page)
                if hit:
                    return vma
        return None

    def update(self, cpu: Cpu, page: int, vma: Vma) -> Steps[None]:
        self._entries(cpu.current)[_slot(page)] = vma
        return
        yield

    def invalidate(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        yield from self._line.store(cpu, VMA_WORK)
        self._sequence += 1

    def _entries(self, task: Task) -> list[Vma | None]:
        sequence, entries = self._of.get(task, (-1, []))
        if sequence != self._sequence:  # vmacache_flush
            entries = [None] * ENTRIES
            self._of[task] = (self._sequence, entries)
        return entries

    def contradictions(self, vmas: Sequence[Vma]) -> Iterator[str]:
        for task, (sequence, entries) in self._of.items():
            for vma in entries if sequence == self._sequence else ():
                if vma is not None and vma not in vmas:
                    yield f"the vmacache of {task} has {vma}, which is not mapped"


def _slot(page: int) -> int:
    """VMACACHE_HASH: by the level-1 table (4.19; by the page before, and no workload sees the difference)."""
    return page // SLOTS % ENTRIES
