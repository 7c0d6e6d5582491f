"""A block device that works on its own, as an NVMe drive does.

    |= submit =|............ device ...........|= interrupt =|

It takes its requests one after the other at its bandwidth, reads and writes apart, and each is done its
latency after that: so it has a rate (bandwidth over the size of a page) and, below that, a latency. The
interrupt comes to the cpu that has asked: a drive has a queue for each.
"""

from __future__ import annotations

from collections.abc import Callable

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm.drive_spec import BlockDevice
from sim.quantities import PAGE_BYTES, PS_PER_S

Done = Callable[[], int]
"""What the interrupt of a finished request does beside its own cost; value: what that costs (ps)."""


class _Queue:
    """One direction of a drive."""

    __slots__ = ("_free_at", "_latency", "_per_page")

    def __init__(self, latency: int, bandwidth: int) -> None:
        self._latency = latency
        self._per_page = PAGE_BYTES * PS_PER_S // bandwidth
        self._free_at = 0

    def enter(self, now: int, pages: int) -> int:
        """So many pages are asked for at time *now*; value: how long until they are done."""
        self._free_at = max(now, self._free_at) + pages * self._per_page
        return self._free_at - now + self._latency


class Drive:
    """One drive; what it costs its user is charged to *activity*."""

    __slots__ = ("_activity", "_complete", "_read", "_submit", "_write")

    def __init__(self, machine: Machine, spec: BlockDevice, activity: Activity) -> None:
        cost = at_clock(spec, machine.spec.clock)
        self._activity = activity
        self._submit: int = cost.submit
        self._complete: int = cost.complete
        self._read = _Queue(spec.read_latency, spec.read_bandwidth)
        self._write = _Queue(spec.write_latency, spec.write_bandwidth)

    def read(self, cpu: Cpu, done: Done, pages: int = 1) -> Steps[None]:
        """Ask for pages; *done* is called, by the interrupt, when they are there."""
        return self._request(cpu, self._read, done, pages)

    def write(self, cpu: Cpu, done: Done, pages: int = 1) -> Steps[None]:
        """The same for a write."""
        return self._request(cpu, self._write, done, pages)

    def _request(self, cpu: Cpu, queue: _Queue, done: Done, pages: int) -> Steps[None]:
        cpu.work(self._submit, self._activity)
        if cpu.pending:
            yield cpu.take_pending()

        def ring() -> None:
            cpu.interrupt(lambda _: (self._complete + done(), lambda _: None))

        cpu.engine.call_in(queue.enter(cpu.engine._now, pages), ring)
