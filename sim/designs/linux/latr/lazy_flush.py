"""LATR: flushes that a cpu has published in its ring, and the sweeps in which all cpus do them.

    publisher   local flush | slot: what, mask of cpus | end++ | ....... sweeps: start over empty masks
    others      .............................. tick, or switch: all rings, each slot: flush, clear the own bit

Each cpu has a ring of slots. Nobody but the publisher writes its ends. Every cpu reads all rings at every
tick and every context switch, and clears its own bit in the mask of a slot, whose line all cpus of the
process so pass around. An idle cpu has no ticks, and sweeps when a thread comes back to it: as long as one of
those in the mask sleeps, the slot is taken. With a ring that is full, flushes are by interrupt.

Source: sslab-gatech/latr at efad1a1, latr.patch (Linux 4.10, arch/x86/mm/tlb.c native_flush_save_state and
native_flush_saved_states, kernel/sched/core.c scheduler_tick and __schedule). Simplifications: a slot has two
lines of its own (its 104 bytes share one with the next); the tick itself costs nothing, as elsewhere in the
model. Left out: the thread that interrupts after two seconds for slots that are not swept, which looks at the
ring of its own cpu only.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.designs.linux.lazy_mm import LazyMm
from sim.hardware import TLB_FLUSH
from sim.mm import SynchronousFlush, Ways

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.designs.linux.latr.spec import LatrSpec
    from sim.designs.linux.layout import Layout, MmLines
    from sim.designs.linux.lazy_mm import MmCid
    from sim.engine import Background, Steps
    from sim.hardware import CacheLine, Cpu, Machine
    from sim.sync import QueueNodes


class Record:
    """One published flush, the *generation*-th of its space: of entries in the pages [*low*, *high*).

    *pages* are flushed one by one, or everything where that is None. *mask* has the bits of the cpus that
    have not swept it, that of its publisher, *own*, among them. *frames* is what the entries were, but for
    zeros.
    """

    __slots__ = (
        "_own",
        "flush",
        "frames",
        "generation",
        "high",
        "low",
        "mask",
        "mask_line",
        "pages",
        "valid_line",
    )

    def __init__(
        self,
        flush: LatrFlush,
        pages: Sequence[int] | None,
        low: int,
        high: int,
        frames: Sequence[int | range],
        generation: int,
        mask: int,
        own: int,
        lines: tuple[CacheLine, CacheLine],
    ) -> None:
        self.flush = flush
        self.pages = pages
        self.low, self.high = low, high
        self.frames = frames
        self.generation = generation
        self.mask = mask
        self._own = own
        self.mask_line, self.valid_line = lines

    @property
    def shown(self) -> bool:
        """Whether any TLB may still have the entries: not the publisher's, who has flushed them at once."""
        return self.mask & ~self._own != 0

    def may_show(self, page: int, frame: int | None) -> bool:
        """Whether a TLB may still translate *page* to *frame*, or to one of its block, because of it; None
        stands for a page of zeros."""
        if not self.shown or not self.low <= page < self.high:
            return False
        return frame is None or any(
            frame == each if isinstance(each, int) else frame in each for each in self.frames
        )


class _Ring:
    """The slots of one cpu: *records* lie between its two ends, swept ones among them."""

    __slots__ = ("line", "next_slot", "records", "slots")

    def __init__(self, line: CacheLine) -> None:
        self.line = line
        self.records: deque[Record] = deque()
        self.slots: dict[int, tuple[CacheLine, CacheLine]] = {}
        self.next_slot = 0


