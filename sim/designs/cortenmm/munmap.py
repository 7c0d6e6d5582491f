"""munmap as a transaction (SOSP'25, figure 8; artifact, kernel/src/vm/vmar)."""

from __future__ import annotations

from sim.designs.cortenmm.mm import CortenMm
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, Munmap, OutOfMemory, beyond_user_memory


def munmap(mm: CortenMm, cpu: Cpu, asked: Munmap) -> Steps[Errno | None]:
    """munmap(2)."""
    mm.enter(cpu)
    if asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    return (yield from unmap(mm, cpu, asked.at, asked.at + asked.pages))


def unmap(mm: CortenMm, cpu: Cpu, start: int, end: int) -> Steps[Errno | None]:
    """One transaction: clear the range. Remote TLBs are flushed lazily, frames stay pinned until then.

    `ENOMEM`, with all as it was, where an end of the range lies inside a large mark and there is no memory
    for the table that is to replace it.
    """
    try:
        cursor = yield from mm.lock_range(cpu, start, end)
        removed = yield from mm.within(cursor, cursor.unmap())
    except OutOfMemory:
        return Errno.ENOMEM
    yield from mm.unlock_and_flush(cursor, removed)
    return None
