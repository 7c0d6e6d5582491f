"""struct mm_struct and what the operations share: lines, locks, VMAs, page tables.

The operations are in modules of their own, written as the kernel's steps; `space` puts them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.counters import MmCounters
from sim.designs.linux.vma import AnonVma, Area, Vma
from sim.designs.linux.vma_indexes import VMA_INDEXES
from sim.designs.linux.vma_locks import VMA_LOCKS, Site
from sim.designs.linux.vma_locks.sequence import MmLockSeq
from sim.engine import Steps
from sim.hardware import CacheLine, Cpu
from sim.mm import (
    FAULT_ENTRY,
    LEVELS,
    LOCK_PAGE_TABLE,
    USER_PAGES,
    AddressSpace,
    Kept,
    Mapped,
    PageTablePage,
    Rights,
    Walk,
    make_flush,
    slot_of,
)
from sim.sync import QueuedSpinLock, RwSem, XaddRwSem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.layout import MmLines

LOCK_MMAP = "lock: mmap_lock"

START_BRK: Final = USER_PAGES // 3 * 2
"""First page of the heap: ELF_ET_DYN_BASE, where it begins for a program that brings no data of its own
(fs/binfmt_elf.c and arch/x86/include/asm/elf.h of 6.13.7, without address randomization)."""


class LinuxMm(AddressSpace):
    """What the operations on one process work on.

    *lines* are the fields of mm_struct that are written while others look on, as the design file lays them
    out; the values of the counters are in *stat*. The heap lies between the pages *start_brk* and *brk*.
    """

    __slots__ = (
        "brk",
        "brk_line",
        "cost",
        "gathers",
        "kernel",
        "lines",
        "lru",
        "mmap_lock",
        "page_table_lock",
        "pages",
        "start_brk",
        "stat",
        "switches",
        "tlb",
        "tree",
        "vma_locks",
    )

    def __init__(self, kernel: LinuxKernel, cpu: Cpu) -> None:
        super().__init__(kernel.machine)
        self.kernel = kernel
        self.pages = kernel.pages
        self.lru = kernel.lru
        machine = kernel.machine
        self.cost = kernel.cost
        self.switches = kernel.spec.switches

        def line(name: str) -> CacheLine:
            return machine.line(f"mm.{name}", cpu.socket, owner=cpu.id)

        self.lines = lines = kernel.spec.layout.lay_out(machine, cpu)
        self.mmap_lock = _make_mmap_lock(kernel, lines)
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
            )
        )
        self.stat = MmCounters(lines)
        self.brk_line = line("brk")
        self.start_brk = self.brk = START_BRK
        self.page_table_lock = QueuedSpinLock(
            kernel.nodes, lines["page_table_lock"], LOCK_PAGE_TABLE, "page_table_lock"
        )
        self.gathers = 0  # mm->tlb_flush_pending
        self.tree = VMA_INDEXES[kernel.spec.vma_index](machine, cpu, self.cost, lines["mm_mt"])
        self.tlb = make_flush(machine, lines["context.tlb_gen"], kernel.spec.flush, mask=lines["mm_cpumask"])
        self.root = PageTablePage(machine, LEVELS, 0, -1, cpu.socket, maker=cpu.id)

    def activate(self, cpu: Cpu) -> None:
        self.kernel.contexts.activate(cpu, self.tlb)

    def asid_left_on(self, cpu: Cpu) -> int | None:
        return self.kernel.contexts.asid_of(cpu, self.tlb)

    def node_of(self, cpu: Cpu, frame: int) -> int:
        return self.pages.node(cpu, frame)

    def status(self, page: int) -> Rights | None:
        vma = self.tree.peek(page)
        return None if vma is None else vma.rights

    # -- the end state --------------------------------------------------------------------------------------

    def mappings(self) -> Iterator[Mapped]:
        for vma in self.tree:
            yield Mapped(vma.start, vma.end, vma.rights, shared=vma.area.shared)

    def counters(self, walk: Walk) -> Iterator[Kept]:
        return self.stat.recounted(self.tree, walk, self.kernel.descriptors.of_files)

    def contradictions(self, walk: Walk, mappings: Sequence[Mapped]) -> Iterator[str]:
        """The index holds the VMAs, none of them has left it, and those with pages have an anon_vma."""
        yield from self.tree.contradictions()
        for vma in self.tree:
            if vma.detached:
                yield f"{vma} is in the tree and detached"
            if (what := vma.lock.contradiction()) is not None:
                yield f"{vma} {what}"
        cached = self.kernel.descriptors.of_files
        pages = iter([p for p, entry in walk.present if not entry.special and entry.frame not in cached])
        page = next(pages, None)
        for vma in self.tree:
            if page is not None and page < vma.end and vma.anon_vma is None:
                yield f"{vma} has page {page:#x} and no anon_vma"
            while page is not None and page < vma.end:
                page = next(pages, None)

    # -- mmap_lock and VMA locks ----------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        """mmap_write_lock: a section begins, in which VMAs are locked one after another (`start_write`)."""
        yield from self.mmap_lock.write_lock(cpu)
        yield from self.vma_locks.begin_write(cpu)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.vma_locks.end_write_all(cpu)
        yield from self.mmap_lock.write_unlock(cpu)

    def write_downgrade(self, cpu: Cpu) -> Steps[None]:
        yield from self.vma_locks.end_write_all(cpu)
        yield from self.mmap_lock.write_downgrade(cpu)

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
                return vma
            yield from vma.lock.end_read(cpu)
            if not vma.detached:
                return None

    def detach(self, cpu: Cpu, vma: Vma) -> Steps[None]:
        """*vma*, locked for writing, leaves the tree."""
        vma.detached = True
        yield from vma.lock.mark_detached(cpu)

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
    ) -> Vma:
        """vm_area_alloc, or vm_area_dup of *like*: struct and lock from the cpu's slab, their lines in its
        cache, or a VMA that this cpu has freed."""
        cpu.work(self.cost.vma_alloc, VMA_WORK)
        name = f"VMA {start:#x}"
        freed = self.kernel.freed_vmas[cpu.id]
        if freed:
            vma = freed.pop()
            vma.line.name = name
            self.vma_locks.renew(vma.lock, start)
            vma.set_up(start, end, area, self, pgoff=pgoff, like=like)
            return vma
        lock = self.vma_locks.new(cpu, start)
        line = self.machine.line(name, cpu.socket, owner=cpu.id, lines=self.vma_locks.vma_lines)
        return Vma(start, end, area, line, lock, self, pgoff=pgoff, like=like)

    def free_vma(self, cpu: Cpu, vma: Vma) -> None:
        """vm_area_free, of a VMA that has left the tree: by call_rcu, or at once if it may be used again."""
        cpu.work(self.cost.vma_free, VMA_WORK)
        if self.vma_locks.reuse_vmas:
            self.kernel.freed_vmas[cpu.id].append(vma)

    def new_anon_vma(self, cpu: Cpu) -> AnonVma:
        """anon_vma_alloc."""
        cpu.work(self.cost.anon_vma, VMA_WORK)
        return AnonVma(self.machine.line("anon_vma", cpu.socket, owner=cpu.id, lines=2))

    def link_anon_vma(self, cpu: Cpu, anon_vma: AnonVma) -> Steps[None]:
        """Insert into or remove from the interval tree, under the root's rwsem (anon_vma_clone,
        unlink_anon_vmas).

        The callers hold mmap_lock for writing or run alone in its shadow, so the rwsem is never contended;
        its line and the tree's come from whoever was here before.
        """
        yield from anon_vma.line.write(cpu, VMA_WORK)
        cpu.work(self.cost.anon_vma_link, VMA_WORK)

    # -- pages ----------------------------------------------------------------------------------------------

    def new_zeroed_page(self, cpu: Cpu) -> Steps[int]:
        """A page of zeros; value: its frame. Raises `OutOfMemory`."""
        frame = yield from self.pages.allocate(cpu)
        yield from self.machine.memory.clear_page(cpu, self.pages.node(cpu, frame))
        cpu.probe.frame_filled(cpu, frame, None)
        return frame

    def new_copy(self, cpu: Cpu, source: int) -> Steps[int]:
        """A page with what is in frame *source*; value: its frame. Raises `OutOfMemory`."""
        frame = yield from self.pages.allocate(cpu)
        yield from self.copy_into(cpu, frame, source)
        return frame

    def copy_into(self, cpu: Cpu, frame: int, source: int) -> Steps[None]:
        """copy_user_highpage: what is in frame *source* is in *frame*, too."""
        node = self.pages.node(cpu, frame)
        yield from self.machine.memory.copy_page(cpu, node, source=self.pages.node(cpu, source))
        cpu.probe.frame_filled(cpu, frame, source)

    # -- page tables ----------------------------------------------------------------------------------------

    def leaf_table(self, page: int) -> PageTablePage | None:
        """The level-1 table of *page*, if it exists."""
        return self.table_at(page, 1)

    def table_at(self, page: int, level: int) -> PageTablePage | None:
        """The table of *level* that has an entry for *page*, if it exists."""
        table: PageTablePage | None = self.root
        while table is not None and table.level > level:
            table = table.child(slot_of(page, table.level))
        return table

    def table_lock(self, table: PageTablePage) -> QueuedSpinLock:
        """The split page-table lock, in the table's ptdesc."""
        if table.lock is None:
            name = f"{table.meta.name}: PTL"
            table.lock = QueuedSpinLock(self.kernel.nodes, table.meta, LOCK_PAGE_TABLE, name)
        lock: QueuedSpinLock = table.lock
        return lock


def _make_mmap_lock(kernel: LinuxKernel, lines: MmLines) -> RwSem | XaddRwSem:
    """init_rwsem, of the kernel's kind. Until 5.1 count and owner are not told apart."""
    kind, nodes, scheduler = kernel.spec.mmap_lock, kernel.osq_nodes, kernel.scheduler
    count = lines["mmap_lock.count"]
    if kind == "rwsem":
        owner = lines["mmap_lock.owner"]
        return RwSem("mmap_lock", count, owner, nodes, scheduler, LOCK_MMAP, kernel.spec.rwsem)
    spinning = kind == "rwsem-xadd"
    return XaddRwSem("mmap_lock", count, nodes, scheduler, LOCK_MMAP, owner_spinning=spinning)
