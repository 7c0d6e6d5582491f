"""Direct reclaim: who needs a page and finds none frees some (mm/page_alloc.c, mm/vmscan.c; 6.13).

    free pages   high |------ low |------ min |------ 0
                        as ever     the slow path     only for the kernel itself
                                    ^ what an allocation must leave in its zone

    slow path    a page above min? | try_to_free_pages | a page? | drain the cpus' lists | again, or no memory
    try_to_free  a small share of each list, twice as much each round, until a batch of pages is free
    a batch      isolate, lru_lock | each page: lock, used since? slot, unmap, flush, write, free | put back

A page that was used since the last look stays once; one that is found used twice becomes active. A page that
a drive has to write is not free when the scan is over, but when a later one finds it written. With zram it
is. Left out: kswapd, so all reclaim is direct, and its flag that spares others the wait; memory cgroups; the
distance of refaults (mm/workingset.c); writing shared memory and files, and splitting huge pages: these
become active instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING, Final

from sim.designs.linux.rmap import RECLAIM
from sim.designs.linux.tlb_batch import TlbBatch
from sim.engine import Steps
from sim.hardware import Cpu
from sim.quantities import PAGE_BYTES

if TYPE_CHECKING:
    from sim.designs.linux.kernel import LinuxKernel
    from sim.designs.linux.lru_lists import Which
    from sim.designs.linux.page_alloc import Zone
    from sim.designs.linux.swap.spec import ReclaimSpec, SwapSpec
    from sim.designs.linux.swap_cache import Swap

_MIN_FREE_KIB: Final = range(128, 262144 + 1)
"""What min_free_kbytes is at least and at most (calculate_min_free_kbytes)."""


class Reclaimer:
    """Frees pages of a kernel that has swap."""

    __slots__ = ("_kernel", "_spec", "_swap")

    def __init__(self, kernel: LinuxKernel, spec: SwapSpec, swap: Swap, zones: Sequence[Zone]) -> None:
        self._kernel = kernel
        self._spec = spec.reclaim
        self._swap = swap
        set_watermarks(spec.reclaim, zones)

    @property
    def retries(self) -> int:
        """Reclaims without progress after which memory is out."""
        return self._spec.retries

    def can_reclaim(self, zones: Sequence[Zone]) -> int:
        """zone_reclaimable_pages of *zones*: what could be swapped out."""
        if not self._swap.slots.left:
            return self._kernel.lru.lazyfree_pages
        lists = self._kernel.lru.lists
        return sum(lists.count(zone.index, "inactive", "rotated", "active") for zone in zones)

    def try_to_free_pages(self, cpu: Cpu, zones: Sequence[Zone]) -> Steps[int]:
        """do_try_to_free_pages: value is how many pages are free now that were not."""
        freed = 0
        for priority in range(self._spec.priorities, -1, -1):
            for zone in zones:
                freed += yield from self._shrink_lruvec(cpu, zone.index, priority)
            if freed >= self._spec.batch:
                break
            if priority == 1 and not freed:  # consider_reclaim_throttle
                yield from self._kernel.scheduler.nap(cpu, self._spec.throttle, RECLAIM)
        return freed

    def _shrink_lruvec(self, cpu: Cpu, node: int, priority: int) -> Steps[int]:
        """get_scan_count, shrink_lruvec."""
        lists, batch, freed = self._kernel.lru.lists, self._spec.batch, 0
        cpu.work(self._swap.cost.shrink, RECLAIM)
        inactive = lists.count(node, "inactive", "rotated") >> priority
        active = lists.count(node, "active") >> priority if lists.inactive_is_low(node) else 0
        while inactive or active:
            if active:
                yield from self._shrink_active(cpu, node, min(active, batch))
                active -= min(active, batch)
            if inactive:
                freed += yield from self._shrink_inactive(cpu, node, min(inactive, batch))
                inactive -= min(inactive, batch)
            if freed >= batch:
                return freed
        if lists.inactive_is_low(node):
            yield from self._shrink_active(cpu, node, batch)
        return freed

    def _shrink_active(self, cpu: Cpu, node: int, count: int) -> Steps[None]:
        """shrink_active_list: pages of the active list become inactive, used or not."""
        lru = self._kernel.lru
        yield from lru.drain(cpu)
        frames = yield from lru.isolate(cpu, node, "active", count)
        back: dict[int, Which] = {}
        for frame in frames:
            yield from self._kernel.rmap.referenced(cpu, frame)
            back[frame] = "inactive"
        yield from lru.put_back(cpu, node, back)

    def _shrink_inactive(self, cpu: Cpu, node: int, count: int) -> Steps[int]:
        """shrink_inactive_list."""
        lru = self._kernel.lru
        yield from lru.drain(cpu)
        frames = yield from lru.isolate(cpu, node, "inactive", count)
        if not frames:
            return 0
        back, freed = yield from self.shrink_pages(cpu, frames)
        yield from lru.put_back(cpu, node, back)
        return freed

    def shrink_pages(
        self, cpu: Cpu, frames: Sequence[int], *, ignore_references: bool = False
    ) -> Steps[tuple[dict[int, Which], int]]:
        """shrink_folio_list: free what can be freed of isolated *frames*.

        Value: those that stay, with the list that they go to, and how many are free.
        """
        kernel = self._kernel
        batch = TlbBatch(kernel.machine)
        back: dict[int, Which] = {}
        free: list[int] = []
        for frame in frames:
            cpu.work(self._swap.cost.scan_page, RECLAIM)
            locked = yield from kernel.descriptors.try_lock(cpu, frame)
            if not locked:
                back[frame] = "inactive"
                continue
            stays = yield from self._shrink_page(cpu, frame, batch, ignore_references=ignore_references)
            yield from kernel.descriptors.unlock(cpu, frame)
            if stays is None:
                free.append(frame)
            else:
                back[frame] = stays
        yield from batch.flush(cpu)
        for frame in free:
            yield from kernel.lru.free_isolated(cpu, frame)
        return back, len(free)

    def _shrink_page(
        self, cpu: Cpu, frame: int, batch: TlbBatch, *, ignore_references: bool
    ) -> Steps[Which | None]:
        """One turn of shrink_folio_list. Value: the list that *frame*, which is locked, goes to, or None: it
        is the caller's alone."""
        kernel, swap = self._kernel, self._swap
        if frame in kernel.pages.in_use.orders or frame in kernel.descriptors.of_files:
            return "active"
        if not (kernel.rmap.is_known(frame) or frame in swap.slot_of):
            return "active"
        if frame in swap.writeback:
            return "active"
        if not ignore_references:
            spared = yield from self._check_references(cpu, frame)
            if spared is not None:
                return spared
        lazyfree = kernel.lru.is_lazyfree(frame)
        if not lazyfree and frame not in swap.slot_of:
            added = yield from swap.add_to_swap(cpu, frame)
            if not added:
                return "active"
        if kernel.rmap.maps(frame):
            unmapped = yield from kernel.rmap.try_to_unmap(cpu, frame, batch)
            if not unmapped:
                if swap.slots.is_full:
                    yield from swap.try_to_free(cpu, frame)
                return "active"
        if frame in swap.dirty:
            yield from batch.flush_dirty(cpu)
            if kernel.pages.in_use.owners(frame) != 2:  # is_page_cache_freeable: somebody else has it
                return "inactive"
            yield from swap.write(cpu, frame)
            if frame in swap.writeback:
                return "inactive"
        if kernel.pages.in_use.owners(frame) != (1 if lazyfree else 2) or frame in swap.dirty:
            return "inactive"
        if not lazyfree:
            gone = yield from swap.remove(cpu, frame, owners=2)
            if not gone:
                return "inactive"
        return None

    def _check_references(self, cpu: Cpu, frame: int) -> Steps[Which | None]:
        """folio_check_references. Value: the list that *frame* stays on; None where it may go."""
        found = yield from self._kernel.rmap.referenced(cpu, frame)
        if found.locked:
            return "unevictable"
        referenced = self._kernel.descriptors.referenced
        if not found.entries:
            referenced.discard(frame)
            return None
        if frame in referenced or found.entries > 1:
            return "active"
        referenced.add(frame)
        return "inactive"


def set_watermarks(spec: ReclaimSpec, zones: Sequence[Zone]) -> None:
    """__setup_per_zone_wmarks, calculate_min_free_kbytes."""
    managed = sum(zone.buddy.managed for zone in zones)
    if spec.min_free is None:
        kib = isqrt(managed * PAGE_BYTES // 1024 * 16)
        pages_min = min(max(kib, _MIN_FREE_KIB.start), _MIN_FREE_KIB.stop - 1) * 1024 // PAGE_BYTES
    else:
        pages_min = spec.min_free // PAGE_BYTES
    for zone in zones:
        its = pages_min * zone.buddy.managed // managed
        step = max(its // 4, zone.buddy.managed * spec.watermark_scale_factor // 10000)
        zone.wmark_min, zone.wmark_low = its, its + step
