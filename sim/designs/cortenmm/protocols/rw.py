"""rw: read-lock every table on the way down, write-lock the covering page.

A missing child makes its parent the covering page. Nothing below needs a lock: whoever goes there must pass
the write lock. A subtree that is unlinked is freed with the flush.

Source: artifact, rw tree, ostd/src/mm/page_table/cursor/locking.rs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.cortenmm.protocols.base import Protocol
from sim.engine import Steps
from sim.errors import ModelError
from sim.mm import LOCK_PAGE_TABLE, PAGE_TABLE, PageTablePage, slot_of
from sim.sync import BravoLock, PhaseFairLock

if TYPE_CHECKING:
    from sim.designs.cortenmm.cursor import Cursor


class RwProtocol(Protocol):
    """BRAVO over a phase-fair lock on every page-table page."""

    def make_lock(self, table: PageTablePage) -> BravoLock:
        kernel = self._space.kernel
        underlying = PhaseFairLock(kernel.nodes, table.meta, LOCK_PAGE_TABLE)
        address = max(table.frame, 0) * kernel.spec.bravo.frame_metadata
        return BravoLock(kernel.visible_readers, underlying, address)

    def lock(self, cursor: Cursor) -> Steps[None]:
        cpu, space = cursor.cpu, self._space
        table = space.root
        while table.level > 1:
            slot = slot_of(cursor.start, table.level)
            if slot != slot_of(cursor.end - 1, table.level):
                break
            cpu.work(space.cost.read_lock, LOCK_PAGE_TABLE)
            lock: BravoLock = table.lock
            yield from lock.read_lock(cpu)
            cpu.work(space.cost.walk_level, PAGE_TABLE)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            child = table.child(slot)
            if child is None:
                yield from lock.read_unlock(cpu)
                break
            cursor.path.append(table)
            table = child
        cpu.work(space.cost.lock_node, LOCK_PAGE_TABLE)
        covering: BravoLock = table.lock
        yield from covering.write_lock(cpu)
        if table.stray:
            raise ModelError(f"{cpu} has locked the stray {table!r}")
        cursor.covering = table
        cursor.locked.append(table)

    def unlock(self, cursor: Cursor) -> Steps[None]:
        covering: BravoLock = cursor.locked.pop().lock
        yield from covering.write_unlock(cursor.cpu)
        while cursor.path:
            lock: BravoLock = cursor.path.pop().lock
            yield from lock.read_unlock(cursor.cpu)
