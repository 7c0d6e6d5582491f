"""How the work of a run is shared out among its cpus, and how long its operations take, each of them.

    request_ends   -> operations of a cpu, latencies of all and of each role: what the benchmark counts
    operation_*    -> latencies of each kind of call, of those that began in what is measured
    accounts       -> what a cpu did with its time in what is measured, as the breakdown of the point has it

Latencies are kept one by one until the end of a point, and written as order statistics, which are exact:
see `quantiles`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, fsum
from typing import TYPE_CHECKING, Any, Final

from sim.engine.pages import Paged
from sim.quantities import PS_PER_NS
from sim.workload.window import spent_in_window

if TYPE_CHECKING:
    from sim.engine.probe import CpuView

SHARES: Final[Mapping[str, tuple[str, ...]]] = {
    "line_share": ("cache line",),
    "flush_share": ("tlb flush", "ipi send", "ipi wait"),
    "interrupt_share": ("interrupt",),
}
"""Column -> the activities of an account that it has. `lock_share` has all locks, `other_share` the rest.

`idle_share` is none of them: it is, as in `points.csv`, the time without a thread to run. A thread that
sleeps for a lock makes its cpu idle, and its time goes to the lock.
"""
_LOCK: Final = "lock: "

CPU_COLUMNS: Final = (
    "cpu", "core", "cluster", "node", "socket", "measured", "operations", "latency_mean_ns",
    "lock_share", "line_share", "flush_share", "interrupt_share", "other_share", "idle_share",
)  # fmt: skip
"""What a row of `cpus.csv` says of one cpu that was online."""

LATENCY_COLUMNS: Final = ("of", "name", "count", "percentile", "latency_ns")
"""What a row of `latencies.csv` says."""

ALL, ROLE, CALL = "all", "role", "call"
"""Whose latencies they are: of all measured operations, of those of one role, of calls of one kind."""

GRID: Final = (
    1, 2.5, *range(5, 100, 5), 97.5, 98, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 100,
)  # fmt: skip
"""The percentiles that are kept of many latencies."""
FEW: Final = 50
"""Up to so many latencies all are kept."""


def quantiles(latencies: Sequence[int]) -> list[tuple[float, int]]:
    """(percentile, value) of *latencies*: of up to `FEW` each of them, else those of the `GRID`.

    A value is a nearest rank, as those in `points.csv`: one of the latencies, such that so many per cent of
    them are no longer. So there is no rounding; what is not known is where, between the values of two
    percentiles, the latencies between them lie.
    """
    ranked = sorted(latencies)
    count = len(ranked)
    if count <= FEW:
        return [(100 * (rank + 1) / count, value) for rank, value in enumerate(ranked)]
    return [(float(percent), ranked[max(0, ceil(count * percent / 100) - 1)]) for percent in GRID]


@dataclass(slots=True)
class _Cpu:
    """What is known of one cpu of the machine, over all runs of a point; times in ps."""

    core: int
    cluster: int
    node: int
    socket: int
    measured: bool = False
    operations: int = 0
    latencies: int = 0
    waited: int = 0
    """Sum of its latencies."""
    spent: dict[str, float] = field(default_factory=dict)
    idle: int = 0
    span: int = 0
    """How long the measured parts of the runs were in which it was online."""


@dataclass(slots=True)
class _Page:
    """Of one part of a run: latencies of calls by name, idle time of cpus by `Cpu.id` (ps), its length."""

    calls: dict[str, list[int]] = field(default_factory=dict)
    idle: Counter[int] = field(default_factory=Counter)
    span: int = 0


class Requests(Paged[_Page]):
    """Operations by cpu and latencies by role and by call."""

    def __init__(self) -> None:
        self._cpus: dict[int, _Cpu] = {}
        self._roles: dict[str, list[int]] = {}
        self._calls: dict[str, list[int]] = {}
        self._measured: frozenset[int] = frozenset()
        self._idle_since: dict[int, int] = {}
        self._open: dict[tuple[int, object], tuple[int, _Page]] = {}
        super().__init__()

    def cpu_rows(self) -> list[dict[str, Any]]:
        """A row a cpu that was online, in the order of their numbers."""
        return [
            dict(zip(CPU_COLUMNS, _cpu_row(number, cpu), strict=True))
            for number, cpu in sorted(self._cpus.items())
        ]

    def latency_rows(self) -> list[dict[str, Any]]:
        """A row a percentile of all latencies, of those of each role if several have any, and of calls."""
        every = [latency for found in self._roles.values() for latency in found]
        parts = [(ALL, "", every)]
        if len(self._roles) > 1:
            parts += [(ROLE, name, found) for name, found in sorted(self._roles.items())]
        parts += [(CALL, name, found) for name, found in sorted(self._calls.items())]
        return [
            dict(zip(LATENCY_COLUMNS, (of, name, len(found), percentile, ps / PS_PER_NS), strict=True))
            for of, name, found in parts
            for percentile, ps in quantiles(found)
        ]

    # -- pages ----------------------------------------------------------------------------------------------

    def blank(self) -> _Page:
        return _Page()

    def close_page(self) -> None:
        for cpu, since in self._idle_since.items():
            self._add_idle(cpu, since)
        self.page.span = self.now - self.began

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self._open.clear()
        self._idle_since.clear()
        for cpu in cpus:
            if cpu.number not in self._cpus:
                self._cpus[cpu.number] = _Cpu(cpu.core, cpu.cluster, cpu.node, cpu.socket)
        super().run_begins(cpus)

    def measures(self, cpus: Sequence[CpuView]) -> None:
        self._measured = frozenset(cpu.id for cpu in cpus)
        for cpu in cpus:
            self._cpus[cpu.number].measured = True

    def count(self, page: _Page, cpus: int) -> None:
        for name, found in page.calls.items():
            self._calls.setdefault(name, []).extend(found)
        for cpu in self.cpus:
            mine = self._cpus[cpu.number]
            mine.idle += page.idle[cpu.id]
            mine.span += page.span
            spent = spent_in_window(cpu, page.span) if cpu.pages else cpu.spent
            for activity, time in spent.items():
                mine.spent[activity] = mine.spent.get(activity, 0.0) + time

    def _add_idle(self, cpu: int, since: int) -> None:
        self.page.idle[cpu] += self.now - max(since, self.began)

    # -- hooks ----------------------------------------------------------------------------------------------

    def request_ends(
        self, cpu: CpuView, role: str, operations: int, latency: int | None, counted: bool
    ) -> None:
        mine = self._cpus[cpu.number]
        if counted:
            mine.operations += operations
        if latency is not None:
            mine.latencies += 1
            mine.waited += latency
            found = self._roles.get(role)
            if found is None:
                found = self._roles[role] = []
            found.append(latency)

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        if cpu.id in self._measured:
            self._open[id(operation), cpu.current] = cpu.now, self.page

    def operation_ends(self, cpu: CpuView, operation: Any) -> None:
        begun = self._open.pop((id(operation), cpu.current), None)
        if begun is not None:
            time, page = begun
            found = page.calls.get(operation.name)
            if found is None:
                found = page.calls[operation.name] = []
            found.append(cpu.now - time)

    def idle_begins(self, cpu: CpuView) -> None:
        self._idle_since[cpu.id] = self.now

    def idle_ends(self, cpu: CpuView) -> None:
        if (since := self._idle_since.pop(cpu.id, None)) is not None:
            self._add_idle(cpu.id, since)

    def interrupt(self, cpu: CpuView, begins: int, length: int) -> None:
        if cpu.id in self._idle_since:
            self.page.idle[cpu.id] -= length

    interrupt_goes_on = interrupt


def _cpu_row(number: int, cpu: _Cpu) -> tuple[Any, ...]:
    mean = cpu.waited / cpu.latencies / PS_PER_NS if cpu.latencies else None
    seat = number, cpu.core, cpu.cluster, cpu.node, cpu.socket
    idle = max(0.0, cpu.idle / cpu.span) if cpu.span else 0.0
    return (*seat, int(cpu.measured), cpu.operations, mean, *_shares(cpu.spent), idle)


def _shares(spent: Mapping[str, float]) -> list[float]:
    """Locks, the `SHARES`, the rest: parts of a cpu's time. They sum to 1, or are 0 without any time."""
    whole = fsum(spent.values())  # rounded once, whatever the order
    if not whole:
        return [0.0] * (len(SHARES) + 2)
    locks = fsum(time for activity, time in spent.items() if activity.startswith(_LOCK)) / whole
    parts = [fsum(spent.get(each, 0.0) for each in of) / whole for of in SHARES.values()]
    return [locks, *parts, max(0.0, 1 - locks - sum(parts))]
