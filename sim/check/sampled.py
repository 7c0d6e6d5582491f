"""Invariants of whole address spaces, at moments at which nobody is in the middle of anything.

Such a moment is the end of an operation while no other is under way and nobody has a lock. The first one is
looked at, the second, the fourth, the eighth ...: so the cost grows with the logarithm of the run's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.engine import Probe
from sim.mm import invariants
from sim.mm.invariants import BrokenInvariant

if TYPE_CHECKING:
    from sim.check.scene import Scene
    from sim.engine import Engine
    from sim.engine.probe import CpuView


class Sampled(Probe):
    """*moments* are those that have come, *looked* those that were looked at."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._begin()

    def attach(self, engine: Engine) -> None:
        self._begin()

    def _begin(self) -> None:
        self.moments = 0
        self.looked = 0
        self._next = 1
        self._running = False

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self._running = True

    def operation_ends(self, cpu: CpuView, operation: object) -> None:
        scene = self._scene
        if not self._running or len(scene.flights) > (cpu.current in scene.flights) or scene.locks.holders:
            return
        self.moments += 1
        if self.moments < self._next:
            return
        self._next *= 2
        self.looked += 1
        walks, maps = [], []
        try:
            for space in scene.spaces:
                if not hasattr(space, "root"):
                    continue
                walk = invariants.tables_agree(space)
                mappings = invariants.mappings_are_disjoint(space)
                invariants.entries_lie_in_mappings(walk, mappings)
                invariants.counters_equal_a_recount(space.counters(walk))
                invariants.structures_agree(space.contradictions(walk, mappings))
                walks.append(walk)
                maps.append(mappings)
            invariants.no_shared_frame_is_writable(invariants.each_page_once(walks), maps)
        except BrokenInvariant as broken:
            scene.fail(broken.invariant, broken.what, cpu)
