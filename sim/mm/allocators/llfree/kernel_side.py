"""What Linux does around LLFree, beside the call: the count of the zone's free pages, and descriptors.

    get    watermark: the zone's count is read | LLFree | the cpu's share of the count -= pages
    put    check each page's descriptor        | LLFree | the cpu's share += pages
    a share beyond the threshold goes to the count of the zone and to that of all zones: two atomics

Of blocks of 512 pages that are taken one after the other each third one writes the count, and each get on
the other cores has to fetch it again. So LLFree's own scaling is not what the kernel shows. With Linux' own
threshold, 125, each such block would, even where it is given back at once; the port has 1024 more.

Source: luhsra/llfree-linux at 707aae0, mm/page_alloc.c (rmqueue under CONFIG_LLFREE, __free_pages_ok) and
mm/vmstat.c (__mod_zone_page_state, zone_page_state_add).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm.allocators.pooled import ALLOCATE

if TYPE_CHECKING:
    from sim.engine.costs import AtClock
    from sim.mm.allocators.spec import KernelSideSpec

COUNT: Final = Activity("count of free pages")
FAR_ORDER: Final = 6
"""Descriptors of blocks of 2**6 pages are a page apart: 64 bytes each."""


class KernelSide:
    """Linux' side of LLFree on one node."""

    __slots__ = ("_all", "_cost", "_last", "_share", "_zone")

    def __init__(self, machine: Machine, node: int, home: int, cost: AtClock[KernelSideSpec]) -> None:
        self._cost = cost
        self._zone = machine.line(f"free pages of zone {node}", home)
        self._all = machine.line(f"free pages of all zones, from zone {node}", home)
        draw = machine.engine.stream(f"shares of zone {node}").random
        self._share = [int((2 * draw() - 1) * cost.threshold) for _ in machine.cpus]
        """How far each cpu is away from the zone's count: anywhere, or all would write it at the same get."""
        self._last = [-1] * len(machine.cpus)
        """The block that each cpu has last been given or given back."""

    def before_get(self, cpu: Cpu) -> Steps[None]:
        """zone_watermark_fast."""
        cpu.work(self._cost.get, ALLOCATE)
        yield from self._zone.read(cpu, COUNT)

    def after_get(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        """The block is the caller's."""
        if order >= FAR_ORDER and self._last[cpu.id] != frame:
            cpu.stall(self._cost.far_block, ALLOCATE)
        self._last[cpu.id] = frame
        yield from self._count(cpu, -(1 << order))

    def before_put(self, cpu: Cpu, frame: int, order: int) -> None:
        """free_pages_prepare."""
        cost = self._cost
        check = cost.check_cached if self._last[cpu.id] == frame else cost.check
        cpu.work(cost.put + ((1 << order) - 1) * check, ALLOCATE)
        self._last[cpu.id] = frame

    def after_put(self, cpu: Cpu, order: int) -> Steps[None]:
        """The block is LLFree's."""
        yield from self._count(cpu, 1 << order)

    def _count(self, cpu: Cpu, pages: int) -> Steps[None]:
        """__mod_zone_page_state."""
        share = self._share[cpu.id] + pages
        if abs(share) > self._cost.threshold:
            share = 0
            yield from self._zone.write(cpu, COUNT)
            yield from self._all.write(cpu, COUNT)
        self._share[cpu.id] = share
