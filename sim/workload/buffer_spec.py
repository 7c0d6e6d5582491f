"""A buffer manager that a workload may have, and the tree in it (viktorleis/vmcache at 1157828)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from sim.errors import RuleError
from sim.mm import (
    DirectRead,
    ExmapAlloc,
    ExmapFree,
    ExmapRead,
    ExmapSetup,
    Madvise,
    Mmap,
    MmapExmap,
    Operation,
    Prepopulate,
)
from sim.quantities import PAGE_BYTES, Cost, Size, Spec

Memory = Literal["madvise", "exmap", "best"]


class TreeLevel(Spec):
    """One level of the tree, which each look-up goes through."""

    pages: PositiveInt
    """How many pages it has. A look-up goes to any of the last level, each as likely."""
    search: Cost
    """Search one node: instructions, and branches that are guessed wrong."""
    near: NonNegativeInt = 0
    """Loads of a search, each of which needs the one before, that find their line in the last-level cache."""
    far: NonNegativeInt = 0
    """Those that find it in memory: of the entry of the page table too, where tables fit into no cache."""


class BufferSpec(Spec):
    """Pages of storage, each at a virtual address of its own; some of them are in memory.

    The tree's pages come in order, level by level. Those that fit are there from the beginning.
    """

    memory: Memory = "best"
    """Whose pages they are: anonymous memory, given back by `madvise`, those of `exmap`, or `best`: of exmap
    where the design has it."""
    resident: Size
    """When so much is in memory, whoever brings a page in evicts first."""
    pool: Size
    """Pages that an exmap has: more than `resident` by what its interfaces keep in bundles."""
    batch: PositiveInt = Field(64, le=512)
    """Pages that are evicted together."""
    interfaces: PositiveInt = Field(128, le=256)
    """Interfaces of an exmap: thread i uses interface i."""
    marked: float = Field(0.5, ge=0, le=1)
    """Share of the pages that the clock has passed by since they were used last, to begin with."""
    probe: Cost
    """Look at one entry of the table of pages in memory: hash, compare."""
    look_up: Cost
    """What a look-up executes outside of the nodes: the key, calls, copying what was found."""
    tree: tuple[TreeLevel, ...] = Field(min_length=1)
    """The levels, the root first."""

    @property
    def pages(self) -> int:
        """Pages of storage."""
        return sum(level.pages for level in self.tree)

    @property
    def asks(self) -> set[type[Operation]]:
        """The operations that a design must offer."""
        if self.memory == "exmap":
            return {ExmapSetup, MmapExmap, ExmapAlloc, ExmapRead, ExmapFree}
        return {Mmap, Prepopulate} if self.fits else {Mmap, Prepopulate, Madvise, DirectRead}

    @property
    def fits(self) -> bool:
        """Whether all pages may be in memory at once, so that the drive is never asked."""
        return self.pages * PAGE_BYTES < self.resident

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name in ("resident", "pool"):
            if not getattr(self, name) or getattr(self, name) % PAGE_BYTES:
                raise ValueError(f"`{name}` must be a whole number of pages of 4 KiB")
        if self.pool < self.resident:
            raise RuleError("the pool has the pages that are in memory", {"pool": "at least `resident`"})
        inner = self.pages - self.tree[-1].pages
        if 2 * (inner + self.batch) * PAGE_BYTES > self.resident:
            allowed = f"at least {2 * (inner + self.batch)} pages"
            raise RuleError("a batch and the upper levels take up most of the memory", {"resident": allowed})
        return self
