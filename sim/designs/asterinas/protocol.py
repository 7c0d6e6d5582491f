"""adv's cursors with the lock that a page table of Asterinas has: one byte of its descriptor, test-and-set.

Source: Asterinas 0.18.1, ostd/src/mm/page_table/node/mod.rs (`lock`: compare_exchange in a loop) and
cursor/locking.rs, which is the artifact's adv otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.cortenmm.protocols.adv import AdvProtocol
from sim.engine import Steps
from sim.mm import LOCK_PAGE_TABLE, PageTablePage
from sim.sync import Exclusive, TasLock

if TYPE_CHECKING:
    from sim.designs.asterinas.vmar import Vmar
    from sim.designs.cortenmm.cursor import Cursor


class VmarProtocol(AdvProtocol):
    """Without a queue no lock needs a queue node. *detached* has the cursors that have unlinked a table:
    their flush is a whole one."""

    __slots__ = ("_word", "detached")

    def __init__(self, space: Vmar) -> None:
        super().__init__(space)
        self._word = space.asterinas.spec.table_lock == "word"
        self.detached: set[Cursor] = set()

    def make_lock(self, table: PageTablePage) -> Exclusive:
        return TasLock(table.meta, LOCK_PAGE_TABLE) if self._word else super().make_lock(table)

    def disown(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        self.detached.add(cursor)
        return super().disown(cursor, child)

    def _acquire(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        if not self._word:
            yield from super()._acquire(cursor, table)
            return
        yield from table.lock.acquire(cursor.cpu)
        cursor.locked.append(table)
