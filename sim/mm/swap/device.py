"""The device that pages are swapped to (drivers/block/zram/zram_drv.c, mm/page_io.c; 6.13).

    zram   |= compress =|                                 the writer's own work
    drive  |= submit =|............ device ...........|= interrupt =|

A drive is asked and interrupts when it is done (`drive`). Nobody waits for a write but who needs the page.
"""

from __future__ import annotations

from typing import Final

from sim.engine import Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu, Machine
from sim.mm.drive import Done, Drive
from sim.mm.swap.spec import SwapSpace

SWAP: Final = Activity("swap")
"""Activity: slots, swap cache, and what a device costs its user."""


class SwapDevice:
    """*synchronous*: a request is done when its maker comes back (SWP_SYNCHRONOUS_IO)."""

    __slots__ = ("_compress", "_decompress", "_drive", "synchronous")

    def __init__(self, machine: Machine, spec: SwapSpace) -> None:
        self.synchronous = spec.compressed is not None
        self._drive = None if spec.block is None else Drive(machine, spec.block, SWAP)
        self._compress = self._decompress = 0
        if spec.compressed is not None:
            memory = at_clock(spec.compressed, machine.spec.clock)
            self._compress, self._decompress = memory.compress, memory.decompress

    def read(self, cpu: Cpu, done: Done) -> Steps[None]:
        """Read a page: *done* is called when it is there, before this returns if that is synchronous."""
        if self._drive is None:
            return self._now(cpu, self._decompress, done)
        return self._drive.read(cpu, done)

    def write(self, cpu: Cpu, done: Done) -> Steps[None]:
        """The same for a write."""
        if self._drive is None:
            return self._now(cpu, self._compress, done)
        return self._drive.write(cpu, done)

    def _now(self, cpu: Cpu, cost: int, done: Done) -> Steps[None]:
        cpu.work(cost, SWAP)
        if cpu.pending:
            yield cpu.take_pending()
        cpu.work(done(), SWAP)
