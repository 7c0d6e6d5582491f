"""Memory cgroups: who pays for a page, and the counters of that (mm/memcontrol.c, mm/page_counter.c; 6.13).

    charge     from the cpu's stock |-- 64 pages --| empty: 64 more from each counter up to the root's
    uncharge   a batch of freed pages at once, from all counters; the pages of tables go back to the stock

In the root cgroup a page has an owner all the same, and no counter. Limits and reclaim are left out. The
statistics are counted on each cpu; what they tell others is saturated between two flushes, every two seconds.
Objects of slabs are charged as well (`sim.designs.linux.objcg`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sim.designs.linux.memcg_spec import MemcgSpec
from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.mm import PAGE_TABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sim.mm.frame_table import FrameTable

MEMCG: Final = Activity("memcg")


class PageCounter:
    """struct page_counter: *usage* and the most that it was, on two lines."""

    __slots__ = ("_peak_line", "_usage_line", "_watermark", "usage")

    def __init__(self, machine: Machine, name: str) -> None:
        self.usage = 0
        self._watermark = 0
        self._usage_line = machine.line(f"{name}: memory.usage")
        self._peak_line = machine.line(f"{name}: memory.watermark")

    def charge(self, cpu: Cpu, pages: int) -> Steps[None]:
        """One level of page_counter_try_charge."""
        yield from self._usage_line.write(cpu, MEMCG)
        self.usage += pages
        yield from self._peak_line.read(cpu, MEMCG)
        if self.usage > self._watermark:
            yield from self._peak_line.store(cpu, MEMCG)
            self._watermark = max(self._watermark, self.usage)

    def uncharge(self, cpu: Cpu, pages: int) -> Steps[None]:
        """page_counter_cancel."""
        yield from self._usage_line.write(cpu, MEMCG)
        self.usage -= pages

    def charge_at_once(self, pages: int) -> None:
        """The same in no time."""
        self.usage += pages
        self._watermark = max(self._watermark, self.usage)


class Memcg:
    """A cgroup: *counters* are its own and its parents', up to the root's; none in the root itself."""

    __slots__ = ("_batch", "_stock", "counters", "objects")

    def __init__(self, machine: Machine, spec: MemcgSpec) -> None:
        depth = 0 if spec.levels == "none" else spec.levels or machine.spec.kernel.cgroup_levels
        self.objects = 0
        """Pages that are charged for objects of slabs, or for those that a cpu will allocate."""
        self._batch = spec.charge_batch
        self._stock = [0] * len(machine.cpus)
        self.counters = [PageCounter(machine, f"cgroup {level}") for level in range(depth, 0, -1)]
        if depth:
            self.counters.append(PageCounter(machine, "root cgroup"))

    def try_charge(self, cpu: Cpu, pages: int) -> Steps[None]:
        """try_charge_memcg: from the stock of *cpu*; where it has not enough, a batch more from the counters.

        What is left of the batch is added to the stock.
        """
        if not self.counters:
            return
        if self._stock[cpu.id] < pages:
            batch = max(self._batch, pages)
            for counter in self.counters:
                yield from counter.charge(cpu, batch)
            self._stock[cpu.id] += batch
        self._stock[cpu.id] -= pages

    def uncharge(self, cpu: Cpu, pages: int) -> Steps[None]:
        """memcg_uncharge: from the counters, past the stock."""
        for counter in self.counters:
            yield from counter.uncharge(cpu, pages)

    def refill_stock(self, cpu: Cpu) -> Steps[None]:
        """refill_stock, of one page: a stock of more than a batch is given back as a whole (drain_stock)."""
        if not self.counters:
            return
        self._stock[cpu.id] += 1
        if self._stock[cpu.id] > self._batch:
            pages, self._stock[cpu.id] = self._stock[cpu.id], 0
            yield from self.uncharge(cpu, pages)

    @property
    def stocked(self) -> int:
        """Pages that are charged and belong to nobody yet."""
        return sum(self._stock)


class Charges:
    """Which page is charged to which cgroup. *cost* is the work of a charge beside the counters; so many
    pages as a *batch* has are freed and uncharged together."""

    __slots__ = ("_cost", "_of", "_off", "batch")

    def __init__(self, spec: MemcgSpec, cost: int) -> None:
        self._off = spec.levels == "none"
        self.batch = spec.uncharge_batch
        self._cost = cost
        self._of: dict[int, tuple[Memcg, int]] = {}

    def charge(self, cpu: Cpu, frame: int, memcg: Memcg, pages: int = 1) -> Steps[None]:
        """mem_cgroup_charge: *frame* is a folio of a process in *memcg*, or of the page cache."""
        if self._off:
            return
        cpu.work(self._cost, PAGE_TABLE)
        yield from self.charge_kmem(cpu, frame, memcg, pages)

    def charge_kmem(self, cpu: Cpu, frame: int, memcg: Memcg, pages: int = 1) -> Steps[None]:
        """__memcg_kmem_charge_page: of the kernel's, for such a process. Its work is the caller's."""
        if memcg.counters:
            yield from memcg.try_charge(cpu, pages)
            self._of[frame] = memcg, pages

    def charge_at_once(self, frames: Iterable[int], memcg: Memcg) -> None:
        """Before anything is measured, in no time."""
        if memcg.counters:
            pages = dict.fromkeys(frames, (memcg, 1))
            self._of.update(pages)
            for counter in memcg.counters:
                counter.charge_at_once(len(pages))

    def uncharge(self, cpu: Cpu, freed: Sequence[int | range]) -> Steps[None]:
        """__mem_cgroup_uncharge_folios: *freed*, single ones and runs of them, are about to be free."""
        if not self._of:
            return
        frames = [frame for each in freed for frame in (each if isinstance(each, range) else (each,))]
        for first in range(0, len(frames), self.batch):
            pages: dict[Memcg, int] = {}
            for frame in frames[first : first + self.batch]:
                memcg, number = self._of.pop(frame, (None, 0))
                if memcg is not None:
                    pages[memcg] = pages.get(memcg, 0) + number
            for memcg, number in pages.items():
                yield from memcg.uncharge(cpu, number)

    def uncharge_kmem(self, cpu: Cpu, frame: int) -> Steps[None]:
        """__memcg_kmem_uncharge_page."""
        memcg, _ = self._of.pop(frame, (None, 0))
        if memcg is not None:
            yield from memcg.refill_stock(cpu)

    def contradictions(self, memcgs: Iterable[Memcg], in_use: FrameTable) -> Iterator[str]:
        """What is charged is in use, and all counters of a cgroup say how much that is."""
        for frame in self._of:
            if frame not in in_use:
                yield f"frame {frame} is charged and free"
        for memcg in memcgs:
            charged = sum(pages for each, pages in self._of.values() if each is memcg)
            charged += memcg.stocked + memcg.objects
            for counter in memcg.counters:
                if counter.usage != charged:
                    yield f"a cgroup's counter says {counter.usage} pages, and {charged} are charged"
