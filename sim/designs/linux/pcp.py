"""A cpu's list of free pages tunes itself (mm/page_alloc.c since 6.7).

    takes only    refill 63 | 126 | 252 | ... 2016 at a time; the list may be longer by each refill
    gives only    full: back go as many as came in a row, up to 2016; the list may be so much longer

So a cpu that takes and gives the same many pages again and again ends with all of them on its list, and never
comes to zone->lock. Left out: the way back, when nobody wants the pages (decay_pcp_high, once a second), and
when the zone has few left (ZONE_BELOW_HIGH).
"""

from __future__ import annotations


class PcpTuning:
    """How large one cpu's list of single pages may get, and how many move at once, by what the cpu does.

    Since 6.7 (nr_pcp_alloc, nr_pcp_free and nr_pcp_high of mm/page_alloc.c, 6.13): a refill doubles the next
    one, and the list may be longer by what it took; frees in a row go back together, and the list may be so
    much longer. *least* and *most* are the bounds of its length *high*; where they are one, nothing changes.
    """

    __slots__ = ("_batch", "_factor", "_freed", "_least", "_most", "_scale", "high")

    def __init__(self, batch: int, scale: int, least: int, most: int) -> None:
        self.high = least
        self._batch = batch
        self._scale = scale
        self._least = least
        self._most = max(least, most)
        self._factor = 0  # alloc_factor
        self._freed = 0  # free_count

    def took(self) -> None:
        """One page was taken from the list."""
        self._freed >>= 1

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
        self._factor >>= pages
        self._freed = min(self._freed + pages, max(self._freed, self._batch << self._scale))

    def surplus(self, count: int) -> int:
        """nr_pcp_high, nr_pcp_free: how many of the list's *count* pages go back to the buddy."""
        high = self.high
        if count < high:
            return 0
        if self._least < self._most:
            self.high = max(high, min(self._freed + self._batch, self._most))
        return min(count, max(self._batch, min(self._freed, high - self._batch)))

    def came_in_bulk(self, pages: int) -> None:
        """So many pages came without steps: the list may be as long as after their refills."""
        if self._least < self._most:
            self.high = min(self.high + pages, self._most)
