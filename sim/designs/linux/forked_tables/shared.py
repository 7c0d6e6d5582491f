"""A fork that leaves level-1 tables to parent and child (On-demand-fork, Zhao, Gong and Fonseca, EuroSys'21;
COW PTE, Lin, linux-mm, v5 of April 2023).

    fork        owners of the table + 1 | no write in both level-2 entries ... one flush for all
    write       its only owner by now: write allowed again
                else new table | PTL: copy 512 entries, link, flush 2 MiB, owners - 1 | the page, as always
    read        nothing
    munmap, ... a table that goes as a whole: unlink ... flush, owners - 1; else as a write does

Whoever changes an entry takes the table first (`take`): faults that fill or copy, mprotect, madvise, mremap,
userfaultfd, and VMAs that are cut inside of it. The table's lock, which all its processes have in common,
orders them. In the originals an owner less is counted before the flush; here it is after it, as with pages:
until then TLBs may have the pages of a table that the others believe to be theirs alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.designs.linux.forked_tables.accounts import Accounts, CountedPages, OneAccount
from sim.designs.linux.tables import ensure_pmd_table
from sim.designs.linux.vma import VmFlags
from sim.engine import Steps
from sim.engine.costs import at_clock
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, SLOTS, PageTablePage, Present, slot_of
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.fork_spec import ForkSpec
    from sim.designs.linux.gather import Gather
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.vma import Vma
    from sim.mm import FrameTable


class ForkedTables:
    """What a kernel does with shared tables."""

    __slots__ = ("_accounts", "_in_use", "_several", "_share_cost")

    def __init__(self, spec: ForkSpec, clock: int, in_use: FrameTable) -> None:
        """*in_use* knows the owners of frames; kernel code runs at *clock*."""
        costs = at_clock(spec.costs, clock)
        self._several = spec.tables != "on-demand"
        self._share_cost: int = costs.share
        self._in_use = in_use
        self._accounts: Accounts
        if spec.tables == "cow-pte":
            self._accounts = CountedPages(costs.copy_entry)
        else:
            self._accounts = OneAccount(costs.count_entry)

    # -- fork -----------------------------------------------------------------------------------------------

    def share(self, mm: LinuxMm, child: LinuxMm, cpu: Cpu, vma: Vma, page: int) -> Steps[bool]:
        """The child gets the table of *page*, a page of *vma*. Value: False means copy it: *mm* has it to
        itself then. The caller holds both mmap_locks for writing. Raises `OutOfMemory`."""
        table, slot = mm.leaf_table(page), slot_of(page, 2)
        assert table is not None
        upper = child.table_at(page, 2)
        if upper is not None and upper.child(slot) is table:
            return True  # with a VMA before this one
        if not self._may_be_shared(mm, vma, table):
            yield from self.take(mm, cpu, page)
            return False
        upper = yield from ensure_pmd_table(child, cpu, page)
        above = mm.table_at(page, 2)
        assert above is not None
        cpu.work(self._share_cost, PAGE_TABLE)
        _fetch(mm, cpu, table)
        lock = mm.table_lock(table)
        yield from lock.acquire(cpu)
        yield from table.meta.write(cpu, PAGE_TABLE)  # page_ref_inc
        self._in_use.get(table.frame)
        yield from above.line(slot).store(cpu, PAGE_TABLE)  # pmdp_set_wrprotect
        yield from self._accounts.shared(mm, child, cpu, table)
        yield from upper.line(slot).store(cpu, PAGE_TABLE)
        upper.set(slot, table)
        yield from lock.release(cpu)
        return True

    def _may_be_shared(self, mm: LinuxMm, vma: Vma, table: PageTablePage) -> bool:
        """Whether all that is mapped there is private, and inherited as it is."""
        start, end = table.base, table.base + SLOTS
        if self._several:
            return all(_is_plain(each) for each in mm.tree.overlapping(start, end))
        return _is_plain(vma) and vma.area.file is None and vma.start <= start and end <= vma.end

    # -- one's own table ------------------------------------------------------------------------------------

    def take_for_fault(self, mm: LinuxMm, cpu: Cpu, page: int, write: bool) -> Steps[None]:
        """`take` before a fault that will change an entry, not one that somebody else has served."""
        table = mm.leaf_table(page)
        if table is None or table.sharing is None:
            return
        if write or not isinstance(table.get(slot_of(page, 1)), Present):
            yield from self.take(mm, cpu, page)

    def take_range(self, mm: LinuxMm, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """`take` of all tables of [*start*, *end*)."""
        for page in range(start - start % SLOTS, end, SLOTS):
            yield from self.take(mm, cpu, page)

    def take(self, mm: LinuxMm, cpu: Cpu, page: int) -> Steps[None]:
        """The table of *page*, if there is one, is the process's own afterwards (break_cow_pte). The caller
        keeps forks of the process away. Raises `OutOfMemory`."""
        while (table := mm.leaf_table(page)) is not None and table.sharing is not None:
            _fetch(mm, cpu, table)
            lock = mm.table_lock(table)
            yield from lock.acquire(cpu)
            if _has(mm, table):
                kept = yield from self._keep(mm, cpu, table)
                if kept:
                    yield from lock.release(cpu)
                    return
            yield from lock.release(cpu)
            yield from self._replace(mm, cpu, table)

    def _keep(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[bool]:
        """Under its lock: *table* is the process's own if nobody else has it by now; value: whether so
        (cow_pte_fallback)."""
        yield from table.meta.read(cpu, PAGE_TABLE)
        if self._in_use.owners(table.frame) > 1:
            return False
        yield from self._accounts.kept(mm, cpu, table)
        above = mm.table_at(table.base, 2)
        assert above is not None
        yield from above.line(slot_of(table.base, 2)).store(cpu, PAGE_TABLE)
        table.sharing = None
        if self._accounts.flushes_always:
            yield from mm.tlb.flush(cpu, _pages_of(table))
        return True

    def _replace(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        """A copy takes the place of *table*, unless another thread was faster."""
        cpu.work(mm.cost.table_alloc, PAGE_TABLE)
        frame = yield from mm.new_zeroed_page(cpu)
        yield from mm.kernel.charges.charge_kmem(cpu, frame, mm.memcg)
        home = mm.machine.spec.topology.socket_of_node(mm.pages.node(cpu, frame))
        copy = PageTablePage(mm.machine, 1, table.base, frame, home, maker=cpu.id)
        outer, inner = mm.table_lock(copy), mm.table_lock(table)
        yield from outer.acquire(cpu)
        yield from inner.acquire(cpu)
        wanted = _has(mm, table) and self._in_use.owners(table.frame) > 1
        if wanted:
            yield from self._accounts.copied(mm, cpu, table, copy)
            above, slot = mm.table_at(table.base, 2), slot_of(table.base, 2)
            assert above is not None
            yield from above.line(slot).store(cpu, PAGE_TABLE)
            above.set(slot, copy)
            yield from mm.tlb.flush(cpu, _pages_of(table))
            yield from table.meta.write(cpu, PAGE_TABLE)  # page_ref_dec
            self._in_use.put(table.frame)
        yield from inner.release(cpu)
        yield from outer.release(cpu)
        if not wanted:
            yield from mm.kernel.free_table(cpu, frame)

    # -- a table that goes ----------------------------------------------------------------------------------

    def leave(
        self, mm: LinuxMm, cpu: Cpu, table: PageTablePage, page: int, stop: int, gather: Gather
    ) -> Steps[bool]:
        """Pages [*page*, *stop*) of *table* are unmapped. Value: whether all of it has gone; else, or where
        nobody else has it, it is the process's own (zap_cow_pte). Raises `OutOfMemory`."""
        if stop - page < SLOTS and not gather.whole:
            yield from self.take(mm, cpu, page)
            return False
        if self._accounts.flushes_always:
            yield from gather.flush(cpu)
        lock = mm.table_lock(table)
        yield from lock.acquire(cpu)
        if not _has(mm, table) or (yield from self._keep(mm, cpu, table)):
            yield from lock.release(cpu)
            return False
        yield from self._accounts.left(mm, cpu, table, gather)
        above, slot = mm.table_at(page, 2), slot_of(page, 2)
        assert above is not None
        yield from above.line(slot).store(cpu, PAGE_TABLE)
        above.set(slot, None)
        gather.left(table)
        yield from lock.release(cpu)
        if self._accounts.flushes_always:
            yield from gather.flush(cpu)
        return True

    def put(self, mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> Steps[None]:
        """No TLB of the process shows what *table* has, which it has left: one owner less. The last one frees
        it, and the pages that are the table's."""
        lock = mm.table_lock(table)
        yield from lock.acquire(cpu)
        yield from table.meta.write(cpu, PAGE_TABLE)
        last = self._in_use.owners(table.frame) == 1
        if not last:
            self._in_use.put(table.frame)
        yield from lock.release(cpu)
        if last:
            yield from self._accounts.orphaned(mm, cpu, table)
            mm.stat.forget_table()
            yield from mm.kernel.free_table(cpu, table.frame)


def _fetch(mm: LinuxMm, cpu: Cpu, table: PageTablePage) -> None:
    """The descriptor of *table*, with its lock and the count of its owners, is in no cache any more where the
    process has more pages than caches hold: it was last used when the table was filled, and the next one's
    lies 32 KiB away."""
    machine = mm.machine
    if (mm.stat.anon_pages + mm.stat.file_pages) * PAGE_BYTES > machine.spec.memory.llc:
        cpu.stall(machine.memory.latency(cpu, mm.pages.node(cpu, table.frame)), PAGE_TABLE)


def _is_plain(vma: Vma) -> bool:
    odd = vma.locked or vma.hugetlb or VmFlags.UFFD_MISSING in vma.area.flags
    return not vma.area.shared and not odd


def _has(mm: LinuxMm, table: PageTablePage) -> bool:
    """Whether *mm* still has *table*, and as a shared one."""
    return mm.leaf_table(table.base) is table and table.sharing is not None


def _pages_of(table: PageTablePage) -> range:
    return range(table.base, table.base + SLOTS)
