"""The counters of a process (struct mm_struct; include/linux/mm.h and mm/mmap.c vm_stat_account, 6.13).

What a store to them costs is charged where the kernel makes it, on the lines that they lie in. Their values
decide nothing yet; the check at the end of a run holds them against a recount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.mm import EXECUTE, WRITE, Kept, Walk
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from sim.designs.linux.vma import Area, Vma


class MmCounters:
    """*map_count* VMAs; *total_vm* pages in them, of which *data_vm* are the process's own to write,
    *exec_vm* may be executed but not written, and *locked_vm* stay in memory; *pgtables_bytes* of tables
    below the root; *anon_pages* and *file_pages* present (rss_stat[MM_ANONPAGES], rss_stat[MM_SHMEMPAGES]).
    """

    __slots__ = (
        "anon_pages",
        "data_vm",
        "exec_vm",
        "file_pages",
        "locked_vm",
        "map_count",
        "pgtables_bytes",
        "total_vm",
    )

    def __init__(self) -> None:
        self.map_count = 0
        self.total_vm = 0
        self.data_vm = 0
        self.exec_vm = 0
        self.locked_vm = 0
        self.pgtables_bytes = 0
        self.anon_pages = 0
        self.file_pages = 0

    def vm_stat_account(self, area: Area, pages: int) -> None:
        """*pages* more, or fewer, are of *area*. There are no stacks that grow."""
        self.total_vm += pages
        if area.rights & EXECUTE and not area.rights & WRITE:
            self.exec_vm += pages
        elif area.rights & WRITE and not area.shared:
            self.data_vm += pages

    def inc_nr_ptes(self) -> None:
        """mm_inc_nr_ptes, mm_inc_nr_pmds, mm_inc_nr_puds: a table more."""
        self.pgtables_bytes += PAGE_BYTES

    def dec_nr_ptes(self) -> None:
        """mm_dec_nr_ptes and its brothers: a table less."""
        self.pgtables_bytes -= PAGE_BYTES

    def recounted(self, vmas: Iterable[Vma], walk: Walk, of_files: Container[int]) -> Iterator[Kept]:
        """Each counter, and what counting the *vmas*, tables and entries again gives.

        *of_files* are the frames with pages of files.
        """
        again = MmCounters()
        for vma in vmas:
            again.map_count += 1
            again.vm_stat_account(vma.area, vma.pages)
            again.locked_vm += vma.pages if vma.locked else 0
        again.pgtables_bytes = (len(walk.tables) - 1) * PAGE_BYTES
        again.file_pages = sum(entry.frame in of_files for _, entry in walk.present)
        again.anon_pages = sum(not entry.special for _, entry in walk.present) - again.file_pages
        for name in self.__slots__:
            yield Kept(name, getattr(self, name), getattr(again, name))
