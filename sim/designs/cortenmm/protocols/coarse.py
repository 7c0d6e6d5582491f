"""coarse: one lock for the whole tree, that of the root.

    lock   W root descriptor (MCS) | R entry | R entry | R entry | covering page
    unlock W root descriptor

Whoever has it has all of the address space, so nothing else is locked, nothing is stray to anybody, and a
subtree that is unlinked is freed with the flush. Operations on one process run one after the other, however
far apart their ranges are.

Source: creativitysurvey/cortenmm-nontxn-ablation, crates/lock-protocol-coarse (the covering page of every
range is the root); SOSP'25, section 4 begins with it. The lock is the one of adv.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.cortenmm.protocols.base import Protocol
from sim.engine import Steps
from sim.mm import LOCK_PAGE_TABLE, PAGE_TABLE, PageTablePage, slot_of
from sim.sync import McsLock

if TYPE_CHECKING:
    from sim.designs.cortenmm.cursor import Cursor


class CoarseProtocol(Protocol):
    """An MCS lock on the descriptor of the root."""

    def make_lock(self, table: PageTablePage) -> McsLock | None:
        """Only the root has one."""
        if table.frame >= 0:
            return None
        return McsLock(self._space.kernel.nodes, table.meta, LOCK_PAGE_TABLE)

    def lock(self, cursor: Cursor) -> Steps[None]:
        cpu, space = cursor.cpu, self._space
        table = space.root
        cpu.work(space.cost.lock_node, LOCK_PAGE_TABLE)
        yield from table.lock.acquire(cpu)
        cursor.locked.append(table)
        while table.level > 1:
            slot = slot_of(cursor.start, table.level)
            if slot != slot_of(cursor.end - 1, table.level):
                break
            cpu.work(space.cost.walk_level, PAGE_TABLE)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            child = table.child(slot)
            if child is None:
                break
            table = child
        cursor.covering = table

    def unlock(self, cursor: Cursor) -> Steps[None]:
        yield from cursor.locked.pop().lock.release(cursor.cpu)
