"""How long cpus had no thread to run: the idle share that benchmarks print beside throughput."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sim.profile.pages import Paged

if TYPE_CHECKING:
    from sim.engine.probe import CpuView

IDLE: Final = "idle share"
"""Of the time of the cpus that are online: without a thread to run."""


class IdleTime(Paged["Counter[str]"]):
    """Adds up what cpus idle in the part of a run that counts, over all runs of a point (ps)."""

    def __init__(self) -> None:
        self._idle_since: dict[int, int] = {}
        self._idle = 0
        self._length = 0
        self._time = 0
        super().__init__()

    @property
    def share(self) -> float:
        """Of the time of the cpus that are online, which are those that threads run on; 0 before any run."""
        return self._idle / self._time if self._time else 0.0

    def share_of(self, cpus: int) -> float:
        """Of the time of a machine of so many *cpus*: those that no thread runs on idle all the time."""
        return 1 - (self._time - self._idle) / (self._length * cpus) if self._length else 0.0

    # -- pages ----------------------------------------------------------------------------------------------

    def blank(self) -> Counter[str]:
        return Counter()

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self._idle_since.clear()
        super().run_begins(cpus)

    def close_page(self) -> None:
        for since in self._idle_since.values():
            self._add_idle(since)
        self.page["time"] = self.now - self.began

    def count(self, page: Counter[str], cpus: int) -> None:
        self._idle += page.pop(IDLE, 0)
        length = page.pop("time")
        self._length += length
        self._time += length * cpus

    def _add_idle(self, since: int) -> None:
        self.page[IDLE] += self.now - max(since, self.began)

    # -- hooks ----------------------------------------------------------------------------------------------

    def idle_begins(self, cpu: CpuView) -> None:
        self._idle_since[cpu.id] = self.now

    def idle_ends(self, cpu: CpuView) -> None:
        if (since := self._idle_since.pop(cpu.id, None)) is not None:
            self._add_idle(since)
