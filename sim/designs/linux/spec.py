"""What a Linux design file says: which kernel generation, and what its code paths cost."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from sim.designs.base_spec import DesignSpec, OneOf
from sim.designs.linux.costs import BlockCosts, Costs
from sim.designs.linux.drive_spec import DriveSpec
from sim.designs.linux.exmap_spec import ExmapSpec
from sim.designs.linux.fork_spec import ForkSpec
from sim.designs.linux.interval_spec import LINK, NODE_HEADER, IntervalSpec
from sim.designs.linux.latr.spec import LatrSpec
from sim.designs.linux.layout import Layout
from sim.designs.linux.lazy_mm import MmCid
from sim.designs.linux.memcg_spec import MemcgSpec
from sim.designs.linux.morsel_spec import MorselSpec, ObjectSpec
from sim.designs.linux.pcp import Drain
from sim.designs.linux.rcu_spec import RcuSpec
from sim.designs.linux.recycling_spec import RecyclingSpec
from sim.designs.linux.replicas_spec import ReplicasSpec
from sim.designs.linux.slab.spec import SlabSpec
from sim.designs.linux.swap.spec import SwapSpec
from sim.designs.linux.vfs.spec import CallSpec
from sim.designs.linux.vma_indexes import VMA_INDEXES
from sim.designs.linux.vma_indexes.base import Preallocation
from sim.designs.linux.vma_locks import VMA_LOCKS
from sim.errors import RuleError
from sim.hardware import MachineSpec
from sim.mm import HUGE_ORDER, AllocatorName, FlushSpec, HasAllocator
from sim.quantities import LINE_BYTES, PAGE_BYTES, Duration, Size, Spec, format_size
from sim.sync import RwSemTuning


class Switches(Spec):
    """What differs between kernel versions."""

    prefetchw_mmap_lock: bool
    """Every user fault prefetches mmap_lock for writing (until 6.15)."""
    lru_drain_on_zap: bool
    """munmap and MADV_DONTNEED drain the cpu's LRU batch before they zap (until 6.13)."""
    munmap_downgrade: bool
    """munmap holds mmap_lock only for reading while it zaps and flushes (since 4.20)."""
    dontneed_lock: Literal["mmap", "vma"]
    """What MADV_DONTNEED holds: mmap_lock for reading, or the lock of the VMA where the range lies in one
    (since 6.17)."""
    process_madvise: Literal["remote", "each", "once", "one-flush"]
    """What process_madvise does for the caller's own memory: nothing that the model has, only what another
    process might ask for (`remote`, until 6.12); each range like a madvise (6.13, 6.14); all of them under
    one mmap_lock (`once`, 6.15); with one flush, too, as then madvise has (since 6.16)."""
    maps_lock: Literal["mmap", "vma"]
    """What a reader of /proc/PID/maps holds: mmap_lock for reading, or the lock of the VMA that it shows
    (since 6.17)."""
    anon_vma_early_check: bool
    """A VMA without an anon_vma is faulted in under mmap_lock as a whole (6.4 to 6.9), not only while the
    anon_vma is made."""
    mmap_layout: Literal["top-down", "bottom-up"]
    """Where a mapping at no given place goes: into the highest room for it or, in the legacy layout
    (vm.legacy_va_layout, or a stack without limit), into the lowest one from a third of user memory on."""
    thp_align: Literal["none", "always", "multiple"]
    """Anonymous mappings at no given place begin at 2 MiB: all from 2 MiB on (6.7 to 6.11), or those whose
    length is a multiple of it (since 6.12)."""
    file_fault_vma_lock: bool
    """Faults in files are served under the VMA's lock, too (since 6.7); before, under mmap_lock."""
    rss_stat: Literal["split", "percpu"]
    """How a process's pages are counted: `split`, each task on its own (until 6.1), or by a `percpu`
    counter."""
    fork_tree: Literal["store", "duplicate"]
    """How fork fills the child's maple tree: it stores VMA after VMA, in order (until 6.7), or it duplicates
    the parent's tree node by node."""
    fork_batch: bool
    """fork copies the entries of a large folio that map pages one after the other together (since 6.9)."""
    tree_preallocation: Preallocation
    """How many nodes of the maple tree are allocated before a store that must not fail: as many as the worst
    store of all needs (until 6.5), as this one is estimated to need (6.6 to 6.11), or as its kind needs."""
    vvar_vclock: bool
    """The pages of virtual clocks are a mapping of their own in each process (since 6.13), not a part of
    [vvar]."""
    uffd_lock: Literal["mmap", "vma"]
    """What UFFDIO_COPY and UFFDIO_ZEROPAGE hold: mmap_lock for reading, or the lock of the VMA (since
    6.9)."""
    mm_cid: MmCid
    """How threads get their concurrency ids, which a cpu that goes idle gives back: there are `none` (until
    6.2), each switch takes one and gives one back under a lock of the process (`locked`, 6.3), or each cpu
    keeps one of the process (`per cpu`, since 6.4)."""
    mm_lock_seq: Literal["end", "seqcount"]
    """Where a write section counts the sequence of VMA locks: at its `end` only (until 6.13), or as a
    `seqcount` at its beginning too."""


