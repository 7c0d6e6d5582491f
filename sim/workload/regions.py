"""The regions of an index bench: where they lie, and what a thread looks up or inserts.

They lie at random in *space*: it is cut into cells of four times a region's length, no two regions share a
cell, and each begins at a random page of the first three quarters of its own. So no two of them overlap,
those that threads insert included.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.workload.things_spec import RegionsSpec

_CELL: Final = 4
"""Lengths of a region in its cell."""


class Regions:
    """Those that are there from the beginning, and the cells that have one."""

    __slots__ = ("_begin", "_cells", "_pages", "_starts", "_taken")

    def __init__(self, spec: RegionsSpec, random: Random) -> None:
        self._pages = spec.size // PAGE_BYTES
        self._cells = spec.cells
        self._begin = spec.base // PAGE_BYTES
        cells = random.sample(range(self._cells), spec.count)
        self._taken = set(cells)
        self._starts = [self._start(cell, random) for cell in cells]

    @property
    def pages(self) -> int:
        """Of one region."""
        return self._pages

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The first page of each, and the one behind its last, in the order of addresses."""
        return iter([(start, start + self._pages) for start in sorted(self._starts)])

    def page(self, random: Random) -> int:
        """A random page of a random one of them."""
        start = self._starts[int(random.random() * len(self._starts))]
        return start + int(random.random() * self._pages)

    def take(self, random: Random) -> int:
        """Where a thread inserts a region: the first page of one in a cell that has none, until `leave`."""
        cell = int(random.random() * self._cells)
        while cell in self._taken:
            cell = int(random.random() * self._cells)
        self._taken.add(cell)
        return self._start(cell, random)

    def leave(self, start: int) -> None:
        """The region that a thread has inserted from page *start* on is gone."""
        self._taken.remove((start - self._begin) // (_CELL * self._pages))

    def _start(self, cell: int, random: Random) -> int:
        offset = int(random.random() * ((_CELL - 1) * self._pages + 1))
        return self._begin + cell * _CELL * self._pages + offset
