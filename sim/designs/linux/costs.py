"""What Linux's code paths cost: the instructions of a step with its data in the cpu's own cache, in cycles.

What a cache line or a lock costs on top is simulated.
"""

from __future__ import annotations

from typing import ClassVar

from sim.quantities import Cost, Spec


class Costs(Spec):
    """Cpu work of one step each.

    What is `plain` depends on how fast the core runs plain code (`kernel.plain_code` of a machine).
    """

    plain: ClassVar[frozenset[str]] = frozenset(
        {
            "mmap_enter",
            "mmap_region",
            "munmap_gather",
            "munmap_complete",
            "brk",
            "mremap",
            "move_page",
            "move_table",
            "mlock",
            "madvise_flags",
            "mprotect",
            "tree_node",
            "tree_store",
            "tree_slot",
            "tree_split",
            "tree_append",
            "tree_copy",
            "tree_replace",
            "vma_alloc",
            "vma_free",
            "vma_merge",
            "anon_vma_link",
            "i_mmap",
            "empty_entry",
            "cond_resched",
        }
    )

    mmap_enter: Cost
    """Checks before the lock."""
    mmap_region: Cost
    """do_mmap/mmap_region under the lock, without gap search, VMA and tree store."""
    munmap_gather: Cost
    """Find, check, gather and detach under the write lock, without splits and tree stores."""
    munmap_complete: Cost
    """The read-locked rest: zap set-up, mmu_gather, free_pgtables, accounting."""
    brk: Cost
    """Checks and accounting of a heap that grows, without VMA and tree store."""
    mremap: Cost
    """Checks of mremap, and what move_vma and copy_vma do beside VMA, tree store, tables and unmapping."""
    move_page: Cost
    """Move one PTE: clear it, set it at its new place."""
    move_table: Cost
    """Move a whole table: clear one entry of an upper table, set another one."""
    mlock: Cost
    """Checks and flags of one VMA that is locked or unlocked, without joining, cutting and pages."""
    mlock_page: Cost
    """Look at one present page of it and set or clear its flag."""
    mincore_page: Cost
    """Look at one entry and note whether its page is there."""
    lazyfree_page: Cost
    """MADV_FREE: look at one present entry and clear its accessed and dirty bits."""
    madvise_flags: Cost
    """Advice that is a flag of a VMA: checks and the flag, without joining and cutting."""
    process_madvise: Cost
    """process_madvise, beside what it does for each range: the process by its pidfd, the vector."""
    maps_read: Cost
    """A read of /proc/PID/maps, beside its lines: the process, the buffer and its copy."""
    maps_line: Cost
    """Write the line of a VMA."""
    signal: Cost
    """The delivery of a signal for a bad access: siginfo, the handler looked up, its frame with the FPU state
    written to the stack."""
    sigreturn: Cost
    """The way back from the handler: the frame read and the FPU state restored."""
    tree_node: Cost
    """Search in one node of the VMA index: a maple node, or a VMA of the rb-tree or its cache."""
    tree_store: Cost
    """Maple tree: allocate and fill a new leaf, swing the parent's slot. Rb-tree: link or unlink a VMA."""
    tree_slot: Cost
    """Maple tree: a store that writes slots and pivots of a leaf in place."""
    tree_split: Cost
    """Maple tree: the same for a store that splits or joins nodes, on top. Rb-tree: each rotation."""
    tree_append: Cost
    """Maple tree: store a VMA behind all others in a tree that has no readers, without splits."""
    tree_copy: Cost
    """Maple tree: a node's copy in a tree that is duplicated."""
    tree_replace: Cost
    """Maple tree: write one slot of a node in place."""
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
    """Make a page anonymous: its rmap and counters."""
    memcg_charge: Cost
    """Charge a page to a memory cgroup: find that, statistics; without the counters."""
    huge_page: Cost
    """The same of a huge page, on top: the descriptors of its 511 other pages."""
    split_huge: Cost
    """Fill a table with the 512 entries of a huge page and take over its rmap."""
    anon_vma: Cost
    """anon_vma_prepare for the first fault of a VMA."""
    anon_vma_link: Cost
    """anon_vma_clone or unlink_anon_vmas of one VMA."""
    file_page: Cost
    """Map a page of a file that was asked for: its rmap and counters."""
    file_around: Cost
    """Map one of the pages around it as well (`fault_around`)."""
    cache_lookup: Cost
    """Find a page in the page cache."""
    cache_add: Cost
    """Add a page: the xarray, counters; without its charge and zeroing."""
    i_mmap: Cost
    """Insert a VMA into the interval tree of its file, or remove it."""
    fork: Cost
    """copy_process, without the address space: a task, its stack, files and signals."""
    percpu_area: Cost
    """Take a per-cpu area from its allocator, or give it back, under pcpu_lock."""
    percpu_cpu: Cost
    """Zero or sum up the part of one cpu in such an area."""
    fork_page: Cost
    """Copy one PTE: write-protect, counters."""
    fork_further: Cost
    """The same of one more page of the folio, in a batch (`fork_batch`)."""
    execve: Cost
    """execve, without the address spaces: the program's file, its header, the stack with its arguments."""
    exit: Cost
    """do_exit, without the address space."""
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
    """Clear one PTE of a row: rmap, counters, gather."""
    empty_entry: Cost
    """Go past an empty entry of an upper table, in unmap_page_range and again in free_pgd_range, without
    cond_resched."""
    cond_resched: Cost
    """Look whether somebody else wants the cpu, after each such entry; nothing where the kernel can be
    preempted (PREEMPT_LAZY, since 7.0)."""
    mprotect: Cost
    """Checks and flags of one VMA (do_mprotect_pkey, mprotect_fixup), without joining, cutting and PTEs."""
    uffd_register: Cost
    """Register one VMA, or unregister it, without joining and cutting."""
    uffd_fault: Cost
    """Ask another thread for a page: a message, its place in a queue."""
    uffd_read: Cost
    """Take a message and copy it to user memory."""
    uffd_fill: Cost
    """UFFDIO_COPY or UFFDIO_ZEROPAGE of one page, without its allocation, bytes, rmap and entry."""
    change_page: Cost
    """Rewrite one PTE: exchange, look whether it may become writable, commit, gather."""


class BlockCosts(Spec):
    """What the page allocator does for blocks of several pages, and for frees where they differ."""

    zone_free: Cost
    """Per block moved back to the buddy, instead of `zone_page`."""
    zone_check: Cost
    """Check one more struct page of a block that leaves the buddy: under zone->lock, if it goes to a list."""
    free_check: Cost
    """Check one more struct page of a block that is freed."""
    free_check_cached: Cost | None = None
    """The same where the cpu was given or gave back no other block since. Absent: as `free_check`."""
