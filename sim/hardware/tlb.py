"""A cpu's TLB: the translations it really holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from sim.engine.costs import at_clock
from sim.hardware.memory import HUGE_PAGES
from sim.hardware.walks import RecentLines, Walker

if TYPE_CHECKING:
    from sim.hardware.cpu import Cpu
    from sim.hardware.line import CacheLine
    from sim.hardware.spec import MachineSpec

_TAG_SHIFT: Final = 52
"""Page numbers are below: an entry is found by its address space's number (PCID) above its page's."""
_LARGE: Final = 1 << 50
"""Set in the key of an entry for 2 MiB, beside its first page: so such entries are found by a second look."""


class Translation(NamedTuple):
    """One TLB entry: page number -> frame number."""

    frame: int
    writable: bool


class Tlb:
    """Two levels. The first holds the most recently used entries of the second.

    An entry is for 4 KiB or for 2 MiB, and each takes one place: the second level of x86 cores since Haswell
    and Zen 2 has both, and what the first one has apart for 2 MiB is not told from the rest here.

    Entries are kept in order of use; the oldest leaves when a level is full. Each carries the *asid* that was
    loaded when it was filled: `load` changes address spaces. A machine without PCID has asid 0 only and drops
    its entries whenever it changes.
    """

    __slots__ = (
        "_capacity",
        "_entries",
        "_first",
        "_first_capacity",
        "_first_miss",
        "_large",
        "_pcid",
        "_switch_cost",
        "_tag",
        "flush_cost",
        "invalidate_cost",
        "stale",
        "walker",
    )

    def __init__(self, spec: MachineSpec, cluster_lines: RecentLines | None = None) -> None:
        tlb, clock = at_clock(spec.tlb, spec.clock), spec.clock
        self._entries: dict[int, Translation] = {}
        self._capacity = tlb.entries
        self._large = 0  # entries for 2 MiB
        self._first: dict[int, None] | None = {} if tlb.first_level else None
        self._first_capacity = tlb.first_level.entries if tlb.first_level else 0
        self._first_miss = at_clock(tlb.first_level, clock).miss if tlb.first_level else 0
        self._pcid = tlb.pcid
        self._switch_cost = tlb.switch or 0
        self._tag = 0
        self.walker = Walker(spec, cluster_lines)
        self.invalidate_cost = tlb.invalidate_page
        if tlb.invalidate_user is not None:
            self.invalidate_cost += tlb.invalidate_user
        self.flush_cost = tlb.flush
        self.stale = False
        """A flush was not sent because the cpu was in lazy-TLB mode: flush before the thread runs again."""

    @property
    def asid(self) -> int:
        """The number of the address space that is loaded."""
        return self._tag >> _TAG_SHIFT

    def lookup(self, page: int) -> Translation | None:
        """The translation of *page*, or None on a miss. A hit makes it the most recently used."""
        key = page + self._tag
        found = self._entries.pop(key, None)
        if found is not None:
            self._entries[key] = found
        elif self._large:
            key += _LARGE - page % HUGE_PAGES
            found = self._entries.pop(key, None)
            if found is not None:
                self._entries[key] = found
                return _part(found, page)
        return found

    def promote(self, page: int) -> int:
        """Bring a page that was hit into the first level; what that costs (ps), 0 if it was there."""
        first = self._first
        if first is None:
            return 0
        key = page + self._tag
        if self._large and key not in self._entries:
            key += _LARGE - page % HUGE_PAGES
        there = key in first
        if there:
            del first[key]
        elif len(first) >= self._first_capacity:
            del first[next(iter(first))]
        first[key] = None
        return 0 if there else self._first_miss

    def fill(
        self, page: int, frame: int, writable: bool, line: CacheLine | None = None, level: int = 1
    ) -> int:
        """Load a translation after a page walk that ended at *line*; returns the walk's cost in ps.

        It is that of an entry of a table of *level*: 1 for 4 KiB, 2 for the 2 MiB that begin with *frame*.
        """
        key = page + self._tag
        entries = self._entries
        if level > 1:
            key += _LARGE - page % HUGE_PAGES
            self._large += key not in entries
        entries.pop(key, None)
        if len(entries) >= self._capacity:
            oldest = next(iter(entries))
            del entries[oldest]
            self._large -= bool(oldest & _LARGE)
            if self._first is not None:
                self._first.pop(oldest, None)
        entries[key] = Translation(frame, writable)
        self.promote(page)
        return self.walker.walk(line)

    def invalidate(self, pages: Iterable[int], asid: int | None = None) -> None:
        """Drop *pages* of the loaded address space, or of that of *asid*; with any of its pages an entry for
        2 MiB goes."""
        tag = self._tag if asid is None else asid << _TAG_SHIFT
        if self._large:
            pages = list(pages)
            self._drop(dict.fromkeys(page + tag + _LARGE - page % HUGE_PAGES for page in pages))
        entries, first = self._entries, self._first
        if isinstance(pages, range) and len(pages) > len(entries):
            pages = [key - tag for key in entries if key - tag in pages]
        for page in pages:
            entries.pop(page + tag, None)
            if first is not None:
                first.pop(page + tag, None)

    def _drop(self, keys: Iterable[int]) -> None:
        for key in keys:
            if self._entries.pop(key, None) is not None:
                self._large -= bool(key & _LARGE)
            if self._first is not None:
                self._first.pop(key, None)

    def flush(self, asid: int | None = None) -> None:
        """Drop all entries of the loaded address space, or of that of *asid*."""
        if not self._pcid:
            self._entries.clear()
            self._large = 0
            if self._first is not None:
                self._first.clear()
        else:
            tag = self._tag if asid is None else asid << _TAG_SHIFT
            self._drop([key for key in self._entries if tag <= key < tag + (1 << _TAG_SHIFT)])

    def load(self, asid: int, *, flush: bool) -> int:
        """Write CR3: load the address space of *asid*, without its old entries if *flush*; the cost in ps."""
        self._tag = asid << _TAG_SHIFT
        if flush or not self._pcid:
            self.flush()
            return self.flush_cost
        return self._switch_cost

    def peek(self, page: int, asid: int) -> Translation | None:
        """What it would make of *page* in the address space of *asid*; nobody uses it."""
        key = page + (asid << _TAG_SHIFT)
        found = self._entries.get(key)
        if found is None and self._large:
            found = self._entries.get(key + _LARGE - page % HUGE_PAGES)
            return None if found is None else _part(found, page)
        return found

    def frames(self, asid: int | None = None) -> dict[int, Translation]:
        """All entries of the loaded address space or of that of *asid*, page -> translation.

        One for 2 MiB stands behind each of its pages that has none of its own.
        """
        tag = self._tag if asid is None else asid << _TAG_SHIFT
        if self._pcid:
            end = tag + (1 << _TAG_SHIFT)
            found = {key - tag: entry for key, entry in self._entries.items() if tag <= key < end}
        else:
            found = dict(self._entries)
        if self._large:
            for key in [key for key in found if key & _LARGE]:
                first, entry = key - _LARGE, found.pop(key)
                for page in range(first, first + HUGE_PAGES):
                    found.setdefault(page, _part(entry, page))
        return found


class HeardTlb(Tlb):
    """A TLB that tells the probe what it loads."""

    __slots__ = ("_cpu",)

    def __init__(self, spec: MachineSpec, cluster_lines: RecentLines | None, cpu: Cpu) -> None:
        super().__init__(spec, cluster_lines)
        self._cpu = cpu

    def fill(
        self, page: int, frame: int, writable: bool, line: CacheLine | None = None, level: int = 1
    ) -> int:
        cost = super().fill(page, frame, writable, line, level)
        self._cpu.probe.tlb_fill(self._cpu, page, frame, writable, level)
        return cost


def _part(entry: Translation, page: int) -> Translation:
    """What *entry*, for 2 MiB, makes of *page*; a frame below 0 has all its pages in one."""
    return entry if entry.frame < 0 else entry._replace(frame=entry.frame + page % HUGE_PAGES)
