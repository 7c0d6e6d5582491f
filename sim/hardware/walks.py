"""Which page-table lines are near: what a page walk costs follows from what was walked before.

A line (8 entries) that a core walks or writes is in its own caches, until `core_lines` others have come after
it; then it is in the last-level cache of its cluster, until `cluster_lines` others have come after it there;
then in DRAM. Lines that another cpu has written since are no business of this module: whoever walks fetches
them first, as a load does.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from sim.engine.costs import at_clock

if TYPE_CHECKING:
    from sim.hardware.line import CacheLine
    from sim.hardware.spec import MachineSpec


class RecentLines:
    """The *capacity* lines that were used last, each known by what stands for it."""

    __slots__ = ("_capacity", "_lines")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lines: dict[Hashable, None] = {}

    def use(self, line: Hashable) -> bool:
        """Make *line* the most recent one; whether it was there."""
        lines = self._lines
        if line in lines:
            del lines[line]
            lines[line] = None
            return True
        if len(lines) >= self._capacity:
            del lines[next(iter(lines))]
        lines[line] = None
        return False


class Walker:
    """The page walks of one core; *cluster* are the lines in the last-level cache that it shares."""

    __slots__ = ("_cluster", "_cold", "_core", "_llc", "_warm")

    def __init__(self, spec: MachineSpec, cluster: RecentLines | None) -> None:
        tlb = at_clock(spec.tlb, spec.clock)
        self._warm = tlb.walk
        self._core = self._cluster = None
        self._llc = self._cold = self._warm
        if tlb.far_walk is not None:
            assert cluster is not None
            self._core, self._cluster = RecentLines(tlb.far_walk.core_lines), cluster
            far = at_clock(tlb.far_walk, spec.clock)
            self._llc, self._cold = far.llc, far.cold

    def near(self, line: CacheLine) -> None:
        """The core has just loaded or written *line*."""
        if self._core is not None and self._cluster is not None:
            self._core.use(line)
            self._cluster.use(line)

    def walk(self, line: CacheLine | None) -> int:
        """Cost (ps) of a walk that ends at *line*; without one it is warm."""
        if line is None or self._core is None or self._cluster is None:
            return self._warm
        in_core, in_cluster = self._core.use(line), self._cluster.use(line)
        return self._warm if in_core else self._llc if in_cluster else self._cold
