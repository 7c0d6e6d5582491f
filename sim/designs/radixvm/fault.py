"""Page faults (vmap::pagefault, vmap::ensure_page).

    |- lock the page's slot -| what does it say?                                        |- unlock -|
         no frame                    zero one; into this core's table         (allocating)
         a frame                     into this core's table                   (filling: others have it, too)
         a frame to be copied, write own table and others': away; copy; into this core's table; ask, acks

A frame is always copied for who writes it, even by its last owner: nobody knows who that is before two epochs
are over.
"""

from __future__ import annotations

from sim.designs.radixvm.refcache import Counted
from sim.designs.radixvm.slots import TREE, Desc, Node
from sim.designs.radixvm.tables import Shootdown
from sim.designs.radixvm.vmap import Vmap
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import OutOfMemory, SegmentationFault


def user_fault(mm: Vmap, cpu: Cpu, page: int, write: bool) -> Steps[None]:
    """Bring *page* into this core's table. Raises `SegmentationFault` for what is not allowed, and
    `OutOfMemory`."""
    yield from mm.kernel.refcache.enter(cpu)
    cpu.work(mm.cost.fault, TREE)
    held = yield from mm.tree.acquire(cpu, page, page + 1)
    others = Shootdown()
    try:
        old = yield from _bring_in(mm, cpu, page, write, others)
    except (SegmentationFault, OutOfMemory):
        yield from mm.tlb.perform(cpu, others)
        yield from mm.unlock(cpu, held)
        raise
    yield from mm.tlb.perform(cpu, others)
    yield from mm.unlock(cpu, held)
    if old is not None:
        yield from mm.kernel.refcache.put(cpu, old)


def _bring_in(mm: Vmap, cpu: Cpu, page: int, write: bool, others: Shootdown) -> Steps[Counted | None]:
    """Value: what the page had before, if it is another's now."""
    node, slot = yield from mm.tree.find(cpu, page)
    cpu.work(mm.cost.slot, TREE)
    desc = node.slots[slot]
    assert not isinstance(desc, Node)
    if desc is None or not desc.allows(write):
        raise SegmentationFault(f"{cpu} touched page {page:#x}, of which the tree says: {desc}")
    old: Counted | None = None
    if desc.counted is None:
        if node.level:
            desc = yield from _single_out(mm, cpu, page)
        yield from _allocate(mm, cpu, desc, None)
    elif write and desc.cow:
        old = desc.counted
        yield from mm.take_pages(cpu, page, page + 1, others, drop=False)
        yield from _allocate(mm, cpu, desc, old)
    yield from mm.tlb.insert(cpu, page, desc)
    return old


def _single_out(mm: Vmap, cpu: Cpu, page: int) -> Steps[Desc]:
    """The descriptor of *page* alone, which was folded with others. Raises `OutOfMemory`."""
    ((node, slot),) = yield from mm.tree.open(cpu, page, page + 1)
    desc = node.slots[slot]
    assert isinstance(desc, Desc)
    return desc


def _allocate(mm: Vmap, cpu: Cpu, desc: Desc, source: Counted | None) -> Steps[None]:
    """A frame for *desc*, of zeros, or a copy of *source*. Raises `OutOfMemory`."""
    kernel, memory = mm.kernel, mm.machine.memory
    frame = yield from kernel.frames.allocate(cpu)
    node = kernel.frames.node(cpu, frame)
    if source is None:
        yield from memory.clear_page(cpu, node, frame)
    else:
        there = kernel.frames.node(cpu, source.frame)
        yield from memory.clear_page(cpu, node, frame)
        yield from memory.copy_page(cpu, node, frame, source=there)
    if cpu.heard:
        cpu.probe.frame_filled(cpu, frame, None if source is None else source.frame)
    counted = yield from kernel.refcache.make(cpu, frame)
    yield from kernel.refcache.get(cpu, counted)  # the slot's; the caller's own goes at once
    yield from kernel.refcache.put(cpu, counted)
    desc.counted, desc.cow = counted, False
