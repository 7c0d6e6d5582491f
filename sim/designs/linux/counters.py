"""The counters of a process (struct mm_struct; include/linux/mm.h and mm/vma.c, 6.13), and their lines.

Their values decide how many VMAs there may be and whether a new peak is stored; the check at the end of a
run holds them against a recount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.activities import VMA_WORK
from sim.designs.linux.layout import MmField
from sim.designs.linux.percpu_counter import PercpuCounter, default_batch
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import EXECUTE, PAGE_TABLE, WRITE, Footprint, Kept, Walk
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence

    from sim.designs.linux.layout import MmLines
    from sim.designs.linux.rss_stat import RssStat
    from sim.designs.linux.vma import Area, Vma
    from sim.hardware import Machine
    from sim.sync import QueueNodes

_VM: Final = ("total_vm", "data_vm", "exec_vm")
_COUNTED: Final = (
    "map_count",
    *_VM,
    "locked_vm",
    "pgtables_bytes",
    "anon_pages",
    "file_pages",
    "hugetlb_pages",
)


class MmCounters:
    """*map_count* VMAs; *total_vm* pages in them, of which *data_vm* are the process's own to write,
    *exec_vm* may be executed but not written, and *locked_vm* stay in memory; *pgtables_bytes* of tables
    below the root; *anon_pages* and *file_pages* present (rss_stat[MM_ANONPAGES], rss_stat[MM_SHMEMPAGES]),
    *swap_entries* that are swapped out (rss_stat[MM_SWAPENTS]), and *hugetlb_pages* of the pool beside them
    (hugetlb_usage);
    *hiwater_vm* and *hiwater_rss*, what total_vm and the pages were at most when somebody looked.

    There are no stacks that grow. *anon_pages* and *file_pages* are right at any time; what *rss* knows of
    them lags behind, as in the kernel.
    """

    __slots__ = (
        *_COUNTED,
        "_footprint",
        "_lines",
        "_percpu",
        "hiwater_rss",
        "hiwater_vm",
        "rss",
        "swap_entries",
    )

    def __init__(
        self,
        lines: MmLines,
        rss: RssStat,
        footprint: Footprint,
        percpu: Mapping[str, PercpuCounter] | None = None,
    ) -> None:
        """*percpu* has counters of their own for some, by name, where there are such (`percpu_stats`)."""
        self._footprint = footprint
        self._lines = lines
        self._percpu: Mapping[str, PercpuCounter] = percpu or {}
        self.rss = rss
        self.map_count = 0
        self.total_vm = 0
        self.data_vm = 0
        self.exec_vm = 0
        self.locked_vm = 0
        self.pgtables_bytes = 0
        self.anon_pages = 0
        self.file_pages = 0
        self.hugetlb_pages = 0
        self.swap_entries = 0
        self.hiwater_vm = 0
        self.hiwater_rss = 0

    # -- VMAs -----------------------------------------------------------------------------------------------

    def read_map_count(self, cpu: Cpu) -> Steps[int]:
        """Value: how many VMAs there are."""
        yield from self._look(cpu, "map_count", VMA_WORK)
        return self.map_count

    def add_vmas(self, cpu: Cpu, number: int) -> Steps[None]:
        """map_count += *number*, under mmap_lock for writing."""
        yield from self._store(cpu, "map_count", number, VMA_WORK)
        self.map_count += number

    def may_expand_vm(self, cpu: Cpu, area: Area) -> Steps[None]:
        """Look at the limits of address space and of data, which are never reached here."""
        yield from self._look(cpu, "total_vm", VMA_WORK)
        if "data_vm" in _kinds(area):
            yield from self._look(cpu, "data_vm", VMA_WORK)

    def vm_stat_account(self, cpu: Cpu, area: Area, pages: int) -> Steps[None]:
        """*pages* more, or fewer, are of *area*."""
        yield from self._store(cpu, "total_vm", pages, VMA_WORK)
        kinds = _kinds(area)
        if len(kinds) > 1:  # exec_vm lies beside data_vm
            yield from self._store(cpu, "data_vm", pages, VMA_WORK)
        for name in kinds:
            setattr(self, name, getattr(self, name) + pages)

    def lock_pages(self, cpu: Cpu, pages: int) -> Steps[None]:
        """locked_vm += *pages*; stored also where it is none."""
        yield from self._store(cpu, "locked_vm", pages, VMA_WORK)
        self.locked_vm += pages

    def account_unmapped(self, cpu: Cpu, vmas: Sequence[Vma]) -> Steps[None]:
        """vms_complete_munmap_vmas: the peak is noted, then total_vm and the others are all stored."""
        yield from self._lines["hiwater_vm"].read(cpu, PAGE_TABLE)  # update_hiwater_vm
        yield from self._look(cpu, "total_vm", PAGE_TABLE)
        if self.hiwater_vm < self.total_vm:
            yield from self._lines["hiwater_vm"].store(cpu, PAGE_TABLE)
            self.hiwater_vm = self.total_vm
        pages = -sum(vma.pages for vma in vmas)
        yield from self._store(cpu, "total_vm", pages, PAGE_TABLE)
        yield from self._store(cpu, "data_vm", pages, PAGE_TABLE)
        for vma in vmas:
            for name in _kinds(vma.area):
                setattr(self, name, getattr(self, name) - vma.pages)

    def read_hiwater_vm(self, cpu: Cpu) -> Steps[int]:
        """move_vma: the peak, before both ranges are counted."""
        yield from self._lines["hiwater_vm"].read(cpu, VMA_WORK)
        return self.hiwater_vm

    def set_hiwater_vm(self, cpu: Cpu, peak: int) -> Steps[None]:
        """move_vma: the peak as it was."""
        yield from self._lines["hiwater_vm"].store(cpu, VMA_WORK)
        self.hiwater_vm = peak

    # -- page tables and pages ------------------------------------------------------------------------------

    def inc_nr_ptes(self, cpu: Cpu) -> Steps[None]:
        """mm_inc_nr_ptes, mm_inc_nr_pmds, mm_inc_nr_puds: a table more."""
        yield from self._add(cpu, "pgtables_bytes", PAGE_BYTES)
        self.pgtables_bytes += PAGE_BYTES
        self._footprint.add("page_table", PAGE_BYTES)

    def dec_nr_ptes(self, cpu: Cpu) -> Steps[None]:
        """mm_dec_nr_ptes and its brothers: a table less."""
        yield from self._add(cpu, "pgtables_bytes", -PAGE_BYTES)
        self.pgtables_bytes -= PAGE_BYTES
        self._footprint.add("page_table", -PAGE_BYTES)

    def count_tables(self, cpu: Cpu, number: int) -> Steps[None]:
        """So many tables more, or fewer, that other processes have, too: the kernel has none more or less."""
        yield from self._add(cpu, "pgtables_bytes", number * PAGE_BYTES)
        self.pgtables_bytes += number * PAGE_BYTES

    def forget_table(self) -> None:
        """A table that nobody counts any more is free."""
        self._footprint.add("page_table", -PAGE_BYTES)

    def count_pages(self, cpu: Cpu, *, anon: int = 0, files: int = 0) -> Steps[None]:
        """A fault has mapped so many pages more."""
        self.anon_pages += anon
        self.file_pages += files
        yield from self.rss.count(cpu, anon, files)

    def add_rss_vec(self, cpu: Cpu, *, anon: int, files: int) -> Steps[None]:
        """So many more, or fewer, of one table that was copied or zapped."""
        self.anon_pages += anon
        self.file_pages += files
        yield from self.rss.add_vec(cpu, anon, files)

    def add_at_once(self, *, anon: int = 0, files: int = 0) -> None:
        """So many more have long been there. Takes no time."""
        self.anon_pages += anon
        self.file_pages += files
        self.rss.add_at_once(anon, files)

    def update_hiwater_rss(self, cpu: Cpu) -> Steps[None]:
        """Before pages go: note the peak."""
        yield from self._lines["rss_stat"].read(cpu, PAGE_TABLE)
        yield from self._lines["hiwater_rss"].read(cpu, PAGE_TABLE)
        rss = self.rss.shared
        if self.hiwater_rss < rss:
            yield from self._lines["hiwater_rss"].store(cpu, PAGE_TABLE)
            self.hiwater_rss = rss

    # -- lines, and per-cpu counters in their place ---------------------------------------------------------

    def _look(self, cpu: Cpu, name: MmField, activity: Activity) -> Steps[None]:
        """Read one; of a per-cpu counter the shared part (percpu_counter_read)."""
        counter = self._percpu.get(name)
        return (self._lines[name] if counter is None else counter.line).read(cpu, activity)

    def _store(self, cpu: Cpu, name: MmField, amount: int, activity: Activity) -> Steps[None]:
        """Change one by *amount*, where only one thread does at a time."""
        counter = self._percpu.get(name)
        return self._lines[name].store(cpu, activity) if counter is None else counter.add(cpu, amount)

    def _add(self, cpu: Cpu, name: MmField, amount: int) -> Steps[None]:
        """The same where several may (atomic_long_add)."""
        counter = self._percpu.get(name)
        return self._lines[name].write(cpu, PAGE_TABLE) if counter is None else counter.add(cpu, amount)

    # -- the end state --------------------------------------------------------------------------------------

    def recounted(
        self,
        vmas: Iterable[Vma],
        walk: Walk,
        of_files: Container[int],
        of_pool: Container[int] = (),
        of_exmap: Collection[int] = (),
    ) -> Iterator[Kept]:
        """Each counter, and what counting the *vmas*, tables and entries again gives.

        *of_files* are the frames with pages of files, *of_pool* those of the pool of huge pages,
        *of_exmap* those of an exmap's pool, mapped or not.
        """
        again = dict.fromkeys(_COUNTED, 0)
        for vma in vmas:
            again["map_count"] += 1
            again["locked_vm"] += vma.pages if vma.locked else 0
            for name in _kinds(vma.area):
                again[name] += vma.pages
        tables = sum(table.level < 4 for table in walk.tables)  # not the root, nor what is below one of five
        huge = [entry for _, entry in walk.present if entry.level > 1]
        deposited = sum(entry.frame not in of_pool for entry in huge)
        again["pgtables_bytes"] = (tables + deposited) * PAGE_BYTES
        again["file_pages"] = sum(entry.frame in of_files for _, entry in walk.present) + len(of_exmap)
        pages = sum(entry.pages for _, entry in walk.present if not entry.special)
        if of_exmap:
            pages += len(of_exmap) - sum(entry.frame in of_exmap for _, entry in walk.present)
        pages += sum(len(each.frames) for each in walk.alike)
        again["hugetlb_pages"] = sum(entry.pages for entry in huge if entry.frame in of_pool)
        again["anon_pages"] = pages - again["file_pages"] - again["hugetlb_pages"]
        for name in _COUNTED:
            yield Kept(name, getattr(self, name), again[name])


def _kinds(area: Area) -> tuple[str, ...]:
    """The counters that have the pages of a VMA of *area* in them (is_data_mapping, is_exec_mapping)."""
    if area.rights & WRITE:
        return ("total_vm",) if area.shared else ("total_vm", "data_vm")
    return ("total_vm", "exec_vm") if area.rights & EXECUTE else ("total_vm",)


PERCPU_STATS: Final[tuple[MmField, ...]] = ("map_count", "total_vm", "data_vm", "locked_vm", "pgtables_bytes")
"""What interval VM counts by per-cpu counters (CONFIG_MM_PERCPU_STATS); data_vm has exec_vm beside it."""


def percpu_stats(
    machine: Machine, nodes: QueueNodes, cpu: Cpu, *, folded: bool
) -> Mapping[str, PercpuCounter]:
    """Per-cpu counters of a process, made by *cpu*: *folded* as the kernel's own kind is, by its default
    batch, or never."""
    batch = default_batch(machine) if folded else 1 << 50
    found: dict[str, PercpuCounter] = {}
    for name in PERCPU_STATS:
        line = machine.line(f"mm.{name} (per-cpu counter)", cpu.socket, owner=cpu.id)
        its = batch * PAGE_BYTES if name == "pgtables_bytes" else batch
        found[name] = PercpuCounter(machine, nodes, f"mm.{name}", line, its, pointer=line)
    return found
