"""mmap as a transaction (SOSP'25, figure 8; artifact, kernel/src/vm/vmar)."""

from __future__ import annotations

from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Mmap, Status


def mmap(mm: CortenMm, cpu: Cpu, asked: Mmap) -> Steps[int]:
    """Allocate addresses, then one transaction: check the range, mark it. No page is mapped."""
    mm.enter(cpu)
    if asked.at is None:
        at = yield from mm.va.allocate(cpu, asked.pages)
    else:
        at = asked.at
        yield from mm.va.claim(cpu, at, asked.pages)
    cursor = yield from mm.lock(cpu, at, at + asked.pages)
    yield from cursor.query(at)
    replaced = yield from cursor.mark(Status(asked.rights))
    yield from mm.unlock_and_flush(cursor, replaced)
    return at
