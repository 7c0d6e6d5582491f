"""What a RadixVM design file says: page tables, sizes, Refcache and what the steps cost."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from sim.designs.base_spec import DesignSpec
from sim.errors import RuleError
from sim.mm import AllocatorName, FlushSpec, HasAllocator
from sim.quantities import PAGE_BYTES, Cost, CycleCost, Duration, Size, Spec


class TreeSpec(Spec):
    """The radix tree's geometry (include/radix_array.hh)."""

    node: Size
    """Bytes of a node, a power of two: of slots of 8 B, or of a leaf's. It has a page to itself."""
    leaf_slot: Size
    """Bytes of a page's descriptor, with the set of cores that have it: a power of two up to 64 B."""

    @model_validator(mode="after")
    def _a_power_of_two(self) -> Self:
        if self.leaf_slot & (self.leaf_slot - 1) or not 8 <= self.leaf_slot <= 64:
            raise RuleError("a leaf's slots share lines evenly", {"leaf_slot": "8 B, 16 B, 32 B or 64 B"})
        if self.node & (self.node - 1) or not 2 * self.leaf_slot <= self.node <= PAGE_BYTES:
            allowed = f"a power of two from {2 * self.leaf_slot} B to {PAGE_BYTES} B"
            raise RuleError("a node has slots for all values of some bits, in a page", {"node": allowed})
        return self


class RefcacheSpec(Spec):
    """Refcache (kernel/refcache.cc): counts of references that each core keeps to itself for a while."""

    ways: PositiveInt
    """Objects of which a core can hold back a difference."""
    tick: Duration
    """Time between two timer ticks of a core, each of which flushes and reviews."""
    epochs: PositiveInt = 2
    """Epochs for which a count has to stay zero before its object is freed."""
    descriptor: Size
    """Bytes of a frame's descriptor (page_info): with its address an object finds its way."""


class FrameSpec(Spec):
    """The page allocator (kernel/kalloc.cc)."""

    hot_pages: PositiveInt
    """Pages of a core's list of those freed last. Half of it is filled, and returned, at a time."""

    @model_validator(mode="after")
    def _has_halves(self) -> Self:
        if self.hot_pages % 2:
            raise RuleError("half of the list moves at a time", {"hot_pages": "an even number"})
        return self


class RadixCosts(Spec):
    """Cpu work of one step each, with its data in the cpu's own cache; lines, locks and zeroing beside."""

    plain: ClassVar[frozenset[str]] = frozenset(
        {
            "mmap",
            "munmap",
            "fault",
            "mprotect",
            "descend",
            "slot",
            "fill_slot",
            "find_entry",
            "entry",
            "reference",
            "evict",
            "scan_ways",
            "review",
            "frame_alloc",
            "frame_free",
            "buddy_page",
            "node_alloc",
            "external",
            "page_info",
            "fork",
            "look_up",
        }
    )

    syscall: Cost
    """What a system call takes beside the way into the kernel and out of it."""
    mmap: Cost
    """The rest of an mmap: the descriptor, statistics, the gathering of pages."""
    munmap: Cost
    """The same of a munmap."""
    fault: Cost
    """The same of a page fault."""
    mprotect: Cost
    """The same of an mprotect."""
    descend: Cost
    """One level of the tree."""
    slot: Cost
    """Look at a slot: is it set, what has it."""
    fill_slot: Cost
    """Assign a descriptor to a slot."""
    find_entry: Cost
    """Walk a page table down to an entry."""
    entry: Cost
    """Store or clear an entry."""
    reference: Cost
    """Add to the difference that the core holds back of a count, without an eviction."""
    evict: Cost
    """Bring one to its object, beside the object's line."""
    scan_ways: Cost
    """Look at all ways of a core, to flush them."""
    review: Cost
    """Look at an object again whose count was zero, beside its line."""
    frame_alloc: Cost
    """Take a page off the core's list."""
    frame_free: Cost
    """Put one on it."""
    buddy_page: Cost
    """Take a page out of a buddy, or return it."""
    node_alloc: Cost
    """A new node of the tree, beside its zeroing."""
    external: Cost
    """Memory for one value that stands for a whole node, or back."""
    page_info: Cost
    """Make a frame's descriptor."""
    fork: Cost
    """What a fork takes beside the tree."""
    look_up: Cost = CycleCost(0, 0)
    """What a bench of the tree alone takes for a look-up beside the tree: the random page, the call, the
    loop."""


class RadixSpec(DesignSpec, HasAllocator):
    """One RadixVM."""

    page_tables: Literal["per-core", "shared"]
    """Each core has page tables of its own, and each page's descriptor the set of cores that have it; or one
    page table a process, and whoever runs the process may have any page of it."""
    page_allocator: Literal["own"] | AllocatorName = "own"
    """Where frames come from: the design's own allocator, or another one. Tables come from there, too."""
    flush_pages: PositiveInt = 4
    """With one page table: up to so many pages are flushed one by one, more by a new CR3."""
    pause: Cost = CycleCost(0, 0)
    """PAUSE, between two looks at a lock bit that is set."""
    tree: TreeSpec
    """Sizes of the radix tree of what is mapped."""
    refcache: RefcacheSpec
    """The counts of references to frames."""
    frames: FrameSpec
    """The page allocator."""
    flush: FlushSpec
    """How other cores are asked to flush."""
    costs: RadixCosts
    """Cpu work of the steps."""

    @model_validator(mode="after")
    def _allocator_is_described(self) -> Self:
        if self.page_allocator != "own":
            self.check_allocator(self.page_allocator)
        return self

    @model_validator(mode="after")
    def _calls_of_sv6(self) -> Self:
        if self.flush.calls != "sv6" or self.flush.asids != 1:
            raise RuleError("it asks other cores as sv6 does", {"flush": "calls: sv6 and asids: 1"})
        return self
