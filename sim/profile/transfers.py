"""From where to where cache lines went: a count for each two clusters, and what the transfers took.

A cluster is the cores that share an L3. Lines that a sibling has in the same core have not left it, and an
atomic on a line that is here moves none: neither is counted (`Counters` has both).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sim.engine.pages import Paged
from sim.quantities import PS_PER_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.engine.probe import CpuView, Distance, LineView

MEMORY: Final = "memory"
"""Where a line comes from that no cache has."""

COLUMNS: Final = ("from_cluster", "to_cluster", "distance", "transfers", "transfer_ns")
"""What a row of `transfers.csv` says; *transfer_ns* is the time of all its transfers together."""

_HERE: Final = ("same cpu", "same core")

Between = tuple[int, int, "Distance"]
"""From cluster (-1: memory), to cluster, distance."""


class Transfers(Paged[dict[tuple[int, int], list[int]]]):
    """Counts on a page by (source, cpu), both `Cpu.id`: [transfers, their time in ps]."""

    def __init__(self) -> None:
        self._distance: dict[tuple[int, int], Distance] = {}
        self._clusters: list[int] = []
        self.totals: dict[Between, list[int]] = {}
        super().__init__()

    def report(self) -> list[dict[str, Any]]:
        """A row for each two clusters between which a line went, memory first."""
        return [
            dict(zip(COLUMNS, (_name(source), str(to), distance, count, time / PS_PER_NS), strict=True))
            for (source, to, distance), (count, time) in sorted(self.totals.items())
        ]

    # -- pages ----------------------------------------------------------------------------------------------

    def blank(self) -> dict[tuple[int, int], list[int]]:
        return {}

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self._clusters = [cpu.cluster for cpu in cpus]
        self._distance = {}
        super().run_begins(cpus)

    def count(self, page: dict[tuple[int, int], list[int]], cpus: int) -> None:
        for (source, cpu), (transfers, time) in page.items():
            from_cluster = self._clusters[source] if source >= 0 else -1
            key = from_cluster, self._clusters[cpu], self._distance[source, cpu]
            total = self.totals.setdefault(key, [0, 0])
            total[0] += transfers
            total[1] += time

    # -- hooks ----------------------------------------------------------------------------------------------

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: Distance, cost: int, write: bool
    ) -> None:
        if distance in _HERE:
            return
        key = source, cpu
        cell = self.page.get(key)
        if cell is None:
            self._distance[key] = distance
            cell = self.page[key] = [0, 0]
        cell[0] += 1
        cell[1] += cost


def _name(cluster: int) -> str:
    return MEMORY if cluster < 0 else str(cluster)
