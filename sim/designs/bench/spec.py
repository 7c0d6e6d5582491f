"""What a design file of family `bench` says."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from sim.designs.base_spec import DesignSpec
from sim.errors import RuleError
from sim.hardware import MachineSpec
from sim.mm import AllocatorName, FlushSpec, HasAllocator


class BenchDesignSpec(DesignSpec, HasAllocator):
    """Nothing (hardware and locks stand in the workload), a page allocator, or a way to flush TLBs."""

    page_allocator: AllocatorName | None = None
    """With it the design is that page allocator and nothing else."""
    flush: FlushSpec | None = None
    """With it there are address spaces, of pages that are always present."""

    def refuses(self, machine: MachineSpec) -> str | None:
        return self.flush.refuses(machine) if self.flush else None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        if self.page_allocator and self.flush:
            raise RuleError(
                "is either a page allocator or a way to flush", {"flush": "not beside `page_allocator`"}
            )
        if self.page_allocator:
            self.check_allocator(self.page_allocator)
        return self
