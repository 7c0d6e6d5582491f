"""A cpu's list of free pages tunes itself (mm/page_alloc.c since 6.7).

    takes only    refill 63 | 126 | 252 | ... 2016 at a time; the list may be longer by each refill
    gives only    full: back go as many as came in a row, up to 2016; the list may be so much longer

So a cpu that takes and gives the same many pages again and again ends with all of them on its list, and never
comes to zone->lock. Blocks of 2, 4 or 8 pages are another matter: kept on lists they split up larger ones.
So a cpu that only gives such blocks (slabs after a grace period) soon gives back all that it has, and then
one block after the other.

Left out: the way back, when nobody wants the pages (decay_pcp_high, once a second), and when the zone has few
left (ZONE_BELOW_HIGH).
"""

from __future__ import annotations

from typing import Literal

Drain = Literal["never", "when full", "in a row"]
"""When a block of 2, 4 or 8 pages that is put on a cpu's list makes all of the list go back: never (until
5.17), once the list has been full since somebody took from it (5.18 to 6.6), or when a batch of pages has
come in a row and the last was such a block, too (since 6.7)."""


class PcpTuning:
    """How many pages one cpu's list may have, and how many move at once, by what the cpu does.

    Since 6.7 (nr_pcp_alloc, nr_pcp_free and nr_pcp_high of mm/page_alloc.c, 6.13): a refill doubles the next
    one, and the list may be longer by what it took; frees in a row go back together, and the list may be so
    much longer. *least* and *most* are the bounds of its length *high*; where they are one, nothing changes.
    *drain* is what blocks do. *roomy*: a cpu's part of the last-level cache holds three batches, so a list of
    less than one stays (PCPF_FREE_HIGH_BATCH, since 6.7).
    """

    __slots__ = (
        "_batch",
        "_drain",
        "_factor",
        "_freed",
        "_least",
        "_most",
        "_overflows",
        "_roomy",
        "_row",
        "_scale",
        "high",
    )

    def __init__(
        self, batch: int, scale: int, least: int, most: int, drain: Drain = "never", *, roomy: bool = False
    ) -> None:
        self.high = least
        self._batch = batch
        self._scale = scale
        self._least = least
        self._most = max(least, most)
        self._drain = drain
        self._roomy = roomy
        self._factor = 0  # alloc_factor
        self._freed = 0  # free_count
        self._overflows = 0  # free_factor, until 6.6
        self._row = False  # PCPF_PREV_FREE_HIGH_ORDER

    def took(self) -> None:
        """A page or a block was taken from the list."""
        self._freed >>= 1
        self._overflows >>= 1

    def refill(self) -> int:
        """nr_pcp_alloc: how many pages the empty list gets."""
        batch = self._batch << self._factor
        if self._least < self._most:
            self.high = min(self.high + batch, self._most)
        most = max(self.high - self._batch, self._batch)
        if batch <= most and self._factor < self._scale:
            self._factor += 1
        return min(batch, most)

    def gave(self, pages: int) -> None:
        """So many pages were put on the list."""
        self._row = False
        self._factor >>= pages
        self._count(pages)

    def gave_block(self, order: int, count: int, each: float = 1) -> int:
        """A block of 2**order pages was put on the list, which has *count* pages now. Value: how many of them
        go back to the buddy (free_unref_page_commit).

        *each* is how many of its like it stands for, in a burst that is shorter than it would be
        (`TreeRcu.stretch`).
        """
        drains = self._drains(count)
        self._row = True
        self._factor >>= 1
        self._count(int(each * (1 << order)))
        if not drains:
            return self.surplus(count)
        self.high = max(self.high - (self._batch << self._scale), self._least)
        return min(count, self._batch << self._scale) if self._drain == "in a row" else count

    def _drains(self, count: int) -> bool:
        """free_high."""
        if self._drain == "when full":
            return self._overflows > 0
        in_a_row = self._drain == "in a row" and self._row and self._freed >= self._batch
        return in_a_row and (not self._roomy or count >= self._batch)

    def _count(self, pages: int) -> None:
        self._freed = min(self._freed + pages, max(self._freed, self._batch << self._scale))

    def surplus(self, count: int) -> int:
        """nr_pcp_high, nr_pcp_free: how many of the list's *count* pages go back to the buddy."""
        high = self.high
        if count < high:
            return 0
        self._overflows += 1
        if self._least < self._most:
            self.high = max(high, min(self._freed + self._batch, self._most))
        return min(count, max(self._batch, min(self._freed, high - self._batch)))

    def came_in_bulk(self, pages: int) -> None:
        """So many pages came without steps: the list may be as long as after their refills."""
        if self._least < self._most:
            self.high = min(self.high + pages, self._most)
