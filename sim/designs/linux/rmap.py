"""The reverse map: who maps an anonymous page (mm/rmap.c, 6.13).

A page knows the anon_vma of the process that made it and its offset (folio->mapping, folio->index); the
anon_vma knows the VMAs in which such pages may lie, the children's too. So at most one entry of each VMA is
looked at, under its page-table lock. The anon_vma's rwsem is taken for reading: its line moves, and nobody
waits for it, as nobody waits who changes the tree (`LinuxMm.link_anon_vma`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from sim.designs.linux.swap.entry import SwapEntry
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.mm import PAGE_TABLE, PageTablePage, Present, slot_of

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.mm import LinuxMm
    from sim.designs.linux.tlb_batch import TlbBatch
    from sim.designs.linux.vma import Vma

RECLAIM: Final = Activity("reclaim")


class _Mapping:
    """An entry of page *page*, found in *table* of the process *mm*, whose VMA there is *vma*."""

    __slots__ = (
        "entry",
        "mm",
        "page",
        "table",
        "vma",
    )

    def __init__(self, mm: LinuxMm, vma: Vma, page: int, table: PageTablePage, entry: Present) -> None:
        self.mm = mm
        self.vma = vma
        self.page = page
        self.table = table
        self.entry = entry


class Referenced(NamedTuple):
    """What folio_referenced finds: how many entries were used since the last look; whether memory is
    locked."""

    entries: int
    locked: bool


class Rmap:
    """The reverse map of a kernel's anonymous pages."""

    __slots__ = ("_kernel",)

    def __init__(self, kernel: LinuxKernel) -> None:
        self._kernel = kernel

    def add_new(self, vma: Vma, page: int, frame: int) -> None:
        """folio_add_new_anon_rmap: *frame* is of *vma* from now on. Its time is in the steps of a fault."""
        assert vma.anon_vma is not None
        self._kernel.descriptors.mapping[frame] = (vma.anon_vma, vma.pgoff + page - vma.start)

    def is_known(self, frame: int) -> bool:
        """Whether *frame* is an anonymous page that somebody has mapped."""
        return frame in self._kernel.descriptors.mapping

    def maps(self, frame: int) -> bool:
        """folio_mapped: whether an entry has *frame*. Takes no time: a count in the page says it."""
        return self._entries(frame) > 0

    def _entries(self, frame: int) -> int:
        return sum(_entry(mm, page, frame) is not None for mm, _, page in self._places(frame))

    # -- walks ----------------------------------------------------------------------------------------------

    def referenced(self, cpu: Cpu, frame: int) -> Steps[Referenced]:
        """folio_referenced: count and clear the accessed bits. TLBs are not flushed for it."""
        used, locked = 0, False

        def visit(at: _Mapping) -> Steps[bool]:
            nonlocal used, locked
            if at.vma.locked:
                locked = True
                return False
            if at.entry.accessed:
                yield from at.table.line(slot_of(at.page, 1)).write(cpu, PAGE_TABLE)
                at.entry.accessed = False
                used += 1
            return True

        yield from self._walk(cpu, frame, visit)
        return Referenced(used, locked)

    def try_to_unmap(self, cpu: Cpu, frame: int, batch: TlbBatch) -> Steps[bool]:
        """try_to_unmap: swap entries take the place of all entries of *frame*, which is locked and has a
        slot; those of a page that may be dropped (lazyfree) are cleared. Value: whether nobody maps it
        any more.

        What TLBs still have of it goes with *batch*.
        """

        def visit(at: _Mapping) -> Steps[bool]:
            if at.vma.locked:
                return False
            return (yield from self._unmap(cpu, frame, at, batch))

        yield from self._walk(cpu, frame, visit)
        return not self.maps(frame)

    def _unmap(self, cpu: Cpu, frame: int, at: _Mapping, batch: TlbBatch) -> Steps[bool]:
        """try_to_unmap_one. Value: False ends the walk: the page is wanted."""
        kernel, mm, page, table, entry = self._kernel, at.mm, at.page, at.table, at.entry
        swap, slot = kernel.swap, slot_of(page, 1)
        assert swap is not None
        cpu.work(swap.cost.unmap_page, RECLAIM)
        yield from table.line(slot).write(cpu, PAGE_TABLE)
        table.set(slot, None)
        yield from batch.cleared(cpu, mm, page, entry)
        if kernel.lru.is_lazyfree(frame):
            owners = 2 + self._entries(frame)  # this entry, reclaim, and other entries
            if entry.dirty or kernel.pages.in_use.owners(frame) != owners:  # written again, or held
                kernel.lru.keep_lazyfree(frame)
                yield from table.line(slot).store(cpu, PAGE_TABLE)
                table.set(slot, entry)
                return False
        else:
            place = swap.slot_of[frame]
            if entry.dirty:
                swap.dirty.add(frame)
            yield from swap.slots.count(cpu, place, 1)  # swap_duplicate
            yield from table.line(slot).store(cpu, PAGE_TABLE)
            table.set(slot, SwapEntry.of(place, exclusive=not entry.copy_on_write))
            mm.stat.swap_entries += 1
        yield from mm.stat.update_hiwater_rss(cpu)
        yield from mm.stat.count_pages(cpu, anon=-1)
        yield from kernel.descriptors.write(cpu, frame, activity=RECLAIM)  # folio_remove_rmap_pte
        last = kernel.pages.in_use.put(frame)
        assert not last, "reclaim has a reference of its own"
        return True

    def _walk(self, cpu: Cpu, frame: int, visit: Callable[[_Mapping], Steps[bool]]) -> Steps[None]:
        """rmap_walk_anon: *visit* each entry of *frame*, under its page-table lock, until one says no."""
        mapping = self._kernel.descriptors.mapping.get(frame)
        swap = self._kernel.swap
        if mapping is None or swap is None:
            return
        if not self.maps(frame):
            return
        root = mapping[0].rwsem
        yield from root.write(cpu, RECLAIM)  # down_read of the root's rwsem
        for mm, vma, page in list(self._places(frame)):
            cpu.work(swap.cost.rmap_page, RECLAIM)
            table = mm.leaf_table(page)
            if table is None:
                continue
            lock = mm.table_lock(table)
            yield from lock.acquire(cpu)
            entry = _entry(mm, page, frame) if mm.leaf_table(page) is table else None
            goes_on = True
            if entry is not None:
                goes_on = yield from visit(_Mapping(mm, vma, page, table, entry))
            yield from lock.release(cpu)
            if not goes_on:
                break
        yield from root.write(cpu, RECLAIM)

    def _places(self, frame: int) -> Iterator[tuple[LinuxMm, Vma, int]]:
        """The pages at which *frame* may lie: one in each VMA of its anon_vma that has its offset."""
        mapping = self._kernel.descriptors.mapping.get(frame)
        if mapping is None:
            return
        anon_vma, index = mapping
        for vma in anon_vma.vmas:
            if vma.pgoff <= index < vma.pgoff + vma.pages:
                yield cast("LinuxMm", vma.mm), vma, vma.start + index - vma.pgoff


def _entry(mm: LinuxMm, page: int, frame: int) -> Present | None:
    """The entry of *page*, if it is present and has *frame*."""
    entry = mm.root.walk(page)
    return entry if entry is not None and entry.level == 1 and entry.frame == frame else None
