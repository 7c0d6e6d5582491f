"""brk: an mmap or munmap at the heap's end, under the heap's lock (process_vm/heap.rs modify_heap_end)."""

from __future__ import annotations

from sim.designs.asterinas.mapping import Mapping
from sim.designs.asterinas.mmap import add
from sim.designs.asterinas.vmar import Vmar
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import READ_WRITE, Brk, beyond_user_memory


def brk(mm: Vmar, cpu: Cpu, asked: Brk) -> Steps[int]:
    """brk(2). Value: the break after it, which is the one before where the new one is refused."""
    mm.enter(cpu)
    yield from mm.brk_lock.acquire(cpu)
    before = mm.brk
    if asked.at > before and not beyond_user_memory(before, asked.at - before):
        grown = yield from mm.change(cpu, _grow(mm, cpu, before, asked.at))
        if grown is True:
            mm.brk = asked.at
    elif mm.start_brk <= asked.at < before:
        refused = yield from mm.change(cpu, mm.truncate(cpu, asked.at, before))
        if refused is None:
            mm.brk = asked.at
    value = mm.brk
    yield from mm.brk_lock.release(cpu)
    return value


def _grow(mm: Vmar, cpu: Cpu, before: int, at: int) -> Steps[bool]:
    """Value: whether there was nothing where the heap is to be."""
    there = yield from mm.inner.over(cpu, before, at)
    if there:
        return False
    yield from add(mm, cpu, Mapping(before, at, READ_WRITE))
    return True
