"""Who may write entries of page tables: the holder of the table's lock, or of the range that they are in.

Checked at each store of a line of entries by kernel code, as it begins. What the hardware sets (accessed and
dirty bits) asks for no lock.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from sim.engine import Probe
from sim.mm import PAGES_PER_ENTRY, PTES_PER_LINE

if TYPE_CHECKING:
    from sim.check.periods import Periods
    from sim.check.scene import Scene
    from sim.engine import Engine
    from sim.engine.probe import CpuView, LineView, LockView

LOCKED: Final = "entries are written under the lock of their table (PTL, I9)"
GUARDED: Final = "a list is changed under its lock (i_mmap_rwsem)"
UPPER: Final = "entries of upper tables are written under a lock"
DISJOINT: Final = "no two cpus have overlapping ranges to themselves (I1, I2)"
COVERED: Final = "the table that covers a locked range is locked, and not stray (I1, I7)"
STRAY: Final = "a stray table is not written (I7)"
FREED: Final = "a page table that is freed is not used (I8)"
SECTION: Final = "tables are walked under a lock or in a read section (I8)"

_REMEMBERED: Final = 4096
"""Freed tables that are remembered."""


class Entries(Probe):
    """*ranges* are those that each thread has to itself; *gone* are tables whose frames are free again.

    A table whose entries are set by compare-and-swap asks for none. Where another has no lock it is not asked
    about, unless others of its level have been seen with theirs: a kernel may lock all of them together, by a
    lock that is not known here.
    """

    def __init__(self, scene: Scene, periods: Periods) -> None:
        self._scene = scene
        self._periods = periods
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        self.ranges: dict[object, list[tuple[object, CpuView, int, int]]] = {}
        self._tables: dict[int, Any] = {}
        self._gone: dict[Any, None] = {}
        self._order_gone: deque[Any] = deque()
        self._locked_levels: set[int] = set()

    def entry_access(self, table: Any, slot: int, cpu: CpuView, write: bool) -> None:
        frame = table.frame
        if frame >= 0 and self._tables.get(frame) is not table:
            if table in self._gone:
                verb = "writes" if write else "reads"
                self._scene.fail(FREED, f"{cpu.current} {verb} {table!r}, whose frame {frame} is free", cpu)
            self._tables[frame] = table
        if not write:
            self._may_look(table, slot, cpu)
            return
        task, lock, level = cpu.current, table.lock, table.level
        if table.stray:
            self._scene.fail(STRAY, f"{cpu.current} writes {table!r}", cpu)
        if table.lock_free:
            return
        if lock is not None and self._scene.locks.mode(lock, task) == "write":
            self._locked_levels.add(level)
            return
        if mine := self.ranges.get(task):
            span = PAGES_PER_ENTRY[level]
            low = table.base + slot * span
            high = low + PTES_PER_LINE * span
            if any(start < high and low < end for _, _, start, end in mine):
                return
        if lock is None and level not in self._locked_levels:
            return
        if level > 1:
            if not self._scene.locks.held.get(task):
                self._scene.fail(UPPER, f"{task} writes {self._where(table, slot)} and has no lock", cpu)
        else:
            has = "it has no lock" if lock is None else self._scene.locks.who(lock)
            self._scene.fail(LOCKED, f"{task} writes {self._where(table, slot)}: {has}", cpu)

    def entry_swapped(self, table: Any, slot: int, cpu: CpuView) -> None:
        if table in self._gone:
            what = f"{cpu.current} swaps an entry of {table!r}, whose frame {table.frame} is free"
            self._scene.fail(FREED, what, cpu)
        if table.stray:
            self._scene.fail(STRAY, f"{cpu.current} writes {table!r}", cpu)

    def _may_look(self, table: Any, slot: int, cpu: CpuView) -> None:
        """Where tables are freed after a grace period, *cpu* must hold that up, or have the table locked."""
        task, scene = cpu.current, self._scene
        flight = scene.flights.get(task)
        if flight is None or not getattr(flight.space, "walks_in_rcu", False):
            return
        if cpu in self._periods.sections or task in self.ranges:
            return
        if table.lock is None or scene.locks.mode(table.lock, task) is None:
            what = f"{task} reads {self._where(table, slot)}, with no lock and outside of any read section"
            scene.fail(SECTION, what, cpu)

    def guarded_write(self, line: LineView, lock: LockView, cpu: CpuView) -> None:
        if self._scene.locks.mode(lock, cpu.current) != "write":
            what = f"{cpu.current} writes {line.name}, and of {lock.name} {self._scene.locks.who(lock)}"
            self._scene.fail(GUARDED, what, cpu)

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        tables = self._tables
        for each in range(frame, frame + (1 << order)) if order else (frame,):
            if (table := tables.pop(each, None)) is not None:
                self._gone[table] = None
                self._order_gone.append(table)
                if len(self._order_gone) > _REMEMBERED:
                    self._gone.pop(self._order_gone.popleft(), None)

    def range_locked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        for task, mine in self.ranges.items():
            for where, other, low, high in mine:
                if where is space and start < high and low < end:
                    what = f"{cpu.current} has locked {start:#x}-{end:#x}, and {task} has {low:#x}-{high:#x}"
                    self._scene.fail(DISJOINT, what, cpu, other)
        self._covering_is_locked(space, cpu, start, end)
        self.ranges.setdefault(cpu.current, []).append((space, cpu, start, end))

    def range_unlocked(self, space: object, cpu: CpuView, start: int, end: int) -> None:
        mine = self.ranges.get(cpu.current, [])
        if (space, cpu, start, end) not in mine:
            self._scene.fail(DISJOINT, f"{cpu.current} gives up {start:#x}-{end:#x}, which it has not", cpu)
        mine.remove((space, cpu, start, end))
        if not mine:
            del self.ranges[cpu.current]

    def _covering_is_locked(self, space: Any, cpu: CpuView, start: int, end: int) -> None:
        """On the way to the last table that has all of the range some table is locked for writing."""
        table, held = space.root, self._scene.locks.held.get(cpu.current) or {}
        way = [table]
        while table.level > 1:
            span = PAGES_PER_ENTRY[table.level]
            if start // span != (end - 1) // span:
                break
            child = table.child((start - table.base) // span)
            if child is None:
                break
            table = child
            way.append(table)
        if all(each.lock is None for each in way):
            return
        if not any(each.lock is not None and held.get(each.lock) == "write" for each in way):
            what = f"{cpu.current} has {start:#x}-{end:#x} to itself, and no table on the way is locked by it"
            self._scene.fail(COVERED, what, cpu)
        if table.stray:
            self._scene.fail(COVERED, f"{cpu.current} has locked {start:#x}-{end:#x} in stray {table!r}", cpu)

    def _where(self, table: Any, slot: int) -> str:
        page = table.base + slot * PAGES_PER_ENTRY[table.level]
        return f"entries of page {page:#x} on in {table!r}"
