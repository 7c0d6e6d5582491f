"""What a design file of family `bench` says."""

from __future__ import annotations

from typing import Self

from pydantic import PositiveInt, model_validator

from sim.designs.base import DesignSpec
from sim.errors import RuleError
from sim.hardware import MachineSpec
from sim.mm import FlushSpec
from sim.quantities import Cost, Spec


class LlfreeSpec(Spec):
    """LLFree (Wrenger et al., USENIX ATC 2023): each cpu reserves a tree of pages and works there alone."""

    tree_pages: PositiveInt
    """Pages of a tree; when it is used up, the cpu takes another from the shared array."""
    get: Cost
    """Find and set a bit of the child's bit field and decrement its counter."""
    put: Cost
    """Clear a bit of the child's bit field and increment its counter."""
    huge_get: Cost
    """Flip the entry of a child of 512 pages."""
    huge_put: Cost
    """Flip the entry back."""
    reserve: Cost
    """Search for a tree and reserve it, without the shared line."""


class BenchDesignSpec(DesignSpec):
    """Nothing (hardware and locks stand in the workload), a page allocator, or a way to flush TLBs."""

    llfree: LlfreeSpec | None = None
    """With it the design has LLFree as its page allocator."""
    flush: FlushSpec | None = None
    """With it there are address spaces, of pages that are always present."""

    def refuses(self, machine: MachineSpec) -> str | None:
        return self.flush.refuses(machine) if self.flush else None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if self.llfree and self.flush:
            raise RuleError("is either a page allocator or a way to flush", {"flush": "not beside `llfree`"})
        return self
