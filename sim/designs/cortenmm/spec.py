"""What a CortenMM design file says: the locking protocol, the optional parts and what the steps cost."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from sim.designs.base_spec import DesignSpec
from sim.errors import RuleError
from sim.mm import MAX_ORDER, AllocatorName, HasAllocator, SwapSpace
from sim.quantities import PAGE_BYTES, Cost, Duration, Spec


class Limits(Spec):
    """Sizes of caches and tables in the artifact."""

    frame_cache: PositiveInt
    """Single frames in a cpu's first-level cache."""
    frame_refill: PositiveInt
    """Frames moved from the cpu's buddy at once."""
    frame_chunk: PositiveInt
    """Frames that a cpu's buddy takes from the global one at once."""
    table_pool_low: int
    """Zeroed page-table pages in a cpu's pool at or below which it is filled up."""
    table_pool_full: PositiveInt
    """Zeroed page-table pages in a full pool."""
    fault_around: PositiveInt
    """Aligned pages of a file that a fault looks at."""
    latr_slots: PositiveInt
    """Records of lazy TLB shootdowns that a cpu keeps until all others have seen them."""

    @model_validator(mode="after")
    def _refills_fit(self) -> Self:
        chunk = max(1, self.frame_chunk >> MAX_ORDER) << MAX_ORDER
        if self.frame_refill > min(self.frame_cache, chunk):
            raise RuleError(
                "more frames are moved at once than a cache or a chunk holds",
                {
                    "frame_refill": f"at most {min(self.frame_cache, chunk)}",
                    "frame_cache": f"at least {self.frame_refill}",
                    "frame_chunk": f"at least {self.frame_refill}",
                },
            )
        return self


class Bravo(Spec):
    """The reader-biased locks of the rw protocol."""

    slots: PositiveInt
    """Of the table of visible readers."""
    inhibit: Duration
    """How long a lock whose bias was revoked stays without it."""
    scan_line: Cost
    """Look at one line of the table of visible readers, at revocation."""
    frame_metadata: PositiveInt
    """Bytes of metadata a frame; gives locks their addresses."""


class Costs(Spec):
    """Cpu work of one step each, with its data in the cpu's own cache.

    What is `plain` depends on how fast the core runs plain code (`kernel.plain_code` of a machine).
    """

    plain: ClassVar[frozenset[str]] = frozenset(
        {
            "syscall",
            "va_alloc",
            "va_scan",
            "cursor",
            "walk_level",
            "read_lock",
            "lock_node",
            "query",
            "mark",
            "unmap",
            "unmap_range",
            "protect",
            "fill_table",
            "cache_lookup",
            "cache_add",
            "vma_map",
            "fork",
            "execve",
            "exit",
            "flush_ask",
            "flush_answer",
            "latr_search",
            "latr_publish",
            "latr_sweep",
        }
    )

    syscall: Cost
    """Dispatch, argument checks and address-space look-up of one system call."""
    va_alloc: Cost
    """Take a range of virtual addresses."""
    va_scan: Cost
    """Per cpu whose range a fixed mapping looks at."""
    cursor: Cost
    """Make and drop a cursor: preemption and guard counters, pool check."""
    walk_level: Cost
    """Load one entry on the way down."""
    read_lock: Cost
    """rw: instructions of one reader lock and unlock, without its atomics."""
    lock_node: Cost
    """Allocate and free the queue node of one lock."""
    query: Cost
    """Read the status of one page."""
    mark: Cost
    """Write one status entry."""
    map: Cost
    """Write one present entry: reference counts, counters."""
    unmap_range: Cost
    """What clearing a range takes beside its entries."""
    unmap: Cost
    """Clear one entry."""
    protect: Cost
    """Give one entry or status other rights."""
    fill_table: Cost
    """Write the status into all 512 entries of a new table (4 KiB of stores)."""
    table_alloc: Cost
    """Take a zeroed table from the cpu's pool and set up its descriptor."""
    cache_lookup: Cost
    """Find a page of a file or of shared memory."""
    cache_add: Cost
    """Enter a page there."""
    vma_map: Cost
    """Enter a mapping of a file or of shared memory into the table of them."""
    fork: Cost
    """What a fork does beside copying entries: the process, its thread, an empty space."""
    execve: Cost
    """What a new program takes beside an empty space."""
    exit: Cost
    """What the end of a process takes beside its memory, and its parent, which waits for it."""
    fault: Cost
    """Fault dispatch, permission checks, counters."""
    frame_alloc: Cost
    """Take a frame from the cpu's cache."""
    frame_free: Cost
    """Put a frame into the cpu's cache."""
    frame_refill: Cost
    """Fixed part of a move between the cpu's cache and its buddy."""
    flush_ask: Cost
    """Instructions of a sender for each cpu that it asks to flush: the operation and the call are put into
    that cpu's queues."""
    flush_answer: Cost
    """Those of a cpu that is asked, for each call."""
    latr_search: Cost
    """Find a free record for a lazy shootdown."""
    latr_publish: Cost
    """Fill the record and make it visible."""
    latr_sweep: Cost
    """Per cpu whose records a sweep reads."""