class LatrRings:
    """The rings of all cpus of *machine*, swept every *tick* ps."""

    __slots__ = ("_look", "_machine", "_publish", "_rings", "_slots", "_sweep", "_tick", "_timer")

    def __init__(self, machine: Machine, spec: LatrSpec, tick: int) -> None:
        clock = machine.spec.plain_clock
        self._machine = machine
        self._slots = spec.slots
        self._tick = tick
        self._publish = spec.publish.at(clock)
        self._look = spec.look.at(clock)
        self._sweep = spec.sweep.at(clock)
        self._timer: Background | None = None
        self._rings = [
            _Ring(machine.line(f"LATR ring of {cpu}", cpu.socket, owner=cpu.id)) for cpu in machine.cpus
        ]

    def publish(
        self,
        cpu: Cpu,
        flush: LatrFlush,
        pages: Sequence[int] | None,
        low: int,
        high: int,
        frames: Sequence[int | range],
        mask: int,
    ) -> Steps[Record | None]:
        """native_flush_save_state. Value: the record of all this, None if there is no slot for it."""
        ring = self._rings[cpu.id]
        yield from ring.line.read(cpu, TLB_FLUSH)
        if len(ring.records) >= self._slots - 1:
            return None
        lines = self._lines(cpu, ring)
        cpu.work(self._publish, TLB_FLUSH)
        yield from lines[0].store(cpu, TLB_FLUSH)
        yield from lines[1].store(cpu, TLB_FLUSH)
        yield from ring.line.store(cpu, TLB_FLUSH)
        record = Record(flush, pages, low, high, frames, flush.generation, mask, cpu.bit, lines)
        ring.records.append(record)
        ring.next_slot = (ring.next_slot + 1) % self._slots
        if self._timer is None or self._timer.dropped:
            self._await_tick()
        return record

    def _lines(self, cpu: Cpu, ring: _Ring) -> tuple[CacheLine, CacheLine]:
        slot = ring.next_slot
        if slot not in ring.slots:
            name = f"LATR slot {slot} of {cpu}"
            ring.slots[slot] = (
                self._machine.line(f"{name}: mask", cpu.socket, owner=cpu.id),
                self._machine.line(f"{name}: valid", cpu.socket, owner=cpu.id),
            )
        return ring.slots[slot]

    # -- sweeps ---------------------------------------------------------------------------------------------

    def sweep_at_switch(self, cpu: Cpu) -> Steps[None]:
        """__schedule: before another thread has *cpu*, it does what others have published."""
        if cpu.pending:
            yield cpu.take_pending()
        cpu.stall(self.sweep(cpu), TLB_FLUSH)

    def sweep(self, cpu: Cpu) -> int:
        """native_flush_saved_states on *cpu*; value: what that takes."""
        cost, bit = 0, cpu.bit
        mine: list[Record] = []
        for ring in self._rings:
            cost += cpu.work_time(self._look) + ring.line.read_in_handler(cpu)
            for record in ring.records:
                cost += cpu.work_time(self._sweep) + record.valid_line.read_in_handler(cpu)
                if not record.mask:
                    continue
                if record.mask & bit:
                    cost += record.mask_line.take_between(cpu, cpu.engine._now)
                    mine.append(record)
                else:
                    cost += record.mask_line.read_in_handler(cpu)
        mine.sort(key=_generation)
        for record in mine:
            cost += record.flush.sweep(cpu, record)
            record.mask &= ~bit
            if not record.mask:
                cost += record.valid_line.take_between(cpu, cpu.engine._now)
        own = self._rings[cpu.id]
        if own.records and not own.records[0].mask:
            while own.records and not own.records[0].mask:
                own.records.popleft()
            cost += own.line.take_between(cpu, cpu.engine._now)
        return cost

    def _await_tick(self) -> None:
        engine = self._machine.engine
        now = engine._now
        self._timer = engine.call_in_background(self._tick - now % self._tick, self._on_tick)

    def _on_tick(self) -> None:
        """scheduler_tick, on all cpus at the same time; one that idles has none."""
        self._timer = None
        for cpu in self._machine.cpus:
            thread = cpu.thread
            if thread is not None and thread.is_alive and not cpu.in_kernel_wait:
                cpu.interrupt(self._handle)
        if any(ring.records for ring in self._rings):
            self._await_tick()

    def _handle(self, cpu: Cpu) -> tuple[int, Callable[[int], None]]:
        return self.sweep(cpu), _nothing

    def settle(self, flush: LatrFlush) -> None:
        """No thread runs: all records of *flush* are swept. Takes no time."""
        for ring in self._rings:
            for record in ring.records:
                if record.flush is flush and record.mask:
                    for cpu in self._machine.cpus:
                        if record.mask & cpu.bit:
                            flush.sweep(cpu, record)
                    record.mask = 0
            while ring.records and not ring.records[0].mask:
                ring.records.popleft()

    def records_of(self, flush: LatrFlush) -> list[Record]:
        """What has been published of *flush* and not been swept by all."""
        return [each for ring in self._rings for each in ring.records if each.flush is flush and each.shown]


