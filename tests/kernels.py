"""The processes of `sim.verify`, with short ways for tests to say what threads do and what is mapped."""

from __future__ import annotations

from typing import Any

from machines import small_machine

from sim.check import Watch
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    Brk,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    PageTablePage,
    PhysicalMemory,
    Present,
    Status,
    slot_of,
)
from sim.verify import process
from sim.verify.kernels import (
    BASE,
    GIB,
    KINDS,
    LEAF,
    VARIANTS,
    design,
)

__all__ = [
    "BASE",
    "EVERY_CORTENMM",
    "GIB",
    "KINDS",
    "LEAF",
    "REFCOUNT_LOCK",
    "RWSEM_LOCK",
    "VARIANTS",
    "Process",
    "Watch",
    "design",
    "entry_of",
    "frames_in_use",
    "table_of",
]

EVERY_CORTENMM = ["rw", "adv", *VARIANTS]

RWSEM_LOCK: dict[str, Any] = {"vma_lock": "rwsem"}
"""What a Linux design file says of its VMA locks until 6.14."""
REFCOUNT_LOCK: dict[str, Any] = {
    "vma_lock": "refcount",
    "switches": {"mm_lock_seq": "seqcount"},
    "slab": {
        "caches": {
            "vm_area_struct": {"size": "192 B", "align": "64 B", "head": "64 B", "free": "at once"},
        },
    },
}
"""And since 6.15."""

_RECORDS = {
    "mmap": Mmap,
    "munmap": Munmap,
    "mprotect": Mprotect,
    "discard": Madvise,
    "madvise": Madvise,
    "brk": Brk,
    "mremap": Mremap,
    "mlock": Mlock,
    "munlock": Munlock,
    "mincore": Mincore,
    "msync": Msync,
}


class Process(process.Process):
    """A process on a machine that counts what happens."""

    boot = staticmethod(small_machine)

    def do(self, *operations: tuple[Any, ...], cpu: int = 0) -> list[Any]:
        """Run operations, ("mmap" | "munmap" | "touch" | ..., arguments...), one after another on one cpu."""
        values = []

        def body(here: Cpu) -> Steps[None]:
            for name, *arguments in operations:
                if name == "touch":
                    values.append((yield from self.space.access(here, *arguments)))
                else:
                    values.append((yield from self.space.perform(here, _RECORDS[name](*arguments))))

        self.run({cpu: body})
        return values

    # -- what is mapped -------------------------------------------------------------------------------------

    def is_mapped(self, page: int) -> bool:
        """Whether the process may touch *page*."""
        return self.space.status(page) is not None

    def is_present(self, page: int) -> bool:
        return self.space.root.walk(page) is not None

    def translators(self, page: int) -> list[Cpu]:
        """Cpus whose TLB can translate *page* (one that flushes before it runs again cannot)."""
        return [cpu for cpu in self.cpus if not cpu.tlb.stale and page in cpu.tlb.frames()]


def frames_in_use(memory: PhysicalMemory) -> int:
    """Frames that somebody has."""
    return sum(1 << memory.in_use.orders.get(block, 0) for block in memory.in_use.refcount)


def entry_of(root: PageTablePage, page: int) -> PageTablePage | Present | Status | None:
    """What stands for *page* in the table, at whatever level."""
    table = root
    while (child := table.child(slot_of(page, table.level))) is not None:
        table = child
    return table.get(slot_of(page, table.level))


def table_of(root: PageTablePage, page: int, level: int) -> PageTablePage | None:
    """The table of *level* that covers *page*, if it exists."""
    table: PageTablePage | None = root
    while table is not None and table.level > level:
        table = table.child(slot_of(page, table.level))
    return table