class SwapCosts(Spec):
    """Cpu work of one step each, without lines, locks, flushes and the device."""

    scan_page: Cost
    """Look at the descriptor of one frame."""
    link: Cost
    """Enter a space into the family that its private pages are looked for in, or take it out."""
    slot: Cost
    """Take a swap slot from the cpu's cache, or put it back."""
    refill_slot: Cost
    """Find one free slot, or free it, under the lock of the swap device."""
    count_slot: Cost
    """Count one user of a slot more or less."""
    cache_page: Cost
    """Add a page to the swap cache, or remove it, under its lock."""
    swap_in: Cost
    """Ask the device for a page."""


class SwapSpec(SwapSpace):
    """A swap device, and reclaim, which fills it. A kernel without runs until memory is out."""

    batch: PositiveInt
    """Frames that a reclaim looks at at a time, and is content with."""
    costs: SwapCosts
    """Cpu work of each step."""


class CortenSpec(DesignSpec, HasAllocator):
    """One variant of CortenMM."""

    protocol: Literal["rw", "adv", "coarse", "nontransactional", "optimistic"]
    """`rw`: reader-writer locks on the way down; `adv`: RCU walk, then locks of the covering page and
    below; `coarse`: one lock for the whole tree; `nontransactional`: adv's locks, for one entry after the
    other; `optimistic`: adv's locks for who writes, a version of each entry for who looks."""
    page_allocator: Literal["own"] | AllocatorName = "own"
    """Where frames come from: the design's own allocator, or another one. Tables come from there, too."""
    metadata: Literal["in-entry", "array"] = "in-entry"
    """Where the status of a page is: in its page-table entry, or in an array beside the table."""
    metadata_entry: Literal[8, 16] = 8
    """Bytes of an entry of that array. `optimistic` has 8 more for the version, so 16."""
    source: Literal["paper", "artifact", "rfc"] = "paper"
    """Where the artifact has a stub and the paper a design: what the kernel does. The artifact does nothing
    for msync and for MADV_DONTNEED, takes MADV_FREE for munmap, does not shrink a heap, maps zeros behind the
    end of a private file, forgets what is mapped of files only with the process, has no mremap and no mlock,
    leaves pages mapped that a file has lost, and brings none into memory for fallocate. With `rfc`
    (Asterinas, RFC-0003) all is as in the paper, but no address is allocated: a mapping that may lie anywhere
    locks one part of the address space for each cpu and looks for room in it."""
    va_allocator: Literal["per-core", "global"]
    """Virtual addresses from a slice of each cpu's own, or from one pointer under a lock. Nobody asks with
    `source: rfc`."""
    munmap_flush: Literal["lazy", "lazy-as-coded", "synchronous"] = "lazy"
    """`lazy`: munmap publishes what other TLBs have to drop, and they do at a tick (LATR); `synchronous`: by
    interrupts, inside the transaction. `lazy-as-coded`: as the artifact does, whose records are never free
    again; when all are used nobody else is told, so other threads may still reach frames that are freed."""
    mprotect_flush: Literal["synchronous", "undispatched"] = "synchronous"
    """`synchronous`: by interrupts, inside the transaction; `undispatched`: no TLB is told, not even the own
    one, so rights that were taken away go on (`mprotect_async_tlb` of the artifact, for JVM and dedup)."""
    latr_tick: Duration = Field(gt=0)
    """Time between two timer ticks, at which a cpu does the lazy TLB flushes it was asked for."""
    limits: Limits
    """Sizes of caches and tables."""
    bravo: Bravo
    """The reader-biased locks of the `rw` protocol."""
    swap: SwapSpec | None = None
    """Swap space in memory that compresses; absent: none. Neither the artifact nor the RFC has any."""
    costs: Costs
    """Cpu work of each step, with its data in the cpu's own cache."""

    @model_validator(mode="after")
    def _allocator_is_described(self) -> Self:
        if self.page_allocator != "own":
            self.check_allocator(self.page_allocator)
        return self

    @model_validator(mode="after")
    def _versions_have_room(self) -> Self:
        if self.protocol == "optimistic" and (self.metadata, self.metadata_entry) != ("array", 16):
            raise RuleError(
                "versions are in the metadata array, beside the status",
                {"metadata": "array", "metadata_entry": "16"},
            )
        return self

    @model_validator(mode="after")
    def _search_is_a_transaction(self) -> Self:
        if self.protocol == "nontransactional" and self.source == "rfc":
            raise RuleError(
                "without an address allocator one transaction looks for room and maps there",
                {"source": "paper", "protocol": "adv"},
            )
        return self

    @model_validator(mode="after")
    def _swap_is_the_papers(self) -> Self:
        if self.swap is not None and (self.source != "paper" or self.swap.compressed is None):
            raise RuleError(
                "only the paper's CortenMM swaps, and only to memory that compresses",
                {"source": "paper", "swap.compressed": "its costs", "swap": "nothing"},
            )
        return self

    @property
    def swap_pages(self) -> int:
        return 0 if self.swap is None else self.swap.size // PAGE_BYTES
