"""brk as a transaction (artifact, kernel/src/process/process_vm/heap.rs; that a heap may shrink is ours).

In the artifact nothing orders threads that move the break at the same time, so two of them may lose memory
(it says "not thread-safe"). Here a spin lock beside it does. What is mapped above the heap is not replaced,
as the artifact would: a heap that cannot grow stays as it is.
"""

from __future__ import annotations

from sim.designs.cortenmm.mm import CortenMm
from sim.designs.cortenmm.munmap import unmap
from sim.designs.cortenmm.va_alloc import HEAP_CLEARANCE, START_BRK
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import READ_WRITE, Brk, OutOfMemory, Piece, Status, beyond_user_memory


def brk(mm: CortenMm, cpu: Cpu, asked: Brk) -> Steps[int]:
    """brk(2). Value: the break after it, which is the one before where the new one is refused."""
    mm.enter(cpu)
    yield from mm.brk_lock.acquire(cpu)
    before = mm.brk
    if asked.at > before:
        if (yield from _grow(mm, cpu, before, asked.at)):
            mm.brk = asked.at
    elif START_BRK <= asked.at < before and mm.kernel.spec.source != "artifact":
        refused = yield from unmap(mm, cpu, asked.at, before)
        if refused is None:
            mm.brk = asked.at
    value = mm.brk
    yield from mm.brk_lock.release(cpu)
    return value


def _grow(mm: CortenMm, cpu: Cpu, before: int, at: int) -> Steps[bool]:
    """Value: whether the heap has grown. Addresses behind its first page are kept free for it
    (init_and_map_clearance)."""
    if beyond_user_memory(before, at - before) or at - START_BRK > HEAP_CLEARANCE:
        return False
    yield from mm.va.claim(cpu, before, HEAP_CLEARANCE if before == START_BRK else at - before)
    try:
        cursor = yield from mm.lock_range(cpu, before, at)
        clear = yield from cursor.is_clear()
        replaced: list[Piece] = []
        if clear:
            replaced = yield from mm.within(cursor, cursor.mark(Status(READ_WRITE)))
    except OutOfMemory:
        return False
    yield from mm.unlock_and_flush(cursor, replaced)
    return clear
