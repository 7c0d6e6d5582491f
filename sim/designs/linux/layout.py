"""Which fields of struct mm_struct share a cache line (include/linux/mm_types.h), as a design file says it.

Fields on one line move together: who writes one of them takes the others from whoever reads or writes those.
The order of the fields changes from version to version, so the groups are data.
"""

from __future__ import annotations

from typing import Final, Literal, Self, get_args

from pydantic import Field, model_validator

from sim.errors import RuleError
from sim.hardware import CacheLine, Cpu, Machine
from sim.quantities import Spec

MmField = Literal[
    "mm_count",
    "membarrier_state",
    "pcpu_cid",
    "cid_lock",
    "mm_mt",
    "pgd",
    "mmap_lock.count",
    "mmap_lock.owner",
    "mm_lock_seq",
    "vma_writer_wait",
    "map_count",
    "pgtables_bytes",
    "page_table_lock",
    "total_vm",
    "locked_vm",
    "data_vm",
    "hiwater_vm",
    "hiwater_rss",
    "rss_stat",
    "context.tlb_gen",
    "tlb_flush_pending",
    "mm_cpumask",
]
"""A field of mm_struct whose line matters.

`mm_mt` is the root of the VMAs' tree, also where it is an rb-tree; `pgd` points to the top page table;
`mmap_lock.owner` has osq, wait_lock and wait_list beside it; `data_vm` has exec_vm and stack_vm; `rss_stat`
stands for the counts of all kinds of pages, also where they reach over several lines.
"""

MM_FIELDS: Final[tuple[MmField, ...]] = get_args(MmField)

MmLines = dict[MmField, CacheLine]
"""The line of each field of one process; fields that share a line have the same one."""


class Layout(Spec):
    """What lies together. A field that no group names lies on a line of its own."""

    mm_struct: tuple[tuple[MmField, ...], ...] = Field(
        examples=[[["map_count", "mmap_lock.count"], ["mmap_lock.owner", "mm_lock_seq"]]]
    )
    """Groups of fields of mm_struct; those of a group share a cache line."""

    @model_validator(mode="after")
    def _names_each_field_once(self) -> Self:
        seen: set[str] = set()
        for at, group in enumerate(self.mm_struct):
            for index, name in enumerate(group):
                if name in seen:
                    message = f"{name} lies on one line only"
                    raise RuleError(
                        message, {f"mm_struct[{at}][{index}]": "a field that is not named before"}
                    )
                seen.add(name)
        return self

    def shares(self, field: MmField) -> bool:
        """Whether *field* lies with others, who may write its line."""
        return any(field in group and len(group) > 1 for group in self.mm_struct)

    def lay_out(self, machine: Machine, cpu: Cpu) -> MmLines:
        """The lines of an mm_struct that *cpu* has just made, so that they are in its cache."""
        named = [name for group in self.mm_struct for name in group]
        alone = [(name,) for name in MM_FIELDS if name not in named]
        lines: MmLines = {}
        for group in (*self.mm_struct, *alone):
            line = machine.line(f"mm.{'+'.join(group)}", cpu.socket, owner=cpu.id)
            lines.update(dict.fromkeys(group, line))
        return lines
