"""A level-1 table as the kernel sees it where several nodes have it: one set of entries, several tables.

The kernel reads the owner's table and writes all: `line` stands for the same line of each of them. To write
an entry is to write the owner's, and then, one replica after the other, to follow the pointer in struct page
and write there (set_pte, ptep_get_and_clear and ptep_set_wrprotect in numaPTE, pgtable_repl_set_pte in
Mitosis). All of it happens under the one page-table lock, that of the owner's table.

Sources: julianw1010/hydra-v4.17.0-fork at b1f46cd, arch/x86/mm/pgtable.c (numaPTE, by its former name).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.hardware.line import LINE
from sim.mm import PageTablePage
from sim.mm.page_table import PTES_PER_LINE

if TYPE_CHECKING:
    from sim.hardware import Machine

NO_FRAME = -1
"""What the kernel sees lies in the tables of the nodes."""


class SharedLeaf(PageTablePage):
    """The entries of 2 MiB. *copies* has each node's table, that of *owner* first; entries of other nodes'
    tables are those of here or, until they are copied, nothing. *follow* is the work from one to the next.
    """

    __slots__ = ("copies", "follow", "owner")

    def __init__(self, machine: Machine, page: int, owner: int, table: PageTablePage, follow: int) -> None:
        super().__init__(machine, 1, page, NO_FRAME, table.home, maker=table.meta.owner)
        self.meta = table.meta
        self.owner = owner
        self.follow = follow
        self.copies: dict[int, PageTablePage] = {owner: table}

    @property
    def nodes(self) -> int:
        """The set of nodes that have a table, as bits."""
        return sum(1 << node for node in self.copies)

    def line(self, slot: int) -> CacheLine:
        index = slot // PTES_PER_LINE
        line = self._lines.get(index)
        if line is None:
            line = self._lines[index] = SharedLine(self, index * PTES_PER_LINE)
        return line

    def set(self, slot: int, entry: Any) -> None:
        super().set(slot, entry)
        for copy in self.copies.values():
            copy.set(slot, entry)

    @property
    def untouched(self) -> bool:
        """Nothing is done in bulk."""
        return False

    def own_and_empty(self, slot: int, stop: int, cpu: Cpu) -> int:
        return slot

    def written_alone(self, slot: int, stop: int, cpu: Cpu) -> int:
        return slot


class SharedLine(CacheLine):
    """The line of the entries from *slot* on in each table of a leaf; nothing lies here."""

    __slots__ = ("_leaf", "_slot")

    def __init__(self, leaf: SharedLeaf, slot: int) -> None:
        super().__init__(leaf.fabric, f"entries {slot}.. of all replicas of {leaf!r}", leaf.home)
        self._leaf = leaf
        self._slot = slot

    @property
    def _own(self) -> CacheLine:
        leaf = self._leaf
        return leaf.copies[leaf.owner].line(self._slot)

    def read(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        return self._own.read(cpu, activity)

    def write(self, cpu: Cpu, activity: Activity = LINE, *, again: int = 0) -> Steps[None]:
        yield from self._own.write(cpu, activity, again=again)
        for copy in self._others():
            cpu.work(self._leaf.follow, activity)
            yield from copy.meta.read(cpu, activity)
            yield from copy.line(self._slot).write(cpu, activity)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        yield from self._own.store(cpu, activity)
        for copy in self._others():
            cpu.work(self._leaf.follow, activity)
            yield from copy.meta.read(cpu, activity)
            yield from copy.line(self._slot).store(cpu, activity)

    def _others(self) -> list[PageTablePage]:
        leaf = self._leaf
        return [copy for node, copy in leaf.copies.items() if node != leaf.owner]

    def held_by(self, cpu: Cpu) -> bool:
        return self._own.held_by(cpu)

    def exclusive_to(self, cpu: Cpu) -> bool:
        return len(self._leaf.copies) == 1 and self._own.exclusive_to(cpu)

    def take_at_once(self, cpu: Cpu, at: int) -> int | None:
        return None
