"""struct mm_struct and what the operations share: lines, locks, VMAs, page tables.

The operations are in modules of their own, written as the kernel's steps; `space` puts them together.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sim.designs.linux.activities import LOCK_SIGNALS, VMA_WORK
from sim.designs.linux.counters import MmCounters, percpu_stats
from sim.designs.linux.latr.kept import KeptMemory
from sim.designs.linux.latr.lazy_flush import LatrFlush, SweepingMm
from sim.designs.linux.lazy_mm import LazyMm
from sim.designs.linux.recycling.recycler import Recycler
from sim.designs.linux.replicas.flush import SharersFlush
from sim.designs.linux.replicas.trees import NodeTrees
from sim.designs.linux.rss_stat import make_rss_stat
from sim.designs.linux.slab import fill
from sim.designs.linux.space_locks import make_space_locks
from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.vma import AnonVma, Area, Vma
from sim.designs.linux.vma_indexes import VMA_INDEXES, HeardIndex, IndexSite
from sim.designs.linux.vma_locks import VMA_LOCKS, HeardVmaLock, Site, VmaLock
from sim.designs.linux.vma_locks.sequence import MmLockSeq
from sim.engine import Steps
from sim.hardware import CacheLine, Cpu
from sim.mm import (
    FAULT_ENTRY,
    LOCK_PAGE_TABLE,
    PAGE_TABLE,
    PAGES_PER_ENTRY,
    SLOTS,
    USER_PAGES,
    ZERO_FRAME,
    AddressSpace,
    Kept,
    Mapped,
    OutOfMemory,
    PageTablePage,
    Present,
    Reference,
    Rights,
    Subtree,
    SynchronousFlush,
    Walk,
    make_flush,
    new_root,
    slot_of,
    ways_of,
)
from sim.quantities import PAGE_BYTES
from sim.sync import QueuedSpinLock, spin_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.designs.linux.exmap import Exmap
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.slab import SlabObject
    from sim.designs.linux.uffd import Userfaultfd
    from sim.designs.linux.vfs import OpenFiles
    from sim.engine.probe import LockView
    from sim.hardware import Task

PAGES_AT_ONCE: Final = 64
"""Pages of a huge one that are zeroed as one event: a core needs 20 us or so for 256 KiB, and memory 3 us."""

START_BRK: Final = USER_PAGES // 3 * 2
"""First page of the heap: ELF_ET_DYN_BASE, where it begins for a program that brings no data of its own
(fs/binfmt_elf.c and arch/x86/include/asm/elf.h of 6.13.7, without address randomization)."""


class LinuxMm(AddressSpace):
    """What the operations on one process work on.

    *lines* are the fields of mm_struct that are written while others look on, as the design file lays them
    out, and *pgd_line* is that of pgd, where others write it; the values of the counters are in *stat*. The
    heap lies between the pages *start_brk* and *brk*.
    """

    __slots__ = (
        "brk",
        "brk_line",
        "cost",
        "exmap",
        "files",
        "flush_pending",
        "folio_orders",
        "folios_for",
        "forked",
        "gathers",
        "guards_tables",
        "kept",
        "kernel",
        "lazy",
        "lines",
        "locks",
        "lru",
        "may_be_huge",
        "memcg",
        "mmap_lock",
        "page_table_lock",
        "pages",
        "pgd_line",
        "recycler",
        "replicas",
        "siglock",
        "speculates",
        "start_brk",
        "stat",
        "switches",
        "thp",
        "tlb",
        "tree",
        "uffd",
        "users",
        "vma_locks",
        "vvar_vclock",
    )

    def __init__(self, kernel: LinuxKernel, cpu: Cpu) -> None:
        super().__init__(kernel.machine)
        self.kernel = kernel
        self.pages = kernel.pages
        self.lru = kernel.lru
        self.memcg = kernel.memcg
        machine = kernel.machine
        self.cost = kernel.cost
        self.forked = kernel.forked
        self.guards_tables = kernel.forked is not None
        self.switches = kernel.spec.switches
        self.vvar_vclock = self.switches.vvar_vclock
        self.thp = kernel.spec.huge_pages.thp
        self.folio_orders = kernel.spec.huge_pages.orders
        self.folios_for = kernel.spec.huge_pages.folios_for
        self.may_be_huge = self.thp != "never" or kernel.spec.huge_pages.pool > 0

        def line(name: str) -> CacheLine:
            return machine.line(f"mm.{name}", cpu.socket, owner=cpu.id)

        self.lines = lines = kernel.spec.layout.lay_out(machine, cpu)
        self.pgd_line = lines["pgd"] if kernel.spec.layout.shares("pgd") else None
        self.locks = make_space_locks(self, kernel, lines, cpu)
        self.mmap_lock = self.locks.mmap_lock
        self.lazy = self._lends(line("cid mask"))
        self.vma_locks = VMA_LOCKS[kernel.spec.vma_lock](
            Site(
                machine,
                lines,
                line,
                kernel.nodes,
                kernel.osq_nodes,
                kernel.scheduler,
                kernel.spec.rwsem,
                MmLockSeq(lines["mm_lock_seq"], seqcount=self.switches.mm_lock_seq == "seqcount"),
                kernel.spec.interval,
            )
        )
        self.speculates = self.vma_locks.speculates
        rss = make_rss_stat(machine, kernel.nodes, kernel.spec, lines["rss_stat"])
        interval = kernel.spec.interval
        percpu = None
        if interval is not None and interval.stats != "shared":
            percpu = percpu_stats(machine, kernel.nodes, cpu, folded=interval.stats == "folded")
        self.stat = MmCounters(lines, rss, kernel.footprint, percpu)
        kernel.footprint.add("page_table", PAGE_BYTES)  # the root
        self.brk_line = line("brk")
        self.start_brk = self.brk = START_BRK
        self.siglock = spin_lock(
            kernel.nodes, machine.line("sighand_struct", cpu.socket, owner=cpu.id), LOCK_SIGNALS, "siglock"
        )
        self.page_table_lock = spin_lock(
            kernel.nodes, lines["page_table_lock"], LOCK_PAGE_TABLE, "page_table_lock"
        )
        self.gathers = 0  # mm->tlb_flush_pending
        self.users = 1  # mm->mm_users, less those who look at it for a moment
        preallocation = kernel.spec.switches.tree_preallocation
        index = IndexSite(
            machine,
            self.cost,
            lines["mm_mt"],
            kernel.rcu,
            kernel.slabs,
            preallocation,
            kernel.spec.interval,
            self.vma_locks,
        )
        self.tree = VMA_INDEXES[kernel.spec.vma_index](index, cpu)
        if machine.engine.probe.hears("mappings_change"):
            self.tree = HeardIndex(self.tree, index, cpu, self)
        self.flush_pending = 0  # mm->tlb_flush_batched: entries that reclaim has cleared
        self.uffd: Userfaultfd | None = None
        self.exmap: Exmap | None = None
        self.files: OpenFiles | None = None  # made with the first
        replicas = kernel.spec.replicas
        self.replicas = None if replicas is None else NodeTrees(self, replicas, cpu)
        recycled = kernel.recycled
        self.recycler = None if recycled is None else Recycler(self, recycled, cpu)
        self.tlb = self._flush()
        self.kept: KeptMemory | None = None
        if kernel.latr is not None and kernel.spec.latr is not None:
            self.kept = KeptMemory(self, kernel.spec.latr)
            kernel.kept.append(self.kept)
        self.root = new_root(machine, cpu.socket, cpu.id)

    def _lends(self, numbers: CacheLine) -> LazyMm:
        kernel = self.kernel
        layout, mm_cid = kernel.spec.layout, self.switches.mm_cid
        if kernel.latr is None:
            return LazyMm(self.lines, layout, kernel.nodes, mm_cid, numbers)
        return SweepingMm(self.lines, layout, kernel.nodes, mm_cid, numbers, kernel.latr)

    def _flush(self) -> SynchronousFlush:
        spec, counts, mask = self.kernel.spec.flush, self.lines["context.tlb_gen"], self.lines["mm_cpumask"]
        if self.replicas is not None and not self.replicas.eager:
            ways = ways_of(self.machine, spec)
            return SharersFlush(self.machine, counts, ways, self.replicas, mask=mask)
        if self.kernel.latr is None:
            return make_flush(self.machine, counts, spec, mask=mask)
        return LatrFlush(self.machine, counts, ways_of(self.machine, spec), self.kernel.latr, mask=mask)

    def activate(self, cpu: Cpu) -> None:
        self.kernel.contexts.activate(cpu, self.tlb)
        cpu.active_mm = self.lazy

    def asid_left_on(self, cpu: Cpu) -> int | None:
        return self.kernel.contexts.asid_of(cpu, self.tlb)

    def table_of(self, cpu: Cpu) -> PageTablePage:
        return self.root if self.replicas is None else self.replicas.root_of(cpu)

    def roots(self) -> Sequence[PageTablePage]:
        return (self.root,) if self.replicas is None else self.replicas.all_roots()

    def node_of(self, cpu: Cpu, frame: int) -> int:
        return self.pages.node(cpu, frame)

    def status(self, page: int) -> Rights | None:
        vma = self.tree.peek(page)
        return None if vma is None else vma.rights

    def shares(self, page: int) -> bool:
        vma = self.tree.peek(page)
        return vma is not None and vma.area.shared

    def mappings_guards(self, task: Task, mapping: Vma) -> Sequence[LockView]:
        return self.locks.stored_under(task, mapping)

    # -- the end state --------------------------------------------------------------------------------------

    def settle(self) -> None:
        if isinstance(self.tlb, LatrFlush):
            self.tlb.settle()
        if self.recycler is not None:
            self.recycler.settle()

    def deferred(self) -> Iterator[Reference]:
        if self.kept is not None:
            yield from self.kept.references(shown=True)

    def may_be_stale(self, page: int, frame: int) -> bool:
        if self.exmap is not None and frame in self.exmap.unflushed:
            return True
        if self.recycler is not None:
            return self.shows_another(page, frame)
        if not isinstance(self.tlb, LatrFlush):
            return False
        if frame == ZERO_FRAME or self.kernel.huge_zero.has(frame):
            return self.tlb.may_show(page, None)
        head = self.pages.in_use.head(frame)  # an entry for 2 MiB says it, and one of a split one its own
        return self.tlb.may_show(page, head) or self.tlb.may_show(page, frame)

    def shows_another(self, page: int, frame: int) -> bool:
        if self.recycler is None:
            return False
        return self.recycler.may_show(page, None if frame == ZERO_FRAME else frame)

    def mappings(self) -> Iterator[Mapped]:
        for vma in self.tree:
            yield Mapped(vma.start, vma.end, vma.rights, shared=vma.area.shared)

    def counters(self, walk: Walk) -> Iterator[Kept]:
        hugetlb = self.kernel.hugetlb.frames
        others = {each for each in walk.shared if not self._counts(each)}
        if others:
            tables = [table for table in walk.tables if table not in others]
            walk = walk.without(others)._replace(tables=tables)
        pool = None if self.exmap is None else self.exmap.pool
        exmap = () if pool is None else pool.frames
        yield from self.stat.recounted(self.tree, walk, self.kernel.descriptors.of_files, hugetlb, exmap)
        if self.kernel.swap is not None:
            yield Kept("swap_entries", self.stat.swap_entries, len(list(self.swap_entries())))

    def _counts(self, table: PageTablePage) -> bool:
        """Whether the pages of *table*, and the table itself, are in its counters."""
        sharing = table.sharing
        return sharing is None or sharing.counted or sharing.account is self

    def swap_entries(self) -> Iterator[SwapEntry]:
        """The entries of its tables that name a swap slot."""
        for table in self.root.tables():
            if table.level == 1:
                yield from (entry for entry in table.entries if isinstance(entry, SwapEntry))

    def contradictions(self, walk: Walk, mappings: Sequence[Mapped]) -> Iterator[str]:
        """The index holds the VMAs, none of them has left it, and those with pages have an anon_vma."""
        yield from self.tree.contradictions()
        if self.uffd is not None:
            yield from self.uffd.contradictions()
        if self.replicas is not None:
            yield from self.replicas.contradictions()
        if self.recycler is not None:
            frames = [entry.frame for _, entry in walk.present]
            frames += [frame for each in walk.alike for frame in each.frames]
            yield from self.recycler.contradictions(frames)
        for vma in self.tree:
            if vma.detached:
                yield f"{vma} is in the tree and detached"
            if len(vma.links) != len(vma.chain):
                yield f"{vma} has {len(vma.links)} links to {len(vma.chain)} anon_vmas"
            if (what := vma.lock.contradiction()) is not None:
                yield f"{vma} {what}"
        cached = self.kernel.descriptors.of_files
        own = [p for p, entry in walk.present if not entry.special and entry.frame not in cached]
        if self.exmap is not None:
            in_pool = [entry.frame for _, entry in walk.present if self.exmap.owns(entry.frame)]
            yield from self.exmap.contradictions(set(in_pool))
            own = [p for p, entry in walk.present if not entry.special and not self._is_others(entry.frame)]
        if walk.alike:
            ends = [page for each in walk.alike for page in (each.page, each.page + len(each.frames) - 1)]
            own = sorted([*own, *ends])
        pages = iter(own)
        page = next(pages, None)
        for table in walk.tables:
            if table.level == 2:
                entries = [entry for entry in table.entries if isinstance(entry, Present)]
                huge = sum(entry.frame not in self.kernel.hugetlb.frames for entry in entries)
                if huge != self.kernel.deposits.count(table):
                    yield f"{table!r} has {huge} huge pages and {self.kernel.deposits.count(table)} tables"
        if self.kernel.morsels is not None:
            yield from self._stray_references(walk)
        for vma in self.tree:
            if page is not None and page < vma.end and vma.anon_vma is None:
                yield f"{vma} has page {page:#x} and no anon_vma"
            while page is not None and page < vma.end:
                page = next(pages, None)

    def _is_others(self, frame: int) -> bool:
        """Whether *frame* is a file's or exmap's."""
        exmaps = self.exmap is not None and self.exmap.owns(frame)
        return exmaps or frame in self.kernel.descriptors.of_files

    def _stray_references(self, walk: Walk) -> Iterator[str]:
        """Entries that refer to tables of others are those at the beginning of mappings of morsels."""
        expected = {vma.start: vma for vma in self.tree if vma.of_morsel}
        for table in walk.tables:
            for slot, entry in enumerate(table.entries):
                if not isinstance(entry, Subtree):
                    continue
                page = table.base + slot * PAGES_PER_ENTRY[table.level]
                vma = expected.pop(page, None)
                if vma is None or vma.morsel is None or vma.morsel is not entry.owner:
                    yield f"{table!r} refers to {entry.owner!r} at page {page:#x}, where nobody maps it"
                elif (entry.root, entry.rights) != (vma.morsel.root, vma.rights):
                    yield f"page {page:#x} refers to {vma.morsel!r} otherwise than {vma}"
        for vma in expected.values():
            yield f"{vma} has no entry for its morsel"

    # -- mmap_lock and VMA locks ----------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        """mmap_write_lock: a section begins, in which VMAs are locked one after another (`start_write`)."""
        yield from self.locks.lock_all(cpu)
        yield from self.vma_locks.begin_write(cpu)

    def write_lock_range(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """The same to change [start, end), where no more than that has to be locked."""
        yield from self.locks.lock_range(cpu, start, end)
        yield from self.vma_locks.begin_write(cpu)

    def write_lock_to_protect(self, cpu: Cpu, start: int, end: int, rights: Rights) -> Steps[None]:
        """The same to give [start, end) other *rights*."""
        yield from self.locks.lock_to_protect(cpu, start, end, rights)
        yield from self.vma_locks.begin_write(cpu)

    def write_lock_to_map(self, cpu: Cpu, at: int | None, pages: int) -> Steps[None]:
        """The same to map *pages* pages, at *at* or anywhere."""
        yield from self.locks.lock_to_map(cpu, at, pages)
        yield from self.vma_locks.begin_write(cpu)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        if cpu.heard:
            cpu.probe.mappings_unmarked(self, cpu)
        yield from self.vma_locks.end_write_all(cpu)
        yield from self.locks.unlock(cpu)

    def write_downgrade(self, cpu: Cpu) -> Steps[None]:
        if cpu.heard:
            cpu.probe.mappings_unmarked(self, cpu)
        yield from self.vma_locks.end_write_all(cpu)
        yield from self.locks.downgrade(cpu)

    def lock_vma_under_rcu(self, cpu: Cpu, page: int) -> Steps[Vma | None]:
        """Value: the VMA of *page*, locked for reading, or None where it takes mmap_lock: a writer has it, or
        there are no such locks."""
        if not self.vma_locks.serve_faults:
            return None
        while True:
            vma = yield from self.tree.find(cpu, page)
            if vma is None:
                return None
            cpu.work(self.cost.lock_vma, FAULT_ENTRY)
            yield from vma.line.read(cpu, VMA_WORK)
            locked = yield from vma.lock.start_read(cpu)
            if not locked:
                if vma.lock.is_detached:
                    continue
                return None
            # It may be another VMA by now, even one of another process.
            if vma.mm is self and not vma.detached and vma.start <= page < vma.end:
                if cpu.heard and not self.vma_locks.looks_only:
                    cpu.probe.mapping_found(self, self.tree, cpu, vma, page)
                return vma
            yield from vma.lock.end_read(cpu)
            if not vma.detached:
                return None

    def detach(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """*vma*, locked for writing, leaves the tree."""
        if self.vma_locks.rechecks:  # a fault that links a table or an anon_vma has done so, or does not
            yield from self.page_table_lock.acquire(cpu)
            vma.detached = True
            yield from self.page_table_lock.release(cpu)
            return
        vma.detached = True
        yield from vma.lock.mark_detached(cpu)

    def still(self, cpu: Cpu, vma: Vma, table: PageTablePage, page: int, rights: Rights) -> Steps[bool]:
        """A fault that holds nothing but a lock for *table* looks again: whether *vma* is there, has *page*,
        and allows what it did, and whether *table* is the one to be found by that page.

        A VMA that has lost the page may have got it back: munmap, and an mmap that merges. So it does not
        answer for the table.
        """
        yield from vma.line.read(cpu, VMA_WORK)
        if vma.detached or vma.moving or not vma.start <= page < vma.end or vma.rights != rights:
            return False
        above = self.table_at(page, table.level + 1)
        if table is self.root or above is None:
            return table is self.root
        yield from above.line(slot_of(page, above.level)).read(cpu, PAGE_TABLE)
        return self.table_at(page, table.level) is table

    def placed(self, cpu: Cpu, area: Area) -> Area:
        """*area* of a mapping that *cpu* makes: where nodes have tables of their own it belongs to that of
        *cpu*."""
        if self.replicas is None:
            return area
        return replace(area, node=self.replicas.node_of(cpu))

    def change_area(self, cpu: Cpu, vma: Vma, area: Area) -> None:
        """*vma*, locked for writing and written to, is *area* from now on."""
        if cpu.heard:
            cpu.probe.mappings_change(self, self.tree, cpu, (vma,))
        vma.area = area

    def may_split(self, cpu: Cpu) -> Steps[bool]:
        """Whether there may be one VMA more (split_vma, sysctl vm.max_map_count)."""
        count = yield from self.stat.read_map_count(cpu)
        return count < self.kernel.spec.limits.max_map_count

    # -- VMAs -----------------------------------------------------------------------------------------------

    def new_vma(
        self,
        cpu: Cpu,
        start: int,
        end: int,
        area: Area,
        *,
        pgoff: int | None = None,
        like: Vma | None = None,
    ) -> Steps[Vma]:
        """vm_area_alloc, or vm_area_dup of *like*. Raises `OutOfMemory`.

        Where VMAs are given out again at once, it may be one that faults of any process still look at.
        """
        cpu.work(self.cost.vma_alloc, VMA_WORK)
        slabs = self.kernel.slabs
        memory = yield from slabs.vm_area_struct.alloc(cpu)
        lock_memory = None
        if slabs.vma_lock is None:
            yield from memory.whole.store(cpu, VMA_WORK)
        else:
            try:
                lock_memory = yield from slabs.vma_lock.alloc(cpu)
            except OutOfMemory:
                yield from slabs.vm_area_struct.release(cpu, memory, now=True)
                raise
            cpu.work(slabs.cost.alloc, VMA_WORK)
            yield from fill(cpu, VMA_WORK, memory, lock_memory)
        vma = memory.tenant
        if isinstance(vma, Vma):
            self._renew(vma.lock, start)
            vma.set_up(start, end, area, self, pgoff=pgoff, like=like)
            return vma
        lock = self.vma_locks.new(cpu, start, lock_memory or memory)
        if not self.vma_locks.looks_only and self.machine.engine.probe.hears("mapping_entered"):
            lock = HeardVmaLock(lock, self, start)
        vma = Vma(start, end, area, memory, lock, self, lock_memory=lock_memory, pgoff=pgoff, like=like)
        if self.vma_locks.reuse_vmas:
            memory.tenant = vma
        return vma

    def _renew(self, lock: VmaLock, start: int) -> None:
        if isinstance(lock, HeardVmaLock):
            lock.belongs(self, start)
            lock = lock.inner
        self.vma_locks.renew(lock, start)

    def free_vma(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """vm_area_free: struct and lock, now or after a grace period."""
        cpu.work(self.cost.vma_free, VMA_WORK)
        parts = [vma.memory] if vma.lock_memory is None else [vma.memory, vma.lock_memory]
        yield from self.kernel.slabs.vm_area_struct.release(cpu, *parts)

    # -- anon_vmas ------------------------------------------------------------------------------------------

    def new_anon_vma(self, cpu: Cpu) -> Steps[tuple[AnonVma, SlabObject]]:
        """anon_vma_alloc, with the link for its first VMA. Raises `OutOfMemory`."""
        cpu.work(self.cost.anon_vma, VMA_WORK)
        slabs = self.kernel.slabs
        link = yield from slabs.anon_vma_chain.alloc(cpu)
        try:
            memory = yield from slabs.anon_vma.alloc(cpu)
        except OutOfMemory:
            yield from slabs.anon_vma_chain.release(cpu, link, now=True)
            raise
        yield from fill(cpu, VMA_WORK, link, memory)
        return AnonVma(memory), link

    def free_anon_vma(self, cpu: Cpu, anon_vma: AnonVma, link: SlabObject) -> Steps[None]:
        """Give back what `new_anon_vma` gave, where somebody else was faster."""
        yield from self.kernel.slabs.anon_vma_chain.release(cpu, link)
        yield from self.kernel.slabs.anon_vma.release(cpu, anon_vma.memory)

    def anon_vma_clone(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """Link *vma* to each anon_vma of its chain, which it has from another VMA; under the root's rwsem.

        The callers hold mmap_lock for writing or run alone in its shadow, so the rwsem is never contended;
        its line and the tree's come from whoever was here before. Raises `OutOfMemory`, with *vma* linked
        to nothing.
        """
        for anon_vma in vma.chain:
            try:
                link = yield from self.kernel.slabs.anon_vma_chain.alloc(cpu)
            except OutOfMemory:
                vma.chain = vma.chain[: len(vma.links)]
                yield from self.unlink_anon_vmas(cpu, vma)
                raise
            vma.links.append(link)
            cpu.work(self.kernel.slabs.cost.alloc, VMA_WORK)
            yield from link.whole.store(cpu, VMA_WORK)
            yield from anon_vma.line.store(cpu, VMA_WORK)
            cpu.work(self.cost.anon_vma_link, VMA_WORK)
            anon_vma.vmas[vma] = None

    def unlink_anon_vmas(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """Take *vma* out of its anon_vmas; one that nobody is linked to any more goes."""
        for anon_vma, link in zip(vma.chain, vma.links, strict=True):
            yield from anon_vma.line.store(cpu, VMA_WORK)
            cpu.work(self.cost.anon_vma_link, VMA_WORK)
            yield from self.kernel.slabs.anon_vma_chain.release(cpu, link)
            del anon_vma.vmas[vma]
            if not anon_vma.vmas:
                yield from self.kernel.slabs.anon_vma.release(cpu, anon_vma.memory)
        vma.anon_vma, vma.chain, vma.links = None, (), []

    # -- pages ----------------------------------------------------------------------------------------------

    def new_zeroed_page(self, cpu: Cpu) -> Steps[int]:
        """A page of zeros, for memory of the process; value: its frame. Raises `OutOfMemory`."""
        return self._zeroed(cpu, self._new_page(cpu))

    def new_table_page(self, cpu: Cpu) -> Steps[int]:
        """The same for a page table."""
        return self._zeroed(cpu, self.pages.allocate(cpu))

    def _new_page(self, cpu: Cpu) -> Steps[int]:
        if self.recycler is None:
            return self.pages.allocate(cpu)
        return self.recycler.allocate(cpu)

    def _zeroed(self, cpu: Cpu, allocation: Steps[int]) -> Steps[int]:
        frame = yield from allocation
        yield from self.machine.memory.clear_page(cpu, self.pages.node(cpu, frame), frame)
        if cpu.heard:
            cpu.probe.frame_filled(cpu, frame, None)
        return frame

    def clear_huge_page(self, cpu: Cpu, frame: int, pages: int = SLOTS) -> Steps[None]:
        """folio_zero_user: so many frames from *frame* on are zeros."""
        node = self.pages.node(cpu, frame)
        yield from self.machine.memory.clear_huge_page(
            cpu, node, pages=pages, at_once=min(PAGES_AT_ONCE, pages)
        )
        for each in range(frame, frame + pages):
            if cpu.heard:
                cpu.probe.frame_filled(cpu, each, None)

    def copy_huge_page(self, cpu: Cpu, frame: int, source: int) -> Steps[None]:
        """copy_user_large_folio: the 512 frames from *frame* on have what is in those from *source* on."""
        node, there = self.pages.node(cpu, frame), self.pages.node(cpu, source)
        for _ in range(SLOTS // PAGES_AT_ONCE):
            yield from self.machine.memory.copy_page(cpu, node, source=there, pages=PAGES_AT_ONCE)
        for each in range(SLOTS):
            if cpu.heard:
                cpu.probe.frame_filled(cpu, frame + each, source + each)

    def new_copy(self, cpu: Cpu, source: int) -> Steps[int]:
        """A page with what is in frame *source*; value: its frame. Raises `OutOfMemory`."""
        frame = yield from self._new_page(cpu)
        yield from self.copy_into(cpu, frame, source)
        return frame

    def copy_into(self, cpu: Cpu, frame: int, source: int) -> Steps[None]:
        """copy_user_highpage: what is in frame *source* is in *frame*, too."""
        node, there = self.pages.node(cpu, frame), self.pages.node(cpu, source)
        yield from self.machine.memory.copy_page(cpu, node, frame, source=there)
        if cpu.heard:
            cpu.probe.frame_filled(cpu, frame, source)

    def perf_event_mmap(self, cpu: Cpu) -> None:
        """Somebody who records with perf is told of a mapping that is new or has changed."""
        cpu.work(self.kernel.perf_mmap, VMA_WORK)

    def charge(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        """The folio in *frame* is the process's."""
        return self.kernel.charges.charge(cpu, frame, self.memcg, 1 << order)

    def give_back(self, cpu: Cpu, frame: int, order: int = 0) -> Steps[None]:
        """The folio in *frame* was charged for nothing."""
        yield from self.kernel.charges.uncharge(cpu, [frame])
        yield from self.pages.free(cpu, frame, order)

    # -- page tables ----------------------------------------------------------------------------------------

    def take_tables(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """Level-1 tables of [*start*, *end*) that a fork has left to others, too, are its own from now on:
        the caller will change what is in them. Raises `OutOfMemory`."""
        if self.forked is not None:
            yield from self.forked.take_range(self, cpu, start, end)

    def take_edges(self, cpu: Cpu, start: int, end: int) -> Steps[None]:
        """The same of those that reach beyond [*start*, *end*), which goes away. Raises `OutOfMemory`."""
        for edge in (start, end):
            if edge % SLOTS:
                yield from self.take_tables(cpu, edge, edge + 1)

    def leaf_table(self, page: int) -> PageTablePage | None:
        """The level-1 table of *page*, if it exists."""
        return self.table_at(page, 1)

    def table_at(self, page: int, level: int) -> PageTablePage | None:
        """The table of *level* that has an entry for *page*, if it exists."""
        table: PageTablePage | None = self.root
        while table is not None and table.level > level:
            table = table.child(slot_of(page, table.level))
        return table

    def huge_table(self, page: int) -> PageTablePage | None:
        """The level-2 table of *page* whose entry for it maps a huge page, if it does (pmd_trans_huge)."""
        if not self.may_be_huge:
            return None
        table = self.table_at(page, 2)
        if table is None or type(table.get(slot_of(page, 2))) is not Present:
            return None
        return table

    def table_lock(self, table: PageTablePage) -> QueuedSpinLock:
        """The split page-table lock, in the table's ptdesc."""
        if table.lock is None:
            name = f"{table.meta.name}: PTL"
            table.lock = spin_lock(self.kernel.nodes, table.meta, LOCK_PAGE_TABLE, name)
        lock: QueuedSpinLock = table.lock
        return lock