def _generation(record: Record) -> int:
    return record.generation


def _nothing(end: int) -> None:
    """A sweep is over when it ends."""


class LatrFlush(SynchronousFlush):
    """Flushes by interrupt, and lazy ones beside them, which `LatrRings` publishes.

    A lazy flush counts as one of the space's (`generation`), so a cpu that has left the space finds, when it
    comes back, that it has missed it.
    """

    __slots__ = ("_rings",)

    def __init__(
        self,
        machine: Machine,
        generation_line: CacheLine,
        ways: Ways,
        rings: LatrRings,
        *,
        mask: CacheLine | None = None,
    ) -> None:
        super().__init__(machine, generation_line, ways, mask=mask)
        self._rings = rings

    def flush_lazily(
        self, cpu: Cpu, pages: range, high: int, frames: Sequence[int | range], *, freed_tables: bool
    ) -> Steps[Record | None]:
        """native_flush_tlb_others in munmap: flush *pages* here and publish them for the others. The last of
        them ends at *high*.

        Value: the record, until whose end *frames* must not be free; None if no other cpu can have them. The
        own TLB is flushed twice: flush_tlb_mm_range has just done it.
        """
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1
        cpu.probe.flush(cpu, len(pages))
        flushed = None if len(pages) > self._ceiling else pages
        cpu.work(self._flush_local(cpu, flushed, self.generation, remote=False), TLB_FLUSH)
        mask = 0
        for other in self._active:
            if other is not cpu:
                mask |= other.bit
        if not mask:
            return None
        record = yield from self._rings.publish(cpu, self, flushed, pages.start, high, frames, mask | cpu.bit)
        if record is None:
            yield from self.flush(cpu, pages, freed_tables=freed_tables)
            return None
        cpu.work(self._cost(cpu, flushed), TLB_FLUSH)
        return record

    def sweep(self, cpu: Cpu, record: Record) -> int:
        """flush_tlb_func on *cpu*, for *record*; value: what that takes. A cpu that has left the space does
        nothing."""
        seen = self._active.get(cpu)
        if seen is None:
            return 0
        if record.pages is None:
            cpu.tlb.flush()
            self._active[cpu] = self.generation
        else:
            cpu.tlb.invalidate(record.pages)
            if seen == record.generation - 1:
                self._active[cpu] = record.generation
        if cpu.heard:
            cpu.probe.tlb_flush(cpu, 0 if record.pages is None else len(record.pages), remote=True)
        return self._cost(cpu, record.pages)

    def _cost(self, cpu: Cpu, pages: Sequence[int] | None) -> int:
        return cpu.tlb.flush_cost if pages is None else len(pages) * cpu.tlb.invalidate_cost

    def leave(self, cpu: Cpu) -> Steps[int]:
        """A cpu sweeps before it loads another space (__schedule)."""
        yield from self._rings.sweep_at_switch(cpu)
        return (yield from super().leave(cpu))

    def drop(self, cpu: Cpu) -> int:
        self._rings.sweep(cpu)
        return super().drop(cpu)

    def may_show(self, page: int, frame: int | None) -> bool:
        """Whether some TLB may still translate *page* to *frame*, which a lazy flush has removed; None stands
        for a page of zeros, which nobody frees."""
        return any(record.may_show(page, frame) for record in self._rings.records_of(self))

    def settle(self) -> None:
        """No thread runs: all that was published is swept. Takes no time."""
        self._rings.settle(self)


class SweepingMm(LazyMm):
    """What a process lends, where a cpu sweeps before it idles and before a thread comes back."""

    __slots__ = ("_rings",)

    def __init__(
        self,
        lines: MmLines,
        layout: Layout,
        nodes: QueueNodes,
        mm_cid: MmCid,
        mask: CacheLine,
        rings: LatrRings,
    ) -> None:
        super().__init__(lines, layout, nodes, mm_cid, mask)
        self._rings = rings

    def borrow(self, cpu: Cpu) -> Steps[None]:
        yield from self._rings.sweep_at_switch(cpu)
        yield from super().borrow(cpu)

    def give_back(self, cpu: Cpu) -> Steps[None]:
        yield from self._rings.sweep_at_switch(cpu)
        yield from super().give_back(cpu)
