"""munmap (vmap::remove).

    |- lock -| own table, INVLPG | tree | ask, acks |- unlock -| drop the pages' references: own lines

The lock is held until nobody can reach the pages. Where only this core has had them it asks nobody.
"""

from __future__ import annotations

from sim.designs.radixvm.slots import TREE
from sim.designs.radixvm.tables import Shootdown
from sim.designs.radixvm.vmap import Vmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, Munmap, OutOfMemory, beyond_user_memory


def munmap(mm: Vmap, cpu: Cpu, asked: Munmap) -> Steps[Errno | None]:
    """munmap(2)."""
    yield from mm.enter(cpu)
    if asked.pages <= 0 or beyond_user_memory(asked.at, asked.pages):
        return Errno.EINVAL
    start, end = asked.at, asked.at + asked.pages
    cpu.work(mm.cost.munmap, TREE)
    held = yield from mm.tree.acquire(cpu, start, end)
    others = Shootdown()
    try:
        places = yield from mm.tree.open(cpu, start, end, unset=True)
    except OutOfMemory:
        yield from mm.unlock(cpu, held)
        return Errno.ENOMEM
    gone = yield from mm.take_pages(cpu, start, end, others)
    yield from mm.tree.assign(cpu, places, None)
    yield from mm.tlb.perform(cpu, others)
    yield from mm.unlock(cpu, held)
    yield from mm.let_go(cpu, gone)
    return None
