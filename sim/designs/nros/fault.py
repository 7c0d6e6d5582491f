"""Page faults (irq.rs, pf_handler).

There is no demand paging. A fault means that this node's replica has not replayed a map or an adjust that is
over elsewhere, or that the access is wrong. To resolve the page brings the replica up to date.

    |- the tail as it is completed | replica there? else replay, or wait |- reader: walk the table -|
"""

from __future__ import annotations

from sim.designs.nros.process import NrosProcess
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SegmentationFault


def user_fault(mm: NrosProcess, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """Come back when the replica has what the access needs. Raises `SegmentationFault` if there is no such
    thing."""
    cpu.disable_interrupts()
    found = yield from mm.replica_of(cpu).resolve(cpu, page)
    mm.leave(cpu)
    if found is None or not found.allows(write):
        raise SegmentationFault(f"{cpu} touched page {page:#x}, which its replica has as: {found}")
