"""How often things happened in the measured part of a run: the run report's counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sim.profile.idle import IDLE, IdleTime

if TYPE_CHECKING:
    from sim.engine.probe import CallView, CpuView, Distance, LineView, LockView

TRANSFERS: Final[dict[str, str]] = {
    "same cpu": "atomics on own lines",
    "same core": "lines from a sibling",
    "same cluster": "transfers: same cluster",
    "same socket": "transfers: same socket",
    "other socket": "transfers: other socket",
    "memory": "transfers: memory",
}

COUNTERS: Final = (
    "context switches",
    "sleeps",
    "wake-ups",
    "interrupts",
    "ipi calls",
    "ipis sent",
    "ipis handled",
    "ipi acks",
    "flushes",
    "tlb flushes: full",
    "tlb flushes: pages",
    "tlb flushes: for another cpu",
    "tlb pages dropped",
    "tlb broadcasts",
    "address-space switches",
    "address-space switches: tlb kept",
    *TRANSFERS.values(),
    "frames allocated",
    "frames freed",
    "bias revocations",
)
"""The counters, in the order of the report. `docs/experiments.md` says what they count."""


class Counters(IdleTime):
    """Counts what the hooks tell; *totals* is over all runs of a point."""

    def __init__(self) -> None:
        self.totals: Counter[str] = Counter()
        super().__init__()

    def report(self) -> dict[str, float]:
        """Counter -> how often, over all runs so far; and the idle share."""
        return {name: float(self.totals[name]) for name in COUNTERS} | {IDLE: self.share}

    def count(self, page: Counter[str], cpus: int) -> None:
        super().count(page, cpus)
        self.totals += page

    # -- hooks ----------------------------------------------------------------------------------------------

    def context_switch(self, cpu: CpuView) -> None:
        self.page["context switches"] += 1

    def sleep(self, cpu: CpuView, reason: str) -> None:
        self.page["sleeps"] += 1

    def wake(self, waker: CpuView | None, cpu: CpuView, latency: int) -> None:
        self.page["wake-ups"] += 1

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        self.page["interrupts"] += 1

    def ipi_call(self, call: CallView) -> None:
        self.page["ipi calls"] += len(call.targets)

    def ipi_send(self, sender: CpuView, targets: Sequence[CpuView]) -> None:
        self.page["ipis sent"] += len(targets)

    def ipi_handle(self, cpu: CpuView, calls: Sequence[CallView]) -> None:
        self.page["ipis handled"] += 1

    def ipi_ack(self, cpu: CpuView, call: CallView, at: int) -> None:
        self.page["ipi acks"] += 1

    def flush(self, cpu: CpuView, pages: int) -> None:
        self.page["flushes"] += 1

    def tlb_flush(self, cpu: CpuView, pages: int, remote: bool) -> None:
        self.page["tlb flushes: pages" if pages else "tlb flushes: full"] += 1
        self.page["tlb flushes: for another cpu"] += remote
        self.page["tlb pages dropped"] += pages

    def tlb_broadcast(self, cpu: CpuView, pages: int) -> None:
        self.page["tlb broadcasts"] += 1

    def address_space_switch(self, cpu: CpuView, kept: bool) -> None:
        self.page["address-space switches"] += 1
        self.page["address-space switches: tlb kept"] += kept

    def line_transfer(
        self, line: LineView, cpu: int, source: int, distance: Distance, cost: int, write: bool
    ) -> None:
        self.page[TRANSFERS[distance]] += 1

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        self.page["frames allocated"] += 1 << order

    def frame_freed(self, cpu: CpuView, frame: int, order: int) -> None:
        self.page["frames freed"] += 1 << order

    def bias_revoked(self, lock: LockView, cpu: CpuView) -> None:
        self.page["bias revocations"] += 1
