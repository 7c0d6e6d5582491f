"""What a design file of family `bench` says."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from sim.designs.base_spec import DesignSpec
from sim.errors import RuleError
from sim.hardware import MachineSpec
from sim.mm import FlushSpec, LlfreeSpec


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
