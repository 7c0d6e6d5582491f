"""An index of VMAs that tells those who listen what is about to be stored in it.

It stands before one of any kind, and only in runs in which somebody listens (`Probe.mappings_change`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sim.designs.linux.vma_indexes.base import IndexSite, VmaIndex
from sim.engine import Steps
from sim.hardware import Cpu

if TYPE_CHECKING:
    from sim.designs.linux.vma import Vma


class HeardIndex(VmaIndex):
    """*inner* does all the work; the sorted list is one that both have.

    A VMA that fork copies (`append`, `replace`) and the end of a process (`destroy`) are not told: nobody
    else knows that index, or is in it any more.
    """

    __slots__ = ("inner", "space")

    def __init__(self, inner: VmaIndex, site: IndexSite, cpu: Cpu, space: object) -> None:
        super().__init__(site, cpu)
        self.inner = inner
        self.space = space
        self._starts, self._vmas = inner._starts, inner._vmas

    def nodes(self) -> int:
        return self.inner.nodes()

    def find(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        return self.inner.find(cpu, page)

    def find_place(self, cpu: Cpu, page: int) -> Steps[None]:
        return self.inner.find_place(cpu, page)

    def empty_area_rev(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        return self.inner.empty_area_rev(cpu, pages, floor, top)

    def empty_area(self, cpu: Cpu, pages: int, floor: int, top: int) -> Steps[int | None]:
        return self.inner.empty_area(cpu, pages, floor, top)

    def neighbours(self, start: int, end: int) -> tuple[Vma | None, Vma | None]:
        return self.inner.neighbours(start, end)

    def beside(self, page: int) -> tuple[Vma | None, Vma | None]:
        return self.inner.beside(page)

    def hole(self, start: int, end: int, top: int) -> tuple[int, int]:
        return self.inner.hole(start, end, top)

    def insert(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        cpu.probe.mappings_change(self.space, self, cpu, (vma,))
        return self.inner.insert(cpu, vma)

    def remove(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        cpu.probe.mappings_change(self.space, self, cpu, (vma,))
        return self.inner.remove(cpu, vma)

    def extend(self, cpu: Cpu, vma: Vma, start: int, end: int, *absorbed: Vma) -> Steps[None]:
        cpu.probe.mappings_change(self.space, self, cpu, (vma, *absorbed))
        return self.inner.extend(cpu, vma, start, end, *absorbed)

    def move_boundary(self, cpu: Cpu, lower: Vma, upper: Vma, at: int) -> Steps[None]:
        cpu.probe.mappings_change(self.space, self, cpu, (lower, upper))
        return self.inner.move_boundary(cpu, lower, upper, at)

    def split(self, cpu: Cpu, vma: Vma, upper: Vma) -> Steps[None]:
        cpu.probe.mappings_change(self.space, self, cpu, (vma, upper))
        return self.inner.split(cpu, vma, upper)

    def duplicate(self, cpu: Cpu, other: VmaIndex) -> Steps[None]:
        return self.inner.duplicate(cpu, other.inner if isinstance(other, HeardIndex) else other)

    def replace(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        return self.inner.replace(cpu, vma)

    def expect(self, cpu: Cpu, count: int) -> Steps[None]:
        return self.inner.expect(cpu, count)

    def settle(self, cpu: Cpu) -> Steps[None]:
        return self.inner.settle(cpu)

    def append(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        return self.inner.append(cpu, vma)

    def destroy(self, cpu: Cpu) -> Steps[None]:
        return self.inner.destroy(cpu)

    def contradictions(self) -> Iterator[str]:
        return self.inner.contradictions()
