"""How often things happened in the measured part of a run: the run report's counters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sim.workload.tally import FLUSHES, IPIS_HANDLED, SWITCHES, Tally

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
    SWITCHES,
    "sleeps",
    "wake-ups",
    "interrupts",
    "ipi calls",
    "ipis sent",
    IPIS_HANDLED,
    "ipi acks",
    FLUSHES,
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

IDLE: Final = "idle share"
"""Of the time of the cpus that are online: without a thread to run."""


class Counters(Tally):
    """Counts what the hooks tell, besides what a `Tally` does."""

    def report(self) -> dict[str, float]:
        """Counter -> how often, over all runs so far; and the idle share of the cpus that are online."""
        counts = {name: float(self.totals[name]) for name in COUNTERS}
        return counts | {IDLE: self.idle / self.online if self.online else 0.0}

    # -- hooks ----------------------------------------------------------------------------------------------

    def sleep(self, cpu: CpuView, reason: str) -> None:
        self.page["sleeps"] += 1

    def wake(self, waker: CpuView | None, cpu: CpuView, latency: int) -> None:
        self.page["wake-ups"] += 1

    def idle_begins(self, cpu: CpuView) -> None:
        self._idle_since[cpu.id] = self.now

    def idle_ends(self, cpu: CpuView) -> None:
        if (since := self._idle_since.pop(cpu.id, None)) is not None:
            self._add_idle(since)

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        super().interrupt(cpu, begins, length)
        self.page["interrupts"] += 1

    def ipi_call(self, call: CallView) -> None:
        self.page["ipi calls"] += len(call.targets)

    def ipi_send(self, sender: CpuView, targets: Sequence[CpuView]) -> None:
        self.page["ipis sent"] += len(targets)

    def ipi_ack(self, cpu: CpuView, call: CallView, at: int) -> None:
        self.page["ipi acks"] += 1

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
