"""What a Linux design file says of skipped flushes."""

from __future__ import annotations

from pydantic import PositiveInt

from sim.quantities import Cost, Spec


class RecyclingSpec(Spec):
    """Fast page recycling, an add-on: munmap of anonymous memory does not flush other TLBs; a page is flushed
    when it leaves the process."""

    addresses: PositiveInt
    """Pages of addresses that have been unmapped so, and wait for a flush before they are mapped again: at so
    many there is one."""
    mark: Cost
    """Note in struct page whose TLBs may show the page, when it is unmapped."""
    check: Cost
    """Look at that note when a page is given away."""
