"""mprotect (vmap::mprotect).

    |- lock -| page by page: rights; what gets less away from own table | ask once, acks |- unlock -|

Rights that are given cost nothing more: the next write faults. It ends at a hole.

Three things are mended. sv6 forgets to ask the others where it ends at a hole. It changes the one descriptor
of a folded part for all of that, even where only some of its pages were meant; here they get one of their
own. And it knows the right to write alone; here rights are as mmap has them, and whatever is taken away is.
"""

from __future__ import annotations

from sim.designs.radixvm.slots import TREE, Node
from sim.designs.radixvm.tables import Shootdown
from sim.designs.radixvm.vmap import Vmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import Errno, Mprotect, OutOfMemory, beyond_user_memory


def mprotect(mm: Vmap, cpu: Cpu, asked: Mprotect) -> Steps[Errno | None]:
    """mprotect(2)."""
    yield from mm.enter(cpu)
    if asked.pages == 0:
        return None
    if beyond_user_memory(asked.at, asked.pages):
        return Errno.ENOMEM
    cpu.work(mm.cost.mprotect, TREE)
    end = asked.at + asked.pages
    held = yield from mm.tree.acquire(cpu, asked.at, end)
    others = Shootdown()
    try:
        failed = yield from _protect(mm, cpu, asked, end, others)
    except OutOfMemory:
        failed = Errno.ENOMEM
    yield from mm.tlb.perform(cpu, others)
    yield from mm.unlock(cpu, held)
    return failed


def _protect(mm: Vmap, cpu: Cpu, asked: Mprotect, end: int, others: Shootdown) -> Steps[Errno | None]:
    """Raises `OutOfMemory`, with nothing changed."""
    yield from mm.tree.open(cpu, asked.at, end, unset=True)
    for node, slot in (yield from mm.tree.slots(cpu, asked.at, end)):
        desc = node.slots[slot]
        assert not isinstance(desc, Node)
        if desc is None:
            return Errno.ENOMEM
        if desc.rights == asked.rights:
            continue
        lower = desc.rights & ~asked.rights
        if lower and desc.counted is not None:
            page = node.first_page(slot)
            yield from mm.take_pages(cpu, page, page + 1, others, drop=False)
        cpu.work(mm.cost.fill_slot, TREE)
        yield from mm.tree.write(cpu, node, slot)
        desc.rights = asked.rights
    return None
