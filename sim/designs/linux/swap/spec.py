"""What a Linux design file says of swap and reclaim.

The rules of reclaim (how much is scanned, when it gives up) are those of mm/vmscan.c and mm/page_alloc.c.
"""

from __future__ import annotations

from pydantic import PositiveInt

from sim.mm import SwapSpace
from sim.quantities import Cost, Duration, Size, Spec


class ReclaimSpec(Spec):
    """When pages are taken away, and how many at a time."""

    min_free: Size | None = None
    """Free memory that only the kernel itself may use (vm.min_free_kbytes), of all zones together. Absent:
    what Linux computes, 4 times the root of the memory in KiB, between 128 KiB and 256 MiB."""
    watermark_scale_factor: PositiveInt
    """Distance of the watermarks, in ten-thousandths of a zone (vm.watermark_scale_factor)."""
    batch: PositiveInt
    """Pages that are scanned at a time, and that a direct reclaim is content with (SWAP_CLUSTER_MAX)."""
    priorities: PositiveInt
    """How often a scan that frees too little is repeated with a share twice as large (DEF_PRIORITY)."""
    retries: PositiveInt
    """Reclaims without progress after which memory is out (MAX_RECLAIM_RETRIES)."""
    throttle: Duration
    """How long one that makes no progress sleeps (reclaim_throttle, a jiffy)."""


class ReclaimCosts(Spec):
    """Cpu work of one step each, without lines, locks, flushes and the device."""

    shrink: Cost
    """One call of shrink_lruvec: the counts of its lists, and what follows from them."""
    scan_page: Cost
    """Look at one isolated page (shrink_folio_list): its flags, what becomes of it."""
    rmap_page: Cost
    """Find the VMA, the table and the entry of one mapping of a page (page_vma_mapped_walk)."""
    unmap_page: Cost
    """Take one entry away and put a swap entry there: rmap, counters."""
    slot: Cost
    """Take a swap slot from the cpu's cache, or put it back."""
    refill_slot: Cost
    """Find one free slot, or free it, under the lock of the swap device."""
    count_slot: Cost
    """Count one user of a slot more or less."""
    cache_page: Cost
    """Add a page to the swap cache, or remove it, under its lock."""
    swap_in: Cost
    """do_swap_page, without look-up, allocation and reading."""
    zap_entry: Cost
    """Zap one swap entry."""


class SwapSpec(SwapSpace):
    """A swap device, and reclaim, which fills it. A kernel without runs until memory is out."""

    reclaim: ReclaimSpec
    """When pages are taken away."""
    costs: ReclaimCosts
    """Cpu work of each step."""
