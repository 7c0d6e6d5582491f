"""What files say of page allocators that any design can have."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import PositiveInt

from sim.errors import RuleError
from sim.quantities import Cost, Spec


class KernelSideSpec(Spec):
    """What Linux does around an allocator that stands in for its buddy and per-cpu lists."""

    get: Cost
    """alloc_pages without the allocator: zone list, watermark, the new page's descriptor."""
    put: Cost
    """__free_pages without the allocator, for one page."""
    threshold: PositiveInt
    """How many pages a cpu may be away from the zone's count of free pages before it writes it
    (stat_threshold)."""
    far_block: Cost
    """The descriptor of a new block comes from memory: of 64 pages and more each lies in a page of its own,
    where no prefetcher goes."""
    check: Cost
    """Check the descriptor of one page of a block that is given back, but for the first."""
    check_cached: Cost
    """The same where the block is the one that the cpu has just been given."""


class LlfreeSpec(Spec):
    """LLFree: a bit field and an entry for each 2 MiB, trees of those, and a tree reserved for each core.

    Each atomic is an access to its cache line; the costs are the code around them.
    """

    tree_children: PositiveInt
    """How many areas of 2 MiB a tree has."""
    words_per_line: PositiveInt
    """How many trees' words one cache line of the shared array holds."""
    get: Cost
    """Take a block of less than 2 MiB, without the atomics and without what is looked at in vain."""
    put: Cost
    """Give it back."""
    huge_get: Cost
    """Take 2 MiB or 4 MiB."""
    huge_put: Cost
    """Give them back."""
    scan: Cost
    """Look at one entry, row of bits or tree that does not do."""
    reserve: Cost
    """Reserve another tree, without the atomics and the search."""
    pause: Cost
    """Between two looks at a reservation that another cpu is making for the same core."""
    first_load: Cost | None = None
    """A line of bits or entries that nobody has used yet. Absent: from the last-level cache, where that has
    room for all of them, or from memory. With metadata in other memory than DRAM, what that takes."""
    linux: KernelSideSpec | None = None
    """Absent: in user space, or in a kernel that does nothing else."""


class FrameListSpec(Spec):
    """A list of free frames, linked through their descriptors, without levels and without merging."""

    get: Cost
    """Take the first frame, without the atomics, the lock and the descriptor."""
    put: Cost
    """Put a frame in front."""
    descriptor: Cost
    """Load the descriptor of a frame that nobody has used, one after the other from memory."""
    pause: Cost
    """Between two tries for the lock."""


class FrameBuddySpec(Spec):
    """A buddy for each node under a spin lock, and in front of it a list of single frames for each cpu."""

    get: Cost
    """Take a frame from the cpu's list."""
    put: Cost
    """Put one on it."""
    batch: PositiveInt
    """How many frames move between a list and the buddy at once."""
    high: PositiveInt
    """How many frames a list may have."""
    move: Cost
    """Move one frame or block, under the lock."""


AllocatorName = Literal["buddy", "llfree", "list-locked", "list-cas", "list-local"]
"""`buddy`: lists for each cpu over a buddy under a lock. `llfree`: LLFree. `list-locked`, `list-cas`,
`list-local`: one list of frames under a lock, by compare-and-swap, or one for each cpu."""

BLOCKS: Final = {
    "buddy": "frame_buddy",
    "llfree": "llfree",
    "list-locked": "frame_list",
    "list-cas": "frame_list",
    "list-local": "frame_list",
}
"""Which block of a design's file has the costs of each."""


class HasAllocator(Spec):
    """The keys of a design whose page allocator can be chosen."""

    llfree: LlfreeSpec | None = None
    """For `page_allocator: llfree`: its sizes and costs."""
    frame_list: FrameListSpec | None = None
    """For `page_allocator: list-...`: their costs."""
    frame_buddy: FrameBuddySpec | None = None
    """For `page_allocator: buddy`, where the design has no buddy of its own: its sizes and costs."""

    def check_allocator(self, name: AllocatorName) -> None:
        """Raise `RuleError` if the file has no costs for the allocator *name*."""
        block = BLOCKS[name]
        if getattr(self, block) is None:
            raise RuleError(
                f"`page_allocator: {name}` needs its costs", {block: "give it, or another `page_allocator`"}
            )
