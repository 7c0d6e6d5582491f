"""What a Linux design file says: which kernel generation, and what its code paths cost.

Costs are the instructions of a step with its data in the cpu's own cache, in cycles; what a cache line or a
lock costs on top is simulated.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import PositiveInt, model_validator

from sim.designs.base import DesignSpec, OneOf
from sim.designs.linux.rcu import RcuSpec
from sim.designs.linux.slab.spec import SlabSpec
from sim.designs.linux.vma_locks import VMA_LOCKS
from sim.errors import RuleError
from sim.hardware import MachineSpec
from sim.mm import FlushSpec, LlfreeSpec
from sim.quantities import Cost, Spec
from sim.sync import RwSemTuning


class Switches(Spec):
    """What differs between kernel versions."""

    prefetchw_mmap_lock: bool
    """Every user fault prefetches mmap_lock for writing (until 6.15)."""
    lru_drain_on_zap: bool
    """munmap drains the cpu's LRU batch before it zaps (until 6.13)."""


class Limits(Spec):
    """Sizes of batches and lists."""

    lru_batch: PositiveInt
    """Pages in a cpu's LRU batch before it is emptied (folio batch)."""
    pcp_batch: PositiveInt
    """Pages moved at once between a cpu's page list and the buddy allocator."""
    pcp_high: PositiveInt
    """Pages in a cpu's list above which frees go back to the buddy allocator."""
    gather_pages: PositiveInt
    """Pages that are unmapped before they are flushed and freed (mmu_gather)."""
    max_map_count: PositiveInt
    """VMAs that a process may have (sysctl vm.max_map_count)."""


class Costs(Spec):
    """Cpu work of one step each."""

    mmap_enter: Cost
    """Checks before the lock."""
    mmap_region: Cost
    """do_mmap/mmap_region under the lock, without gap search, VMA and tree store."""
    munmap_gather: Cost
    """Find, check, gather and detach under the write lock, without splits and tree stores."""
    munmap_complete: Cost
    """The read-locked rest: zap set-up, mmu_gather, free_pgtables, accounting."""
    tree_node: Cost
    """Search in one maple node."""
    tree_store: Cost
    """Allocate and fill a new leaf node, swing the parent's slot."""
    tree_split: Cost
    """The same for a store that splits or joins nodes, on top."""
    vma_alloc: Cost
    """Allocate and fill a VMA."""
    vma_free: Cost
    """Free a VMA; the rest runs later, after a grace period."""
    vma_merge: Cost
    """Decide on and carry out a merge, without the tree store."""
    lock_vma: Cost
    """lock_vma_under_rcu without tree walk and atomics."""
    fault: Cost
    """handle_mm_fault, without allocation, zeroing, locks and exception entry."""
    anon_page: Cost
    """Make a page anonymous: its charge, rmap and counters."""
    anon_vma: Cost
    """anon_vma_prepare for the first fault of a VMA."""
    anon_vma_link: Cost
    """anon_vma_clone or unlink_anon_vmas of one VMA."""
    table_alloc: Cost
    """Allocate and initialise a page-table page, without zeroing."""
    table_free: Cost
    """Unlink one, without giving its page back."""
    page_alloc: Cost
    """Take a page from the per-cpu list."""
    page_free: Cost
    """Put a page on the per-cpu list."""
    zone_refill: Cost
    """Fixed part of a bulk move between per-cpu list and buddy, under zone->lock."""
    zone_page: Cost
    """Per page moved."""
    lru_add: Cost
    """Add a page to the cpu's LRU batch."""
    lru_move: Cost
    """Fixed part of emptying a batch, under lru_lock."""
    lru_page: Cost
    """Per page of the batch; touches its struct page."""
    zap_table: Cost
    """Zap pages of one level-1 table: map it, set up and finish the batch of its pages."""
    zap_page: Cost
    """Clear one PTE: rmap, counters, gather."""
    mprotect: Cost
    """Checks and flags of one VMA (do_mprotect_pkey, mprotect_fixup), without joining, cutting and PTEs."""
    change_page: Cost
    """Rewrite one PTE: exchange, look whether it may become writable, commit, gather."""


class BlockCosts(Spec):
    """What the page allocator does for blocks of several pages, and for frees where they differ."""

    zone_free: Cost
    """Per block moved back to the buddy, instead of `zone_page`."""
    zone_check: Cost
    """Check one more struct page of a block that leaves the buddy, under zone->lock."""
    free_check: Cost
    """Check one more struct page of a block that is freed."""


class LinuxSpec(DesignSpec):
    """One kernel version. Without *blocks* only single pages are allocated."""

    switches: Switches
    """What differs between kernel versions."""
    vma_lock: Annotated[str, OneOf(VMA_LOCKS)]
    """What a fault locks instead of mmap_lock, where that works: `none` (until 6.3), or a `rwsem` in each VMA
    (6.4 to 6.14)."""
    flush: FlushSpec
    """How other cpus' TLBs are flushed."""
    limits: Limits
    """Sizes of batches and lists."""
    rwsem: RwSemTuning
    """Constants of the reader-writer semaphore (mmap_lock)."""
    costs: Costs
    """Cpu work of each step, in cycles with its data in the cpu's own cache."""
    slab: SlabSpec
    """Where the kernel's own objects come from."""
    rcu: RcuSpec
    """Grace periods and callbacks."""
    blocks: BlockCosts | None = None
    """Page allocator: blocks of several pages. Absent: only single pages are allocated."""
    page_allocator: Literal["buddy", "llfree"] = "buddy"
    """Where pages come from: per-cpu lists over a `buddy` under zone->lock, or `llfree` instead of both."""
    llfree: LlfreeSpec | None = None
    """With `page_allocator: llfree`: its sizes and costs."""

    @model_validator(mode="after")
    def _llfree_is_described(self) -> Self:
        if (self.llfree is not None) != (self.page_allocator == "llfree"):
            raise RuleError(
                "`llfree` is for `page_allocator: llfree`, which needs it",
                {"page_allocator": "llfree" if self.llfree else "buddy, or give `llfree`"},
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

    def refuses(self, machine: MachineSpec) -> str | None:
        return self.flush.refuses(machine)
