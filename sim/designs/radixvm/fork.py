"""fork and the end of a process (vmap::copy, ~vmap).

    parent  |- lock everything; each page with a frame: to be copied, away from own table -- ask, acks -|
    child      page by page the same descriptors, and a reference more to each frame

The child's tree has a descriptor for each page, also where the parent's is folded. Its tables are empty: each
page is faulted in again.
"""

from __future__ import annotations

from sim.designs.radixvm.refcache import Counted
from sim.designs.radixvm.slots import ALL_PAGES, Desc, Node
from sim.designs.radixvm.tables import Shootdown
from sim.designs.radixvm.tree import RadixTree
from sim.designs.radixvm.vmap import Vmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import SYSCALL, AddressSpace, Errno, Exit, Fork, OutOfMemory
from sim.quantities import PAGE_BYTES


def fork(mm: Vmap, cpu: Cpu, asked: Fork) -> Steps[AddressSpace | Errno]:
    """Value: the child, or `ENOMEM` with nothing left of it."""
    yield from mm.enter(cpu)
    cpu.work(mm.cost.fork, SYSCALL)
    child = mm.kernel.new_process(cpu)
    held = yield from mm.tree.acquire(cpu, 0, ALL_PAGES)
    others = Shootdown()
    failed = False
    try:
        yield from _copy(mm, child.tree, cpu, others)
    except OutOfMemory:
        failed = True
    yield from mm.tlb.perform(cpu, others)
    yield from mm.unlock(cpu, held)
    if not failed:
        return child
    yield from _end(child, cpu)
    return Errno.ENOMEM


def _copy(mm: Vmap, tree: RadixTree, cpu: Cpu, others: Shootdown) -> Steps[None]:
    """Raises `OutOfMemory`."""
    for node, slot in (yield from mm.tree.slots(cpu, 0, ALL_PAGES)):
        desc = node.slots[slot]
        assert not isinstance(desc, Node)
        if desc is None:
            continue
        first = node.first_page(slot)
        places = yield from tree.open(cpu, first, first + node.span, folded=False)
        if desc.counted is not None:
            if not desc.cow:
                desc.cow = True
                yield from mm.take_pages(cpu, first, first + 1, others, drop=False)
            yield from mm.kernel.refcache.get(cpu, desc.counted)
        yield from tree.assign(cpu, places, desc)


def exit_(mm: Vmap, cpu: Cpu, asked: Exit) -> Steps[None]:
    """The process's last thread ends, as far as its memory."""
    yield from mm.enter(cpu)
    yield from _end(mm, cpu)


def _end(mm: Vmap, cpu: Cpu) -> Steps[None]:
    """Nobody runs in the space any more: its tables go, its tree, and the references to its pages.

    The core leaves the tables by a new CR3 before that, and takes nothing of them along.
    """
    frames, footprint = mm.kernel.frames, mm.kernel.footprint
    for running in mm.tlb.loaded_on:
        running.tlb.flush()
    for root in mm.tlb.roots():
        tables = [table for table in root.tables() if table is not root]
        for slot in range(len(root.entries)):
            root.set(slot, None)
        for table in tables:
            footprint.add("page_table", -PAGE_BYTES)
            yield from frames.free(cpu, table.frame)
    gone: list[Counted] = []
    for _, _, desc in mm.tree.values():
        desc.cores = 0
        if isinstance(desc, Desc) and desc.counted is not None:
            gone.append(desc.counted)
    for node in mm.tree.clear():
        footprint.add("vma", -PAGE_BYTES)
        yield from frames.free(cpu, node.frame)
    yield from mm.let_go(cpu, gone)
