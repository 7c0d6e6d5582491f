"""The counters of a process (struct mm_struct; include/linux/mm.h and mm/mmap.c vm_stat_account, 6.13).

What a store to them costs is charged where the kernel makes it, on the lines that they lie in. Their values
decide nothing yet; the check at the end of a run holds them against a recount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.mm import EXECUTE, WRITE, Kept, Rights, Walk
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sim.designs.linux.vma import Vma


class MmCounters:
    """*map_count* VMAs; *total_vm* pages in them, of which *data_vm* may be written and *exec_vm* executed
    but not written; *pgtables_bytes* of tables below the root; *anon_pages* present (rss_stat[MM_ANONPAGES]).
    """

    __slots__ = ("anon_pages", "data_vm", "exec_vm", "map_count", "pgtables_bytes", "total_vm")

    def __init__(self) -> None:
        self.map_count = 0
        self.total_vm = 0
        self.data_vm = 0
        self.exec_vm = 0
        self.pgtables_bytes = 0
        self.anon_pages = 0

    def vm_stat_account(self, rights: Rights, pages: int) -> None:
        """*pages* more, or fewer, may be used as *rights* say. There are no stacks that grow."""
        self.total_vm += pages
        if rights & WRITE:
            self.data_vm += pages
        elif rights & EXECUTE:
            self.exec_vm += pages

    def inc_nr_ptes(self) -> None:
        """mm_inc_nr_ptes, mm_inc_nr_pmds, mm_inc_nr_puds: a table more."""
        self.pgtables_bytes += PAGE_BYTES

    def dec_nr_ptes(self) -> None:
        """mm_dec_nr_ptes and its brothers: a table less."""
        self.pgtables_bytes -= PAGE_BYTES

    def recounted(self, vmas: Iterable[Vma], walk: Walk) -> Iterator[Kept]:
        """Each counter, and what counting the *vmas*, tables and entries again gives."""
        again = MmCounters()
        for vma in vmas:
            again.map_count += 1
            again.vm_stat_account(vma.rights, vma.pages)
        again.pgtables_bytes = (len(walk.tables) - 1) * PAGE_BYTES
        again.anon_pages = sum(not entry.special for _, entry in walk.present)
        for name in self.__slots__:
            yield Kept(name, getattr(self, name), getattr(again, name))