class Limits(Spec):
    """Sizes of batches and lists."""

    lru_batch: PositiveInt
    """Pages in a cpu's LRU batch before it is emptied (folio batch)."""
    lru_release_batch: PositiveInt
    """Pages that are given up and leave their lists before lru_lock is let go once."""
    pcp_batch: PositiveInt
    """Pages moved at once between a cpu's page list and the buddy allocator."""
    pcp_high: PositiveInt
    """Pages in a cpu's list from which on frees go back to the buddy allocator."""
    pcp_high_fraction: PositiveInt | None = None
    """The list may grow to one part in so many of its zone, divided by the zone's cpus. Absent (until 6.6):
    it does not grow."""
    pcp_blocks: bool
    """A cpu's lists have blocks of 2, 4 and 8 pages, too (since 5.14); before, each of them is taken and
    given back under zone->lock."""
    pcp_drain: Drain
    """When such a block makes a cpu's lists go back."""
    pcp_batch_scale: NonNegativeInt = 0
    """How often a batch doubles at most while a cpu only takes, or only frees."""
    fault_around: PositiveInt
    """Pages that a read of a file maps at once, those around it (fault_around_bytes)."""
    unlink_batch: PositiveInt
    """VMAs of one file that munmap takes out of i_mmap under one lock (since 6.10; before, one)."""
    gather_pages: PositiveInt
    """Pages that are unmapped before they are flushed and freed (mmu_gather)."""
    rss_events: PositiveInt
    """With `rss_stat: split`: faults of a task before its counts are added to the process's."""
    committed_share: PositiveInt | None = None
    """A cpu adds its part of vm_committed_as to the sum when that is the cpu's part of all memory, divided by
    this. Absent (until 3.10): when it is what other counters add at once."""
    maps_lines: PositiveInt
    """VMAs whose lines of /proc/PID/maps fill a page."""
    percpu_areas: NonNegativeInt
    """Per-cpu allocations of a process: one for each kind of page that it counts (since 6.2), or for all of
    them (since 6.6), and one for concurrency ids (since 6.4)."""
    max_map_count: PositiveInt
    """VMAs that a process may have (sysctl vm.max_map_count)."""


