"""Grace periods: what a reader may still see is not freed.

cpu A    [  reads  ]
cpu B         [  reads  ]
cpu C       unlinks, defers ............ frees       A and B have ended by then; who came later cannot see it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sim.engine import Probe

if TYPE_CHECKING:
    from sim.check.scene import Scene
    from sim.engine import Engine
    from sim.engine.probe import CpuView

OVER: Final = "a grace period ends with the last section that began before it (I8)"
SEEN: Final = "a page table is freed when nobody can be in it any more (I8)"

Sections = dict["CpuView", int]
"""The read section of each cpu that is in one, by its number."""


class Periods(Probe):
    """*sections* are the read sections that go on.

    What has been unlinked or deferred is remembered with those that went on then; a callback may wait for
    several periods, the oldest first."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        self.sections: Sections = {}
        self._nesting: dict[CpuView, int] = {}
        self._number = 0
        self._deferred: dict[object, list[Sections]] = {}
        self._unlinked: dict[int, tuple[Any, CpuView, Sections]] = {}

    def rcu_read_begins(self, cpu: CpuView) -> None:
        nesting = self._nesting[cpu] = self._nesting.get(cpu, 0) + 1
        if nesting == 1:
            self._number += 1
            self.sections[cpu] = self._number

    def rcu_read_ends(self, cpu: CpuView) -> None:
        nesting = self._nesting[cpu] = self._nesting.get(cpu, 0) - 1
        if not nesting:
            self.sections.pop(cpu, None)

    def rcu_deferred(self, cpu: CpuView, callback: object) -> None:
        self._deferred.setdefault(callback, []).append(dict(self.sections))

    def rcu_over(self, cpu: CpuView, callback: object) -> None:
        waited = self._deferred.get(callback)
        if not waited:
            return
        if (other := self._still(waited.pop(0))) is not None:
            what = f"a period ends on {cpu} while {other} is in a read section that began before it"
            self._scene.fail(OVER, what, cpu, other)
        if not waited:
            del self._deferred[callback]

    def tables_unlinked(self, cpu: CpuView, tables: Sequence[Any]) -> None:
        others = {other: number for other, number in self.sections.items() if other is not cpu}
        if others:
            self._unlinked.update((table.frame, (table, cpu, others)) for table in tables)

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        if not self._unlinked:
            return
        for each in range(frame, frame + (1 << order)) if order else (frame,):
            if (unlinked := self._unlinked.pop(each, None)) is None:
                continue
            table, unlinker, others = unlinked
            if (other := self._still(others)) is not None:
                what = (
                    f"{cpu} frees {table!r}, which {unlinker} has unlinked while {other} went through tables"
                )
                self._scene.fail(SEEN, what, cpu, other)

    def _still(self, before: Sections) -> CpuView | None:
        """A cpu whose section of *before* goes on."""
        sections = self.sections
        return next((cpu for cpu, number in before.items() if sections.get(cpu) == number), None)
