"""Page-table pages: made when a fault needs them, freed with the last mapping (mm/memory.c, 6.13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.fault_retry import FaultRetry
from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PAGES_PER_ENTRY, PageTablePage, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma


P4D: Final = 4
"""The level of the tables below a root of five levels. Nobody counts them (__p4d_alloc, p4d_free_tlb)."""


def ensure_leaf_table(mm: LinuxMm, cpu: Cpu, page: int) -> Steps[PageTablePage]:
    """`ensure_table` down to level 1, where nobody maps a huge page meanwhile."""
    table = yield from ensure_table(mm, cpu, page, 1)
    assert table is not None
    return table


def ensure_pmd_table(mm: LinuxMm, cpu: Cpu, page: int) -> Steps[PageTablePage]:
    """`ensure_table` down to level 2."""
    table = yield from ensure_table(mm, cpu, page, 2)
    assert table is not None
    return table


def ensure_table(
    mm: LinuxMm, cpu: Cpu, page: int, level: int, *, looked_up: Vma | None = None
) -> Steps[PageTablePage | None]:
    """__p4d_alloc, __pud_alloc, __pmd_alloc, __pte_alloc: make missing tables.

    Value: the one of *level*, None where a huge page stands in its place. *looked_up* is the VMA of a fault
    that does not hold it: raises `FaultRetry` where that has gone, rather than link a table.

    The page is allocated before the lock is taken; whoever comes second gives his back. Raises `OutOfMemory`.
    """
    if mm.replicas is not None:
        return (yield from mm.replicas.ensure(cpu, page))
    table = mm.root
    while table.level > level:
        slot = slot_of(page, table.level)
        child = table.child(slot) or (yield from _make_table(mm, cpu, table, page, looked_up))
        if child is None:
            return None
        yield from table.line(slot).read(cpu, PAGE_TABLE)
        table = child
    return table


def find_table(mm: LinuxMm, cpu: Cpu, page: int) -> Steps[PageTablePage | None]:
    """The level-1 table of *page*, for a fault that has no lock. Value: None where there is none yet."""
    table = mm.root
    while table.level > 1:
        slot = slot_of(page, table.level)
        yield from table.line(slot).read(cpu, PAGE_TABLE)
        child = table.child(slot)
        if child is None:
            return None
        table = child
    return table


def _make_table(
    mm: LinuxMm, cpu: Cpu, parent: PageTablePage, page: int, looked_up: Vma | None
) -> Steps[PageTablePage | None]:
    slot = slot_of(page, parent.level)
    cpu.work(mm.cost.table_alloc, PAGE_TABLE)
    frame = yield from mm.new_table_page(cpu)
    yield from mm.kernel.charges.charge_kmem(cpu, frame, mm.memcg)
    # Level-1 tables are linked under the level-2 table's split lock, upper ones under page_table_lock. Where
    # faults do not hold their VMA all are linked under the lock under which that is marked.
    split = parent.level == 2 and not mm.vma_locks.rechecks
    lock = mm.table_lock(parent) if split else mm.page_table_lock
    yield from lock.acquire(cpu)
    there = looked_up is None or (yield from mm.still(cpu, looked_up, parent, page, looked_up.rights))
    if there and parent.get(slot) is None:
        home = mm.machine.spec.topology.socket_of_node(mm.pages.node(cpu, frame))
        child = PageTablePage(mm.machine, parent.level - 1, page, frame, home, maker=cpu.id)
        if child.level < P4D:
            yield from mm.stat.inc_nr_ptes(cpu)
        yield from parent.line(slot).store(cpu, PAGE_TABLE)
        parent.set(slot, child)
        yield from lock.release(cpu)
        return child
    other = parent.child(slot)
    yield from lock.release(cpu)
    yield from mm.kernel.charges.uncharge_kmem(cpu, frame)
    yield from mm.pages.free(cpu, frame)
    if not there:
        raise FaultRetry(page)
    return other


def free_pgtables(
    mm: LinuxMm, cpu: Cpu, start: int, end: int, floor: int, ceiling: int, gather: Gather
) -> Steps[None]:
    """Unlink the tables of [start, end) that lie wholly in the hole [floor, ceiling) between two mappings.

    They go to *gather*, with which they are freed. The root stays. Nobody else can be in such a table: the
    VMAs of the hole have left the tree, and no fault is in them.
    """
    yield from _free_below(mm, cpu, mm.root, start, end, floor, ceiling, gather)


def _free_below(
    mm: LinuxMm,
    cpu: Cpu,
    table: PageTablePage,
    start: int,
    end: int,
    floor: int,
    ceiling: int,
    gather: Gather,
) -> Steps[None]:
    span = PAGES_PER_ENTRY[table.level]
    first, last = max(start, table.base), min(end, table.base + PAGES_PER_ENTRY[table.level + 1])
    for slot in range(slot_of(first, table.level), slot_of(last - 1, table.level) + 1):
        child = table.child(slot)
        if child is None:
            continue
        if child.level > 1:
            yield from _free_below(mm, cpu, child, start, end, floor, ceiling, gather)
        if floor <= child.base and child.base + span <= ceiling:
            if mm.replicas is not None:
                yield from mm.replicas.unlink(cpu, child, max(start, child.base), gather)
                table.set(slot, None)
                continue
            yield from table.line(slot).store(cpu, PAGE_TABLE)
            table.set(slot, None)
            gather.unlinked(child, max(start, child.base))
            cpu.work(mm.cost.table_free, PAGE_TABLE)
            if child.level < P4D:
                yield from mm.stat.dec_nr_ptes(cpu)


def hole_around(mm: LinuxMm, start: int, end: int) -> tuple[int, int]:
    """The pages from the end of the mapping before [start, end), which is mapped no more, to the next one."""
    return mm.tree.hole(start, end, PAGES_PER_ENTRY[mm.root.level + 1])