class HugePages(Spec):
    """Pages of 2 MiB, as the system was booted and set up: no release has a value of its own."""

    thp: Literal["never", "madvise", "always"] = "never"
    """Which anonymous memory gets them by itself: none, what MADV_HUGEPAGE was said of, or all
    (/sys/kernel/mm/transparent_hugepage/enabled). khugepaged is off in any case."""
    use_zero_page: bool = True
    """A read of 2 MiB that nobody has written maps the huge page of zeros (use_zero_page beside it)."""
    pool: NonNegativeInt = 0
    """Huge pages that are set aside for MAP_HUGETLB, on all nodes in turn (vm.nr_hugepages)."""
    folios: list[Size] = Field(default_factory=list)
    """Sizes from 16 KiB to 1 MiB: anonymous memory that gets no huge page gets a folio of the largest that
    fits, mapped page by page (mTHP, since 6.8; hugepages-64kB/enabled beside it)."""
    folios_for: Literal["madvise", "always"] = "always"
    """Which memory gets them: what MADV_HUGEPAGE was said of, or all."""

    @model_validator(mode="after")
    def _folios_are_blocks(self) -> Self:
        for size in self.folios:
            pages, rest = divmod(size, PAGE_BYTES)
            if rest or not 4 <= pages <= 256 or pages & (pages - 1):
                raise ValueError("`folios` may have 16, 32, 64, 128, 256 and 512 KiB, and 1 MiB")
        if len(set(self.folios)) < len(self.folios):
            raise ValueError("`folios` has each size once")
        return self

    @property
    def orders(self) -> list[int]:
        """The orders of `folios`, largest first."""
        return sorted(((size // PAGE_BYTES).bit_length() - 1 for size in self.folios), reverse=True)


class ShmemSpec(Spec):
    """Memory that processes share, and tmpfs."""

    counters: Literal["apart", "under locks"] = "apart"
    """Where a new page is put into the xarray and counted: `under locks` as the code says, all of that under
    xa_lock, with nrpages on a line of its own, and i_blocks and another look at nrpages under info->lock; or
    `apart` from them, with nothing else on their lines."""


class CnaSpec(Spec):
    """NUMA-aware spin locks (numa_spinlock=on)."""

    threshold: Annotated[Duration, Field(gt=0)]
    """So long waiters of one node are preferred (numa_spinlock_threshold)."""
    spin_locks: bool = True
    """All spin locks are of this kind; if not, mmap_lock alone, with `mmap_lock: cna`."""


class LinuxSpec(DesignSpec, HasAllocator):
    """One kernel version."""

    switches: Switches
    """What differs between kernel versions."""
    mmap_lock: Literal[
        "rwsem",
        "rwsem-spinning-readers",
        "rwsem-xadd",
        "rwsem-xadd-sleeping",
        "rwsem-granting",
        "rwsem-sharded",
        "ranges",
        "qspinlock",
        "cna",
    ]
    """The kind of mmap_lock: `rwsem` (since 5.11), before that one for which readers spin, too; until 5.1
    `rwsem-xadd`, until 3.15 one for which nobody spins, and until 3.9 one that a release gives to the first
    sleeper. `rwsem-sharded`, one a cpu, goes with an `interval-skiplist`; `ranges` is a list of those that
    are locked. `qspinlock` and `cna` are spin locks, which readers take as writers do; of no release."""
    vma_index: Annotated[str, OneOf(VMA_INDEXES)]
    """What VMAs are found in: a `maple` tree (since 6.1), before that an `rbtree` with a cache of four VMAs a
    thread, and until 3.14 `rbtree-mmap-cache`, with one for all threads. `bonsai` is a balanced tree of nodes
    that are never changed, and of no release; an `interval-skiplist` locks ranges, too."""
    vma_lock: Annotated[str, OneOf(VMA_LOCKS)]
    """What a fault locks instead of mmap_lock, where that works: `none` (until 6.3), a `rwsem` in each VMA
    (6.4 to 6.14) or a `refcount` in it (since 6.15); or nothing, and it looks at the VMA again under the
    page-table lock (`recheck`). In an `interval-skiplist` it is an `interval`."""
    layout: Layout
    """Which fields share a cache line."""
    flush: FlushSpec
    """How other cpus' TLBs are flushed."""
    memcg: MemcgSpec
    """Memory cgroups."""
    limits: Limits
    """Sizes of batches and lists."""
    rwsem: RwSemTuning
    """Constants of the reader-writer semaphore (mmap_lock)."""
    costs: Costs
    """Cpu work of each step, in cycles with its data in the cpu's own cache."""
    calls: CallSpec
    """System calls that concern no memory."""
    slab: SlabSpec
    """Where the kernel's own objects come from."""
    rcu: RcuSpec
    """Grace periods and callbacks."""
    blocks: BlockCosts | None = None
    """Page allocator: what blocks of several pages cost beyond single ones. Absent: nothing."""
    huge_pages: HugePages = HugePages()
    """Pages of 2 MiB."""
    page_allocator: AllocatorName = "buddy"
    """Where pages come from: per-cpu lists over a `buddy` under zone->lock, or another allocator instead of
    both."""
    cna: CnaSpec | None = None
    """NUMA-aware spin locks (CNA's patches), an add-on. Absent: all are plain qspinlocks."""
    latr: LatrSpec | None = None
    """Lazy TLB shootdowns (LATR), an add-on. Absent: flushes are as the kernel's."""
    fork: ForkSpec | None = None
    """fork leaves page tables to parent and child, an add-on. Absent: each table is copied."""
    recycling: RecyclingSpec | None = None
    """munmap of anonymous memory flushes no other TLB (fast page recycling), an add-on. Absent: it does."""
    replicas: ReplicasSpec | None = None
    """A page table for each node (numaPTE, Mitosis), an add-on. Absent: one for all."""
    interval: IntervalSpec | None = None
    """With `vma_index: interval-skiplist`: what that is like."""
    drive: DriveSpec | None = None
    """A block device that programs read past the page cache. Absent: they cannot."""
    exmap: ExmapSpec | None = None
    """The module exmap, an add-on: memory whose pages programs allocate and free themselves."""
    morsels: MorselSpec | None = None
    """Morsels, an add-on. Absent: there are none."""
    shmem: ShmemSpec = ShmemSpec()
    """Shared memory and tmpfs."""
    objects: ObjectSpec = ObjectSpec()
    """What a program gets that asks for memory as an object."""
    swap: SwapSpec | None = None
    """A swap device, and reclaim, which fills it. Absent: memory is used up to the last page."""

    @model_validator(mode="after")
    def _allocator_is_described(self) -> Self:
        if self.page_allocator != "buddy":  # whose costs are the kernel's own
            self.check_allocator(self.page_allocator)
        return self

    @model_validator(mode="after")
    def _objects_are_there(self) -> Self:
        if self.objects.kind == "morsel" and self.morsels is None:
            raise RuleError("`objects.kind: morsel` needs `morsels`", {"morsels": "what they cost"})
        if self.objects.kind == "morsel" and self.objects.populate:
            raise RuleError("a morsel is populated by faults alone", {"objects.populate": "false"})
        if self.morsels is not None and (self.exmap is not None or self.drive is not None):
            raise RuleError(
                "`morsels` goes with no `exmap` and no `drive`", {"morsels": "none", "exmap": "none"}
            )
        return self

    @model_validator(mode="after")
    def _pool_is_taken_from_a_buddy(self) -> Self:
        if self.huge_pages.pool and self.page_allocator != "buddy":
            raise RuleError(
                "the pool of huge pages is taken from a buddy",
                {"huge_pages.pool": "0", "page_allocator": "buddy"},
            )
        return self

    @model_validator(mode="after")
    def _swap_needs_watermarks(self) -> Self:
        if self.swap is not None and self.page_allocator != "buddy":
            raise RuleError("reclaim needs zones with watermarks", {"page_allocator": "buddy"})
        return self

    @model_validator(mode="after")
    def _latr_has_what_it_needs(self) -> Self:
        if self.latr is not None and self.flush.method != "ipi":
            raise RuleError(
                "what does not fit into LATR's rings is flushed by interrupt", {"flush.method": "ipi"}
            )
        if self.latr is not None and self.swap is not None:
            raise RuleError("reclaim knows nothing of the pages that LATR keeps", {"swap": "none"})
        return self

    @model_validator(mode="after")
    def _shared_tables_are_kept_apart(self) -> Self:
        if self.fork is None:
            return self
        if self.swap is not None or self.latr is not None:
            raise RuleError(
                "reclaim and LATR know nothing of tables that several processes have",
                {"swap": "none", "latr": "none"},
            )
        locks = VMA_LOCKS[self.vma_lock]
        if self.fork.tables != "on-demand" and self.vma_lock != "none":
            raise RuleError(
                "a table of several mappings is shared while faults in one of them go on under its own lock",
                {"vma_lock": "none", "fork.tables": "on-demand"},
            )
        if locks.rechecks or locks.speculates:
            raise RuleError(
                "a fault that holds nothing may be in a table while a fork shares it",
                {"vma_lock": "none"},
            )
        return self

    @model_validator(mode="after")
    def _tables_of_an_exmap_are_its_own(self) -> Self:
        if self.exmap is not None and self.fork is not None:
            raise RuleError("a child has no exmap, so it may have no table of one", {"fork": "none"})
        return self

    @model_validator(mode="after")
    def _replicas_have_what_they_need(self) -> Self:
        if self.replicas is None:
            return self
        wanted: dict[str, str] = {}
        if self.flush.method != "ipi":
            wanted["flush.method"] = "ipi"
        if self.huge_pages.thp != "never":
            wanted["huge_pages.thp"] = "never"
        if self.huge_pages.pool:
            wanted["huge_pages.pool"] = "0"
        if self.huge_pages.folios:
            wanted["huge_pages.folios"] = "none"
        if self.page_allocator != "buddy":
            wanted["page_allocator"] = "buddy"
        if self.swap is not None:
            wanted["swap"] = "none"
        if self.latr is not None:
            wanted["latr"] = "none"
        if self.fork is not None:
            wanted["fork"] = "none"
        if self.exmap is not None:
            wanted["exmap"] = "none"
        if VMA_LOCKS[self.vma_lock].rechecks or VMA_LOCKS[self.vma_lock].speculates or self.interval:
            wanted["vma_lock"] = "none, rwsem, refcount"
        if wanted:
            raise RuleError("page tables of each node are for small pages under locks", wanted)
        return self

    @model_validator(mode="after")
    def _recycling_has_what_it_needs(self) -> Self:
        if self.recycling is None:
            return self
        wanted: dict[str, str] = {}
        if self.flush.method != "ipi":
            wanted["flush.method"] = "ipi"
        if self.huge_pages.thp != "never":
            wanted["huge_pages.thp"] = "never"
        if self.huge_pages.pool:
            wanted["huge_pages.pool"] = "0"
        if self.huge_pages.folios:
            wanted["huge_pages.folios"] = "none"
        if self.page_allocator != "buddy":
            wanted["page_allocator"] = "buddy"
        if self.switches.mmap_layout != "top-down":
            wanted["switches.mmap_layout"] = "top-down"
        others: dict[str, Spec | None] = {
            "swap": self.swap,
            "latr": self.latr,
            "fork": self.fork,
            "exmap": self.exmap,
            "replicas": self.replicas,
            "interval": self.interval,
        }
        wanted |= {name: "none" for name, other in others.items() if other is not None}
        if VMA_LOCKS[self.vma_lock].rechecks:
            wanted["vma_lock"] = "none, rwsem, refcount"
        if wanted:
            raise RuleError("pages go round by interrupt, one by one, from the top of memory down", wanted)
        return self

    @model_validator(mode="after")
    def _calls_are_those_of_linux(self) -> Self:
        if self.flush.calls != "linux":
            raise RuleError("Linux asks other cpus in its own way", {"flush.calls": "linux"})
        return self

    @model_validator(mode="after")
    def _vma_locks_are_found_without_mmap_lock(self) -> Self:
        if VMA_LOCKS[self.vma_lock].serve_faults and not VMA_INDEXES[self.vma_index].rcu_safe:
            raise RuleError(
                f"a fault looks for the lock of its VMA without mmap_lock, and may not in a {self.vma_index}",
                {"vma_lock": "none", "vma_index": "maple"},
            )
        if self.switches.maps_lock == "vma" and not VMA_LOCKS[self.vma_lock].serve_faults:
            raise RuleError(
                f"a reader of maps locks VMAs for reading, and there is no such lock in {self.vma_lock}",
                {"vma_lock": "refcount", "switches.maps_lock": "mmap"},
            )
        return self

    @model_validator(mode="after")
    def _intervals_go_together(self) -> Self:
        parts = {
            "vma_index": (self.vma_index, "interval-skiplist"),
            "vma_lock": (self.vma_lock, "interval"),
            "mmap_lock": (self.mmap_lock, "rwsem-sharded"),
        }
        chosen = [name for name, (value, its) in parts.items() if value == its]
        if self.interval is not None:
            chosen.append("interval")
        if not chosen:
            return self
        wanted = {name: its for name, (value, its) in parts.items() if value != its}
        if self.interval is None:
            wanted["interval"] = "what the list is like"
        if wanted:
            raise RuleError(f"{chosen[0]} goes with the other parts of an interval skip list", wanted)
        assert self.interval is not None
        if self.switches.prefetchw_mmap_lock:
            raise RuleError(
                "there is no one line of a sharded lock to prefetch",
                {"switches.prefetchw_mmap_lock": "false"},
            )
        node = self.slab.caches.vma_lock
        size = NODE_HEADER + self.interval.levels * LINK
        if node is None or node.size < size or node.align % LINE_BYTES:
            raise RuleError(
                "a node is an object of its own and begins a cache line",
                {"slab.caches.vma_lock": f"of {size} B or more, align: {LINE_BYTES} B"},
            )
        return self

    @model_validator(mode="after")
    def _ranges_are_locked_by_nobody_else(self) -> Self:
        if self.mmap_lock == "ranges" and self.vma_lock != "none":
            raise RuleError("a fault locks its page by a range, and no VMA", {"vma_lock": "none"})
        if self.mmap_lock == "ranges" and self.switches.prefetchw_mmap_lock:
            raise RuleError(
                "a list of ranges has no count to prefetch", {"switches.prefetchw_mmap_lock": "false"}
            )
        return self

    @model_validator(mode="after")
    def _folios_are_whole(self) -> Self:
        if not self.huge_pages.folios:
            return self
        if self.swap is not None:
            raise RuleError("reclaim cannot split the folios of `huge_pages.folios`", {"swap": "none"})
        lock = VMA_LOCKS[self.vma_lock]
        if lock.rechecks or lock.speculates:
            raise RuleError(
                "a fault that holds no lock looks at one entry only, and not at those of `huge_pages.folios`",
                {"vma_lock": "another kind"},
            )
        return self

    @model_validator(mode="after")
    def _cna_is_described(self) -> Self:
        if self.mmap_lock == "cna" and self.cna is None:
            raise RuleError(
                "a mmap_lock that is a `cna` needs its threshold",
                {"cna.threshold": "such as 10 ms", "mmap_lock": "qspinlock"},
            )
        return self

    @model_validator(mode="after")
    def _vma_locks_have_memory(self) -> Self:
        if VMA_LOCKS[self.vma_lock].separate and self.slab.caches.vma_lock is None:
            raise RuleError(
                f"locks of VMAs that are a `{self.vma_lock}` are objects of their own",
                {"slab.caches.vma_lock": "what they are", "vma_lock": "another kind"},
            )
        return self

    @property
    def swap_pages(self) -> int:
        return 0 if self.swap is None else self.swap.size // PAGE_BYTES

    def refuses(self, machine: MachineSpec) -> str | None:
        pool = self.huge_pages.pool * (PAGE_BYTES << HUGE_ORDER)
        memory = machine.memory.size_per_socket * machine.topology.sockets
        if pool > memory // 2:
            return (
                f"the pool of huge pages (huge_pages.pool) is {format_size(pool)}, and {machine.name} has "
                f"{format_size(memory)}: at most half of it"
            )
        return self.flush.refuses(machine)
