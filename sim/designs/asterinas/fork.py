"""fork, and what exec and exit leave (vmar_impls/fork.rs, unmap.rs clear, handle.rs).

    parent  read lock |- for each mapping: into the child's set | cursors over it in child and parent:
    child   write lock |                   take the right to write, share, copy | the last: flush + acks -|

Other threads of the parent fault meanwhile, but not where a cursor is, and they write by old translations
until the flush. A child's table is made as its pages come. The right to write goes from shared memory, too.

    exit    write lock | the set is emptied | one cursor over everything: unmap | flush + acks
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.asterinas.mapping import Mapping
from sim.designs.cortenmm.fork import copy_run
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import (
    PAGE_TABLE,
    PTES_PER_LINE,
    SLOTS,
    SYSCALL,
    USER_PAGES,
    AddressSpace,
    Errno,
    Fork,
    OutOfMemory,
    PageTablePage,
    Present,
)
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.asterinas.vmar import Vmar
    from sim.designs.cortenmm.cursor import Cursor


def fork(mm: Vmar, cpu: Cpu, asked: Fork) -> Steps[AddressSpace | Errno]:
    """Value: the child, or `ENOMEM` with nothing left of it."""
    mm.enter(cpu)
    cpu.work(mm.cost.fork, SYSCALL)
    yield from mm.brk_lock.acquire(cpu)
    child = mm.asterinas.new_process(cpu)
    child.brk = mm.brk
    yield from mm.vmar_lock.read_lock(cpu)
    yield from child.vmar_lock.write_lock(cpu)
    failed = False
    try:
        mappings = list(mm.inner)
        for mapping in mappings:
            yield from _copy_mapping(mm, child, cpu, mapping, last=mapping is mappings[-1])
    except OutOfMemory:
        failed = True
        yield from mm.tlb.flush(cpu, range(0), whole=True)
    yield from child.vmar_lock.write_unlock(cpu)
    yield from mm.vmar_lock.read_unlock(cpu)
    yield from mm.brk_lock.release(cpu)
    if not failed:
        return child
    yield from put_space(child, cpu)
    return Errno.ENOMEM


def put_space(mm: Vmar, cpu: Cpu) -> Steps[None]:
    """`AsterinasSpace.put`."""
    mm.users -= 1
    if mm.users:
        return
    yield from mm.vmar_lock.write_lock(cpu)
    mappings = list(mm.inner)
    for mapping in mappings:
        yield from mm.mapped(cpu, mapping, -1)
    yield from mm.inner.clear(cpu)
    yield from mm.unmap_pages(cpu, 0, USER_PAGES)
    for mapping in mappings:
        mm.drop(cpu, mapping)
    yield from mm.vmar_lock.write_unlock(cpu)
    mm.kernel.footprint.add("page_table", -PAGE_BYTES)  # the root
    mm.brk = mm.start_brk


def _copy_mapping(mm: Vmar, child: Vmar, cpu: Cpu, mapping: Mapping, *, last: bool) -> Steps[None]:
    """Raises `OutOfMemory`, with no lock left but the two of the Vmars."""
    yield from child.put_in(cpu, mapping)
    rmap = mapping.vmo.mappers_lock if mapping.vmo is not None and mapping.shared else None
    if rmap is not None:
        yield from rmap.acquire(cpu)
    failed: OutOfMemory | None = None
    try:
        yield from _copy_pages(mm, child, cpu, mapping, last=last)
    except OutOfMemory as error:
        failed = error
    if rmap is not None:
        yield from rmap.release(cpu)
    if failed is not None:
        raise failed


def _copy_pages(mm: Vmar, child: Vmar, cpu: Cpu, mapping: Mapping, *, last: bool) -> Steps[None]:
    """Raises `OutOfMemory`, with no transaction left open."""
    target = yield from child.lock(cpu, mapping.start, mapping.end)
    source = yield from child.within(target, mm.lock(cpu, mapping.start, mapping.end))
    yield from child.within(target, mm.within(source, _copy(source, target)))
    if last:
        yield from mm.tlb.flush(cpu, range(0), whole=True)
    yield from mm.unlock(source)
    yield from child.unlock(target)


def _copy(source: Cursor, target: Cursor) -> Steps[None]:
    """cow_copy_pt. Raises `OutOfMemory`."""
    for table in list(source.covering.tables()):
        if table.level > 1 or table.base + SLOTS <= source.start or source.end <= table.base:
            continue
        source.cpu.work(source.space.cost.walk_level, PAGE_TABLE)
        first, stop = max(source.start, table.base), min(source.end, table.base + SLOTS)
        if not table.present:
            continue
        yield from target.make_leaves([table.base])
        copy = target.covering.deepest(table.base)
        whole = stop - first == SLOTS and copy.untouched
        if not (whole and copy_run(source, table, copy)):
            yield from _copy_leaf(source, target, table, copy, range(first - table.base, stop - table.base))


def _copy_leaf(
    source: Cursor, target: Cursor, table: PageTablePage, copy: PageTablePage, slots: range
) -> Steps[None]:
    """Entries side by side on a line fetch it once."""
    cpu, cost, frames = source.cpu, source.space.cost, source.space.kernel.frames
    for first in range(slots.start - slots.start % PTES_PER_LINE, slots.stop, PTES_PER_LINE):
        beside = range(max(first, slots.start), min(first + PTES_PER_LINE, slots.stop))
        present = {slot: each for slot in beside if isinstance(each := table.get(slot), Present)}
        if not present:
            continue
        yield from source.store_all(table, present)
        yield from target.store_all(copy, present)
        cpu.work(len(present) * (cost.query + cost.protect + cost.map), PAGE_TABLE)
        for slot, entry in present.items():
            entry.copy_on_write = True
            yield from frames.share(cpu, entry.frame)
            copy.set(slot, Present(entry.frame, entry.rights, copy_on_write=True, dirty=entry.dirty))
