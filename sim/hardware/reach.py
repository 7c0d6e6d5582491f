"""What of a structure a core has near: the lines in its own caches, and the pages in its TLB.

Lines move between cores as `sim.hardware.line` says. A line that a core has and that others leave alone may
still have fallen out of the core's own caches, into the last-level cache, for want of room
(`memory.core_cache` of the machine); and a structure with many pages is one for whose addresses the TLB has
too few entries. Both are lists of what was used last. Only what is told here is in them, not what else the
core does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.hardware.tlb import Tlb
from sim.hardware.walks import RecentLines
from sim.quantities import LINE_BYTES, PAGE_BYTES

if TYPE_CHECKING:
    from sim.hardware.cpu import Cpu
    from sim.hardware.machine import Machine

_LINES_A_PAGE: Final = PAGE_BYTES // LINE_BYTES


class Reach:
    """The lists of all cores. A line is known by its address in lines.

    Without `memory.core_cache` in the machine's file no line falls out.
    """

    __slots__ = ("_lines", "_miss", "_tlbs")

    def __init__(self, machine: Machine) -> None:
        spec = machine.spec
        own = spec.memory.core_cache
        self._miss = own.miss.at(spec.clock) if own else 0
        cores = 1 + max(cpu.core for cpu in machine.cpus)
        self._lines = [RecentLines(own.size // LINE_BYTES) for _ in range(cores)] if own else []
        self._tlbs: list[Tlb | None] = [None] * cores
        for cpu in machine.cpus:
            if self._tlbs[cpu.core] is None:
                self._tlbs[cpu.core] = Tlb(spec, RecentLines(1))  # tables are near: no walk asks for it

    def use(self, cpu: Cpu, line: int, *, had: bool) -> int:
        """*cpu* loads or stores to *line*, which it *had* or which comes from elsewhere and is paid for.
        Value: what it takes (ps) beyond a hit."""
        cost = 0
        if self._lines and not self._lines[cpu.core].use(line) and had:
            cost = self._miss
        return cost + self._translate(cpu, line // _LINES_A_PAGE)

    def _translate(self, cpu: Cpu, page: int) -> int:
        tlb = self._tlbs[cpu.core]
        assert tlb is not None
        if tlb.lookup(page) is None:
            return tlb.fill(page, page, True)
        return tlb.promote(page)
