"""INVLPGB and TLBSYNC: one cpu drops translations on all others without interrupting them.

    cpu A   issue | issue |....... sync: until every cpu has dropped them .......|
    cpu B              issue |.......... waits for A's ..........|..... sync .....|

INVLPGB is asynchronous, TLBSYNC waits. The fabric carries one TLBSYNC at a time, first come, first served.
The time is known on arrival, so the queue needs no events. Sources: AMD's manual, volume 3, and Linux 6.15
arch/x86/include/asm/tlb.h, both recalled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.hardware.cpu import TLB_FLUSH, Cpu

if TYPE_CHECKING:
    from sim.hardware.spec import Broadcast


class TlbBroadcast:
    """The machine's medium for invalidations."""

    __slots__ = ("_free_at", "_issue", "_per_issue", "_sync")

    def __init__(self, spec: Broadcast, clock: int) -> None:
        cost = at_clock(spec, clock)
        self._issue = cost.issue
        self._per_issue = cost.pages_per_issue
        self._sync = cost.sync
        self._free_at = 0

    def invalidate(self, cpu: Cpu, pages: int) -> Steps[None]:
        """Issue the invalidation of *pages* neighbouring pages (0: of a whole address space) and wait for it.

        When it returns, the caller drops the entries: until then any cpu may have used them.
        """
        cpu.work(max(1, -(-pages // self._per_issue)) * self._issue, TLB_FLUSH)
        yield cpu.take_pending()
        now = cpu.engine._now
        self._free_at = max(now, self._free_at) + self._sync
        cpu.probe.tlb_broadcast(cpu, pages)
        cpu.stall(self._free_at - now, TLB_FLUSH)
        yield cpu.take_pending()
