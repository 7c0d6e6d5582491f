"""What a design file of family `bench` says."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from sim.designs.base_spec import DesignSpec
from sim.designs.bench.skiplist_spec import SkipListSpec
from sim.errors import RuleError
from sim.hardware import MachineSpec
from sim.mm import AllocatorName, FlushSpec, HasAllocator


class BenchDesignSpec(DesignSpec, HasAllocator):
    """Nothing (hardware and locks stand in the workload), a page allocator, an index, or a way to flush
    TLBs."""

    page_allocator: AllocatorName | None = None
    """With it the design is that page allocator and nothing else."""
    skiplist: SkipListSpec | None = None
    """With it the design has a skip list, whose regions are looked up, inserted and deleted."""
    flush: FlushSpec | None = None
    """With it there are address spaces, of pages that are always present."""

    def refuses(self, machine: MachineSpec) -> str | None:
        return self.flush.refuses(machine) if self.flush else None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        given = [name for name in ("page_allocator", "skiplist", "flush") if getattr(self, name) is not None]
        if len(given) > 1:
            message = "is one thing: a page allocator, an index or a way to flush"
            raise RuleError(message, {given[-1]: f"not beside `{given[0]}`"})
        if self.page_allocator:
            self.check_allocator(self.page_allocator)
        return self
