"""adv: walk down without locks (under RCU), lock the covering page, then what the range touches below it.

    walk   R entry | R entry | R entry | lock covering page | stray? unlock, begin again | lock below

Parents come before children and low slots before high ones, so that no two cursors wait for each other.
Missing children are made on the way down under their parent's lock, and the child is born locked. Walkers go
past locks, so a lock protects one table alone, and a subtree that is unlinked is freed after a grace period.

Source: artifact, adv tree, ostd/src/mm/page_table/cursor/locking.rs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sim.designs.cortenmm.protocols.base import Protocol, stray_below
from sim.engine import Steps
from sim.mm import LOCK_PAGE_TABLE, PAGE_TABLE, PAGES_PER_ENTRY, SLOTS, PageTablePage, slot_of
from sim.sync import Exclusive, McsLock

if TYPE_CHECKING:
    from sim.designs.cortenmm.cursor import Cursor
    from sim.designs.cortenmm.mm import CortenMm
    from sim.hardware import Cpu


class FreeTables:
    """Frees unlinked tables after a grace period."""

    __slots__ = ("_space", "tables")

    def __init__(self, space: CortenMm, tables: list[PageTablePage]) -> None:
        self._space = space
        self.tables = tables

    def __call__(self, cpu: Cpu) -> int:
        self._space.free_tables(cpu, self.tables)
        return 0  # charged as it was done


class AdvProtocol(Protocol):
    """Lock-free walk, MCS locks, stray pages, RCU."""

    walks_in_rcu: ClassVar[bool] = True

    def make_lock(self, table: PageTablePage) -> Exclusive:
        return McsLock(self._space.kernel.nodes, table.meta, LOCK_PAGE_TABLE)

    def lock(self, cursor: Cursor) -> Steps[None]:
        cpu = cursor.cpu
        self._space.kernel.rcu.read_lock(cpu)
        while True:
            covering = yield from self._walk_and_lock(cursor)
            if covering is not None:
                break
        cursor.covering = covering
        yield from self._lock_below(cursor, covering)

    def unlock(self, cursor: Cursor) -> Steps[None]:
        while cursor.locked:
            yield from cursor.locked.pop().lock.release(cursor.cpu)
        self._space.kernel.rcu.read_unlock(cursor.cpu)

    def adopt(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        yield from self._acquire(cursor, child)

    def disown(self, cursor: Cursor, child: PageTablePage) -> Steps[None]:
        """Status the subtree stray, unlock it (its pages were locked by this cursor), free it after RCU."""
        cpu, space = cursor.cpu, self._space
        tables = stray_below(cpu, child)
        for table in reversed(tables):
            cursor.locked.remove(table)
            yield from table.lock.release(cpu)
        yield from space.kernel.rcu.defer(cpu, FreeTables(space, tables))

    def _walk_and_lock(self, cursor: Cursor) -> Steps[PageTablePage | None]:
        """One attempt; value is the locked covering page, or None if it had become stray."""
        cpu, space = cursor.cpu, self._space
        table = space.root
        held = False
        while table.level > 1:
            slot = slot_of(cursor.start, table.level)
            if slot != slot_of(cursor.end - 1, table.level):
                break
            cpu.work(space.cost.walk_level, PAGE_TABLE)
            yield from table.line(slot).read(cpu, PAGE_TABLE)
            child = table.child(slot)
            if child is not None:
                if held:
                    yield from self._drop(cursor, table)
                    held = False
                table = child
                continue
            if not held:
                yield from self._acquire(cursor, table)
                if table.stray:
                    yield from self._drop(cursor, table)
                    return None
            child = table.child(slot)
            if child is not None:  # lost the race: somebody has just made it
                yield from self._drop(cursor, table)
                held = False
                table = child
                continue
            child = yield from space.make_table(cpu, table, slot, cursor.start)
            yield from self._acquire(cursor, child)
            yield from cursor.store(table, slot, child)
            table.set(slot, child)
            yield from self._drop(cursor, table)
            table, held = child, True
        if not held:
            yield from self._acquire(cursor, table)
            if table.stray:
                yield from self._drop(cursor, table)
                return None
        return table

    def _lock_below(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        """Phase 2: the page-table pages below that the range touches, in pre-order."""
        if table.level == 1:
            return
        span = PAGES_PER_ENTRY[table.level]
        first = max(cursor.start, table.base)
        last = min(cursor.end - 1, table.base + SLOTS * span - 1)
        for slot in range(slot_of(first, table.level), slot_of(last, table.level) + 1):
            child = table.child(slot)
            if child is not None:
                yield from self._acquire(cursor, child)
                yield from self._lock_below(cursor, child)

    def _acquire(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        cursor.cpu.work(self._space.cost.lock_node, LOCK_PAGE_TABLE)
        yield from table.lock.acquire(cursor.cpu)
        cursor.locked.append(table)

    def _drop(self, cursor: Cursor, table: PageTablePage) -> Steps[None]:
        cursor.locked.remove(table)
        yield from table.lock.release(cursor.cpu)
