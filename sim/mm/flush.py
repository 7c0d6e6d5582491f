"""TLB flushing: synchronous shootdown as Linux does it, and LATR's lazy one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.engine import ThreadBody
from sim.hardware import TLB_FLUSH, CacheLine, Cpu, Machine


class SynchronousFlush:
    """Shootdown by IPI (Linux arch/x86/mm/tlb.c, 6.13): when it returns, no cpu has the translations.

    *generation* counts the flushes of the address space. A target that is one behind flushes the range; one
    that is further behind flushes everything and is up to date; one that is up to date does nothing. A cpu in
    lazy-TLB mode is skipped and flushes when it comes back.
    """

    def __init__(self, machine: Machine, generation_line: CacheLine) -> None:
        self._machine = machine
        self._line = generation_line
        self._ceiling = machine.spec.tlb.flush_ceiling
        self._active: dict[Cpu, int] = {}
        self.generation = 0
        self.flushes = 0

    def activate(self, cpu: Cpu) -> None:
        """The address space is loaded on *cpu* (its bit in mm_cpumask is set)."""
        self._active.setdefault(cpu, self.generation)

    def flush(self, cpu: Cpu, pages: Sequence[int]) -> ThreadBody:
        """Remove *pages* from every TLB and wait until that is done."""
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1
        self.flushes += 1
        generation = self.generation

        def flush_here(target: Cpu) -> int:
            return self._flush_local(target, pages, generation)

        targets = []
        for other in self._active:
            if other is cpu:
                continue
            if other.in_kernel_wait:
                other.tlb.stale = True
                self._active[other] = generation
            else:
                targets.append(other)
        if not targets:
            cpu.work(flush_here(cpu), TLB_FLUSH)
            return
        interrupts = self._machine.interrupts
        round_ = yield from interrupts.start(cpu, targets, flush_here)
        cpu.work(flush_here(cpu), TLB_FLUSH)
        yield from interrupts.finish(round_, len(targets))

    def _flush_local(self, cpu: Cpu, pages: Sequence[int], generation: int) -> int:
        """`flush_tlb_func`: returns its cost."""
        seen = self._active[cpu]
        if seen >= generation:
            return 0
        if seen == generation - 1 == self.generation - 1 and len(pages) <= self._ceiling:
            self._active[cpu] = generation
            cpu.tlb.invalidate(pages)
            return len(pages) * cpu.tlb.invalidate_cost
        self._active[cpu] = self.generation
        cpu.tlb.flush()
        return cpu.tlb.flush_cost


@dataclass(frozen=True, slots=True)
class _Record:
    """One published lazy flush: what it removed, as (page, frame), and when every other cpu has swept it."""

    removed: Sequence[tuple[int, int]]
    release: Callable[[], None]
    free_at: int


class LazyFlush:
    """LATR (Kumar et al., ASPLOS'18) as in CortenMM: unmap flushes its own TLB and publishes the rest.

    Each cpu has *slots* records. A cpu sweeps the records of all others at a timer tick, but only when
    `tick mod cpus` is its number, so every *cpus* ticks. A record is free, and its frames with it, once every
    cpu of the space has swept it. Sweep times follow from the tick alone, so they are computed when a record
    is looked at instead of being events; the cost of a sweep is charged to the next kernel entry of its cpu.
    A cpu whose records are all in use sends a *shootdown* instead.
    """

    def __init__(
        self,
        machine: Machine,
        shootdown: SynchronousFlush,
        *,
        slots: int,
        tick: int,
        publish: int,
        search: int,
        sweep: int,
    ) -> None:
        self._machine = machine
        self._shootdown = shootdown
        self._slots = slots
        self._tick = tick
        self._publish = publish
        self._search = search
        self._sweep = sweep
        self._last_sweep: dict[Cpu, int] = {}
        self._records: dict[Cpu, deque[_Record]] = {}
        self._lines: dict[Cpu, CacheLine] = {}
        self._pinned: dict[int, int] = {}

    def activate(self, cpu: Cpu) -> None:
        """The address space is loaded on *cpu*: it sweeps from now on."""
        self._shootdown.activate(cpu)
        if cpu not in self._records:
            self._last_sweep[cpu] = cpu.engine._now
            self._records[cpu] = deque()
            self._lines[cpu] = self._machine.line(f"LATR slots of {cpu}", cpu.socket, owner=cpu.id)

    def flush(self, cpu: Cpu, removed: Sequence[tuple[int, int]], release: Callable[[], None]) -> ThreadBody:
        """Flush the pages of *removed*, (page, frame) each, here and publish them for the others.

        *release* is called when no cpu can translate them any more.
        """
        pages = [page for page, _ in removed]
        records = self._records[cpu]
        while len(records) >= self._slots and records[0].free_at <= cpu.engine._now:
            self._recycle(records.popleft())
        cpu.work(self._search, TLB_FLUSH)
        if len(records) >= self._slots:
            yield from self._shootdown.flush(cpu, pages)
            release()
            return
        cpu.tlb.invalidate(pages)
        cpu.work(len(pages) * cpu.tlb.invalidate_cost, TLB_FLUSH)
        self._pinned.update((frame, page) for page, frame in removed)
        yield from self._lines[cpu].write(cpu, TLB_FLUSH)
        cpu.work(self._publish, TLB_FLUSH)
        records.append(_Record(removed, release, self._swept_by_all(cpu, cpu.engine._now)))

    def catch_up(self, cpu: Cpu) -> None:
        """Take the sweep that is due on *cpu*: drop the translations that others have published."""
        now = cpu.engine._now
        if self._next_sweep(cpu, self._last_sweep[cpu]) > now:
            return
        self._last_sweep[cpu] = now
        for other, records in self._records.items():
            if other is not cpu and records:
                cpu.work(self._sweep, TLB_FLUSH)
                for record in records:
                    cpu.tlb.invalidate(page for page, _ in record.removed)

    def is_pinned(self, page: int, frame: int) -> bool:
        """Whether a record keeps *frame*, which *page* was mapped to, because TLBs may still hold it."""
        return self._pinned.get(frame) == page

    def _recycle(self, record: _Record) -> None:
        for cpu in self._records:
            cpu.tlb.invalidate(page for page, _ in record.removed)
        for _, frame in record.removed:
            del self._pinned[frame]
        record.release()

    def _next_sweep(self, cpu: Cpu, after: int) -> int:
        """First time after *after* at which *cpu* sweeps: tick number k with k mod cpus == cpu."""
        period = self._tick * len(self._machine.cpus)
        offset = self._tick * cpu.id
        return offset + ((after - offset) // period + 1) * period

    def _swept_by_all(self, cpu: Cpu, published: int) -> int:
        """When every other cpu of the space has swept: one turn of the ticks, from the next one on."""
        cpus = self._machine.cpus
        tick = published // self._tick + len(cpus)
        while cpus[tick % len(cpus)] is cpu or cpus[tick % len(cpus)] not in self._records:
            tick -= 1
            if tick * self._tick <= published:
                return published
        return tick * self._tick
