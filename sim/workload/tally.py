"""What every run counts besides operations and time: idle time, context switches, flushes and interrupts.

These are rare enough to be counted always. What is counted for a report only is in `sim.profile`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sim.engine.pages import Paged

if TYPE_CHECKING:
    from sim.engine.probe import CallView, CpuView

IDLE: Final = "idle"
SWITCHES: Final = "context switches"
FLUSHES: Final = "flushes"
IPIS_HANDLED: Final = "ipis handled"
_TIME: Final = "time"


class Tally(Paged["Counter[str]"]):
    """Counts in the measured part of each run of a point; *totals* is over all of them.

    *idle* is the time (ps) in which cpus that are online had no thread to run, less what interrupts took of
    it; *span* is how long the measured parts were (ps), *online* the time of all cpus in them. A handler is
    counted where it begins.
    """

    def __init__(self) -> None:
        self._idle_since: dict[int, int] = {}
        self.idle = 0
        self.span = 0
        self.online = 0
        self.totals: Counter[str] = Counter()
        super().__init__()

    def idle_share(self, cpus: int) -> float | None:
        """Share of the time of a machine's *cpus* that was idle. Cpus that no thread runs on are idle."""
        whole = self.span * cpus
        return (self.idle + whole - self.online) / whole if whole else None

    def interrupts_per_flush(self) -> float | None:
        """Interrupts that cpus took for others' calls, by flush; None without a flush."""
        flushes = self.totals[FLUSHES]
        return self.totals[IPIS_HANDLED] / flushes if flushes else None

    # -- pages ----------------------------------------------------------------------------------------------

    def blank(self) -> Counter[str]:
        return Counter()

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self._idle_since.clear()
        super().run_begins(cpus)

    def close_page(self) -> None:
        for since in self._idle_since.values():
            self._add_idle(since)
        self.page[_TIME] = self.now - self.began

    def count(self, page: Counter[str], cpus: int) -> None:
        self.idle += page.pop(IDLE, 0)
        span = page.pop(_TIME)
        self.span += span
        self.online += span * cpus
        self.totals += page

    def _add_idle(self, since: int) -> None:
        self.page[IDLE] += self.now - max(since, self.began)

    # -- hooks ----------------------------------------------------------------------------------------------

    def context_switch(self, cpu: CpuView) -> None:
        self.page[SWITCHES] += 1

    def idle_begins(self, cpu: CpuView) -> None:
        self._idle_since[cpu.id] = self.now

    def idle_ends(self, cpu: CpuView) -> None:
        if (since := self._idle_since.pop(cpu.id, None)) is not None:
            self._add_idle(since)

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        if cpu.id in self._idle_since:
            self.page[IDLE] -= length

    interrupt_goes_on = interrupt

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.page[FLUSHES] += 1

    def ipi_handle(self, cpu: CpuView, calls: Sequence[CallView]) -> None:
        self.page[IPIS_HANDLED] += 1
