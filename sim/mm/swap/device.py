"""The device that pages are swapped to (drivers/block/zram/zram_drv.c, mm/page_io.c; 6.13).

    zram   |= compress =|                                 the writer's own work
    drive  |= submit =|............ device ...........|= interrupt =|

A drive takes its requests one after the other at its bandwidth, reads and writes apart, and each is done its
latency after that. Nobody waits for a write but who needs the page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm.swap.spec import SwapSpace
from sim.quantities import PAGE_BYTES, PS_PER_S

SWAP: Final = Activity("swap")
"""Activity: slots, swap cache, and what a device costs its user."""

Done = Callable[[], int]
"""What the interrupt of a finished request does beside its own cost; value: what that costs (ps)."""


class _Queue:
    """One direction of a drive."""

    __slots__ = ("_free_at", "_latency", "_per_page")

    def __init__(self, latency: int, bandwidth: int) -> None:
        self._latency = latency
        self._per_page = PAGE_BYTES * PS_PER_S // bandwidth
        self._free_at = 0

    def enter(self, now: int) -> int:
        """A page is asked for at time *now*; value: how long until it is done."""
        self._free_at = max(now, self._free_at) + self._per_page
        return self._free_at - now + self._latency


class SwapDevice:
    """*synchronous*: a request is done when its maker comes back (SWP_SYNCHRONOUS_IO)."""

    __slots__ = ("_complete", "_read", "_read_cost", "_write", "_write_cost", "synchronous")

    def __init__(self, machine: Machine, spec: SwapSpace) -> None:
        clock = machine.spec.clock
        self.synchronous = spec.compressed is not None
        self._read: _Queue | None = None
        self._write: _Queue | None = None
        self._complete = 0
        if spec.compressed is not None:
            memory = at_clock(spec.compressed, clock)
            self._read_cost, self._write_cost = memory.decompress, memory.compress
            return
        assert spec.block is not None
        drive = at_clock(spec.block, clock)
        self._read_cost = self._write_cost = drive.submit
        self._complete = drive.complete
        self._read = _Queue(spec.block.read_latency, spec.block.read_bandwidth)
        self._write = _Queue(spec.block.write_latency, spec.block.write_bandwidth)

    def read(self, cpu: Cpu, done: Done) -> Steps[None]:
        """Read a page: *done* is called when it is there, before this returns if that is synchronous."""
        return self._request(cpu, self._read_cost, self._read, done)

    def write(self, cpu: Cpu, done: Done) -> Steps[None]:
        """The same for a write."""
        return self._request(cpu, self._write_cost, self._write, done)

    def _request(self, cpu: Cpu, cost: int, queue: _Queue | None, done: Done) -> Steps[None]:
        cpu.work(cost, SWAP)
        if cpu.pending:
            yield cpu.take_pending()
        if queue is None:
            cpu.work(done(), SWAP)
            return

        def ring() -> None:
            cpu.interrupt(lambda _: (self._complete + done(), lambda _: None))

        cpu.engine.call_in(queue.enter(cpu.engine._now), ring)
