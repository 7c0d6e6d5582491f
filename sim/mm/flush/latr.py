"""LATR: lazy TLB shootdowns, as CortenMM has them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, CacheLine, Cpu, Machine
from sim.mm.flush.ipi import SynchronousFlush
from sim.mm.present_run import Alike

Translations: TypeAlias = tuple[int, int] | Alike
"""A page and its frame, or many side by side."""

Release: TypeAlias = Callable[[Cpu], None]
"""Frees what a flush was about, on the given cpu."""


@dataclass(frozen=True, slots=True, eq=False)
class _Record:
    """A published lazy flush: what it removed, when it was *published*, when every other cpu has swept it."""

    pages: Sequence[int]
    removed: Sequence[Translations]
    release: Release
    published: int
    free_at: int


class LazyFlush:
    """LATR (Kumar et al., ASPLOS'18) as in CortenMM: unmap flushes its own TLB and publishes the rest.

    Each cpu has *slots* records. A cpu sweeps the records of all others at a timer tick, but only when
    `tick mod cpus` is its number, so every *cpus* ticks. A record is free, and its frames with it, once every
    cpu of the space has swept it. Sweep times follow from the tick alone, so they are computed when a record
    is looked at instead of being events; the cost of a sweep is charged to the next kernel entry of its cpu.
    A cpu whose records are all in use sends a *shootdown* instead.

    With *as_coded* it is what CortenMM's artifact does (ostd/src/mm/tlb/latr.rs, mod.rs latr_with): a record
    names its publisher too, who never sweeps it, so it is never free; and where all are in use the flush that
    is to take its place is issued and not dispatched. So from then on only the cpu's own TLB is flushed, the
    frames are freed at once, and others may still translate to them (`is_left_behind`).

    A cpu that loads another space has swept what it will ever sweep: without PCID, as in CortenMM's kernel,
    its entries go, and when it loads the space again it begins without any.
    """

    __slots__ = (
        "_as_coded",
        "_last_sweep",
        "_left_behind",
        "_lines",
        "_loaded",
        "_machine",
        "_pinned",
        "_publish",
        "_records",
        "_search",
        "_shootdown",
        "_slots",
        "_sweep",
        "_tick",
    )

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
        as_coded: bool = False,
    ) -> None:
        self._as_coded = as_coded
        self._left_behind: set[tuple[int, int]] = set()
        self._machine = machine
        self._shootdown = shootdown
        self._slots = slots
        self._tick = tick
        self._publish = publish
        self._search = search
        self._sweep = sweep
        self._last_sweep: dict[Cpu, int] = {}
        self._loaded: dict[Cpu, None] = {}
        self._records: dict[Cpu, deque[_Record]] = {}
        self._lines: dict[Cpu, CacheLine] = {}
        self._pinned: Counter[tuple[int, int]] = Counter()

    def activate(self, cpu: Cpu) -> None:
        """The address space is loaded on *cpu*: it sweeps from now on."""
        self._shootdown.activate(cpu)
        self._sweeps(cpu)

    def _sweeps(self, cpu: Cpu) -> None:
        if cpu in self._loaded:
            return
        self._loaded[cpu] = None
        self._last_sweep[cpu] = cpu.engine._now
        if cpu not in self._records:
            self._records[cpu] = deque()
            self._lines[cpu] = self._machine.line(f"LATR slots of {cpu}", cpu.socket, owner=cpu.id)

    # -- switching (`contexts`) -----------------------------------------------------------------------------

    @property
    def valid_from(self) -> int:
        """Above what any cpu has seen that has left: none keeps its entries."""
        return self._shootdown.generation + 1

    def leave(self, cpu: Cpu) -> Steps[int]:
        """*cpu* loads another space and sweeps no more."""
        del self._loaded[cpu]
        return self._shootdown.leave(cpu)

    def drop(self, cpu: Cpu) -> int:
        """`leave` that takes no time."""
        del self._loaded[cpu]
        return self._shootdown.drop(cpu)

    def enter(self, cpu: Cpu) -> Steps[None]:
        """*cpu* is about to load the space."""
        return self._shootdown.enter(cpu)

    def loaded(self, cpu: Cpu, asid: int) -> None:
        """*cpu* has loaded the space, without entries, and sweeps from now on."""
        self._shootdown.loaded(cpu, asid)
        self._sweeps(cpu)

    def forget(self, cpu: Cpu) -> None:
        """*cpu* has given the space's asid away."""
        self._shootdown.forget(cpu)

    @property
    def loaded_on(self) -> list[Cpu]:
        """The cpus that have the space loaded."""
        return self._shootdown.loaded_on

    # -- flushing -------------------------------------------------------------------------------------------

    def flush_lazily(self, cpu: Cpu, removed: Sequence[Translations], release: Release) -> Steps[None]:
        """Flush the pages of *removed* here and publish them for the others.

        *release* is called when no cpu can translate them any more.
        """
        pages = pages_of(removed)
        records = self._records[cpu]
        while not self._as_coded and len(records) >= self._slots and records[0].free_at <= cpu.engine._now:
            if cpu.heard:
                cpu.probe.lazy_flush_ends(cpu, self, records[0])
            self._recycle(records.popleft(), cpu, swept=True)
        cpu.work(self._search, TLB_FLUSH)
        full = len(records) >= self._slots
        if full and not self._as_coded:
            yield from self._shootdown.flush(cpu, pages)
            release(cpu)
            return
        cpu.probe.flush(cpu, len(pages))
        if cpu.heard:
            cpu.probe.tlb_flush(cpu, len(pages), remote=False)
        cpu.tlb.invalidate(pages)
        cpu.work(len(pages) * cpu.tlb.invalidate_cost, TLB_FLUSH)
        if full:
            self._leave_behind(removed)
            release(cpu)
            return
        self._pinned.update((each[0], each[1]) for each in removed if not isinstance(each, Alike))
        yield from self._lines[cpu].write(cpu, TLB_FLUSH)
        cpu.work(self._publish, TLB_FLUSH)
        published = cpu.engine._now
        records.append(_Record(pages, removed, release, published, self._swept_by_all(cpu, published)))
        if cpu.heard:
            cpu.probe.lazy_flush_begins(cpu, self, records[-1])

    def flush(
        self, cpu: Cpu, pages: Sequence[int], *, whole: bool = False, freed_tables: bool = False
    ) -> Steps[None]:
        """Flush *pages* everywhere before going on: nothing is put off."""
        yield from self._shootdown.flush(cpu, pages, whole=whole, freed_tables=freed_tables)

    def catch_up(self, cpu: Cpu) -> None:
        """Take the sweep that is due on *cpu*: drop the translations that others have published."""
        now = cpu.engine._now
        if self.next_sweep(cpu, self._last_sweep[cpu]) > now:
            return
        self._last_sweep[cpu] = now
        for other, records in self._records.items():
            if other is not cpu and records:
                cpu.work(self._sweep, TLB_FLUSH)
                for record in records:
                    if cpu.heard:
                        cpu.probe.tlb_flush(cpu, len(record.pages), remote=True)
                    cpu.tlb.invalidate(record.pages)

    def settle(self) -> None:
        """No thread runs: let every record be swept."""
        for cpu, records in self._records.items():
            while records:
                self._recycle(records.popleft(), cpu)

    def abandon(self, cpu: Cpu) -> None:
        """The space is gone from all TLBs: *cpu* frees what was kept for the sake of those who had it."""
        for records in self._records.values():
            while records:
                self._recycle(records.popleft(), cpu)

    def releases(self) -> Iterator[Release]:
        """What is to be called for the records that not all have swept."""
        for records in self._records.values():
            for record in records:
                yield record.release

    def is_pinned(self, page: int, frame: int) -> bool:
        """Whether a record keeps *frame*, which *page* was mapped to, because TLBs may still hold it."""
        return (page, frame) in self._pinned or any(
            frame in each.frames and page == each.page + frame - each.frames.start
            for records in self._records.values()
            for record in records
            for each in record.removed
            if isinstance(each, Alike)
        )

    def is_left_behind(self, page: int, frame: int) -> bool:
        """Whether nobody has told other TLBs that *page* is not *frame* any more."""
        return (page, frame) in self._left_behind

    def _leave_behind(self, removed: Sequence[Translations]) -> None:
        for each in removed:
            if isinstance(each, Alike):
                self._left_behind.update(zip(each.pages, each.frames, strict=True))
            else:
                self._left_behind.add((each[0], each[1]))

    def _recycle(self, record: _Record, cpu: Cpu, *, swept: bool = False) -> None:
        """*record* is of no use any more. *swept*: for its time has come, so a cpu that has not had its tick
        since then keeps what it has, as nobody tells it."""
        now = cpu.engine._now
        for loaded in self._loaded:
            late = swept and loaded is not cpu and self._last_sweep[loaded] <= record.published
            if not (late and self.next_sweep(loaded, record.published) > now):
                loaded.tlb.invalidate(record.pages)
        for each in record.removed:
            if not isinstance(each, Alike):
                self._pinned[each] -= 1
                if not self._pinned[each]:
                    del self._pinned[each]
        record.release(cpu)

    def next_sweep(self, cpu: Cpu, after: int) -> int:
        """First time after *after* at which *cpu* sweeps: tick number k with k mod cpus == cpu."""
        period = self._tick * len(self._machine.cpus)
        offset = self._tick * cpu.id
        return offset + ((after - offset) // period + 1) * period

    def _swept_by_all(self, cpu: Cpu, published: int) -> int:
        """When every other cpu of the space has swept: one turn of the ticks, from the next one on."""
        cpus = self._machine.cpus
        tick = published // self._tick + len(cpus)
        while cpus[tick % len(cpus)] is cpu or cpus[tick % len(cpus)] not in self._loaded:
            tick -= 1
            if tick * self._tick <= published:
                return published
        return tick * self._tick


def pages_of(removed: Sequence[Translations]) -> Sequence[int]:
    """All pages of *removed*: a range where they lie side by side, as those of a large mapping do."""
    if not any(isinstance(each, Alike) for each in removed):
        return [each[0] for each in removed]
    pieces = [each.pages if isinstance(each, Alike) else range(each[0], each[0] + 1) for each in removed]
    pieces.sort(key=lambda piece: piece.start)
    if all(one.stop == other.start for one, other in pairwise(pieces)):
        return range(pieces[0].start, pieces[-1].stop)
    return [page for piece in pieces for page in piece]
