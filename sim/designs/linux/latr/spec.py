"""What a Linux design file says of LATR."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from sim.quantities import Cost, Duration, Spec


class LatrSpec(Spec):
    """Lazy TLB shootdowns on Linux, an add-on: what munmap and MADV_DONTNEED remove is not flushed by
    interrupts, but by each cpu itself at its next tick or context switch."""

    slots: Annotated[int, Field(ge=2)]
    """Flushes that a cpu may have published and not all have swept, and one (LAZY_TLB_NUM_ENTRIES)."""
    hold: Duration
    """Pages and VMAs are kept for longer than that before they are freed (2 * HZ jiffies)."""
    pages_a_batch: PositiveInt
    """Pages that one page of the list of kept pages has room for."""
    publish: Cost
    """Fill one slot (native_flush_save_state), without its lines."""
    look: Cost
    """Look at the ring of one cpu in a sweep (native_flush_saved_states), without its line."""
    sweep: Cost
    """Look at one slot there, without its lines and the flush."""
    keep: Cost
    """Put a batch of pages on the list, or a VMA (update_lazy_list, __vma_add_lazy_list)."""
