"""A cpu's TLB: the translations it really holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from sim.hardware.spec import MachineSpec


class Translation(NamedTuple):
    """One TLB entry: page number -> frame number."""

    frame: int
    writable: bool


class Tlb:
    """Second-level TLB for 4 KiB pages, with the first level as its most recently used part.

    Entries are kept in order of use; the oldest leaves when the TLB is full. One address space at a time
    (tagged entries come with PCID).
    """

    __slots__ = ("_capacity", "_entries", "_walk", "flush_cost", "invalidate_cost", "stale")

    def __init__(self, spec: MachineSpec) -> None:
        self._entries: dict[int, Translation] = {}
        self._capacity = spec.tlb.entries
        self._walk = spec.tlb.walk.at(spec.clock)
        self.invalidate_cost = spec.tlb.invalidate_page.at(spec.clock)
        self.flush_cost = spec.tlb.flush.at(spec.clock)
        self.stale = False
        """A flush was not sent because the cpu was in lazy-TLB mode: flush before the thread runs again."""

    def lookup(self, page: int) -> Translation | None:
        """The translation of *page*, or None on a miss. A hit makes it the most recently used."""
        found = self._entries.pop(page, None)
        if found is not None:
            self._entries[page] = found
        return found

    def fill(self, page: int, frame: int, writable: bool) -> int:
        """Load a translation after a page walk; returns the walk's cost in ps."""
        entries = self._entries
        entries.pop(page, None)
        if len(entries) >= self._capacity:
            del entries[next(iter(entries))]
        entries[page] = Translation(frame, writable)
        return self._walk

    def invalidate(self, pages: Iterable[int]) -> None:
        for page in pages:
            self._entries.pop(page, None)

    def flush(self) -> None:
        self._entries.clear()

    def frames(self) -> dict[int, Translation]:
        """All entries, page -> translation (for the checks)."""
        return dict(self._entries)
