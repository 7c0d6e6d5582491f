"""What an address space has mapped of files and shared memory (artifact, kernel/src/vm/vmar/vm_mapping.rs).

A mark in the page table has room for rights and a number. The number stands for an entry of a table that the
space has, `vma_map`: which object is mapped, and where. Its lock is one word: each fault on such memory reads
under it, each mmap of such memory writes, and a fork has it for all of its copying.

The artifact forgets an entry only with the space. Here it goes with the last page that it is about; who
knows that is kept in *left*, which costs the kernel nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.cortenmm.vmo import LOCK_MAPPERS
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import AddressSpace, Runs
from sim.sync import WordRwLock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sim.designs.cortenmm.kernel import CortenKernel
    from sim.designs.cortenmm.vmo import Vmo

LOCK_VMA_MAP: Final = Activity("lock: vma_map")


class FileMapping:
    """VmoBackedVMA: pages of *vmo* from *offset* on, the first of them at page *at*. *around*: a fault brings
    in its neighbours that are there."""

    __slots__ = ("around", "at", "offset", "vmo")

    def __init__(self, vmo: Vmo, at: int, offset: int, *, around: bool) -> None:
        self.vmo = vmo
        self.at = at
        self.offset = offset
        self.around = around

    def index(self, page: int) -> int:
        """The page of the object that is mapped at *page*."""
        return self.offset + page - self.at


class FileMaps:
    """The table of *space* and its lock. *known* are the files that have the space among their mappers: each
    that it has ever mapped, so a walk from a file may come to spaces in which nothing of it is mapped now."""

    __slots__ = ("_cost", "_keeps", "known", "left", "lock", "space")

    def __init__(self, kernel: CortenKernel, cpu: Cpu, space: AddressSpace) -> None:
        self.space = space
        self.known: dict[Vmo, None] = {}
        self._cost = kernel.cost.vma_map
        self.lock = WordRwLock(kernel.machine.line("vma_map", cpu.socket, owner=cpu.id), LOCK_VMA_MAP)
        self.left: dict[FileMapping, Runs] = {}
        self._keeps = kernel.spec.source == "artifact"

    def enter(self, cpu: Cpu, vmo: Vmo) -> Steps[None]:
        """The space is among the mappers of *vmo* from now on. For memory without a name nobody asks."""
        if self._keeps or not vmo.pager or vmo in self.known:
            return
        yield from vmo.mappers_lock.acquire(cpu)
        cpu.work(self._cost, LOCK_MAPPERS)
        vmo.mappers[self] = self.known[vmo] = None
        yield from vmo.mappers_lock.release(cpu)

    def leave(self, cpu: Cpu) -> Steps[None]:
        """The space has ended."""
        while self.known:
            vmo, _ = self.known.popitem()
            yield from vmo.mappers_lock.acquire(cpu)
            cpu.work(self._cost, LOCK_MAPPERS)
            del vmo.mappers[self]
            yield from vmo.mappers_lock.release(cpu)

    def of(self, vmo: Vmo, index: int) -> list[range]:
        """What is mapped of *vmo* from its page *index* on."""
        return [
            range(max(run.start, mapping.at + index - mapping.offset), run.end)
            for mapping, pages in self.left.items()
            if mapping.vmo is vmo
            for run in pages
            if mapping.index(run.end - 1) >= index
        ]

    def marked(self, mapping: FileMapping, start: int, end: int) -> None:
        """Pages [*start*, *end*), where nothing is mapped, are of *mapping* from now on."""
        if mapping not in self.left:
            mapping.vmo.users += 1
            self.left[mapping] = Runs()
        self.left[mapping].add(start, end, 1)

    def copy(self, other: FileMaps) -> None:
        """A fork has mapped the same."""
        for mapping, pages in other.left.items():
            mapping.vmo.users += 1
            self.left[mapping] = pages.copy()

    def unmapped(self, cpu: Cpu, start: int, end: int) -> None:
        """Nothing of what was mapped in [*start*, *end*) is there any more."""
        if self._keeps:
            return
        for mapping in self._over(start, end):
            self.left[mapping].cut(start, end)
            if not self.left[mapping]:
                del self.left[mapping]
                mapping.vmo.release(cpu)

    def clear(self, cpu: Cpu) -> None:
        """Nothing is mapped any more."""
        for mapping in self.left:
            mapping.vmo.release(cpu)
        self.left.clear()

    def _over(self, start: int, end: int) -> Iterator[FileMapping]:
        yield from [mapping for mapping, pages in self.left.items() if pages.within(start, end)]
