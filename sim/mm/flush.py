"""TLB flushing: Linux's synchronous shootdown, by broadcast, to tracked cpus, and LATR's lazy one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import PositiveInt, model_validator

from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import TLB_FLUSH, CacheLine, Cpu, Machine, MachineSpec
from sim.quantities import Spec


class FlushSpec(Spec):
    """How a kernel of Linux's kind flushes the TLBs of others."""

    method: Literal["ipi", "broadcast"]
    """`broadcast`: by instruction, on machines that have it, once a process runs on enough cpus (6.15)."""
    broadcast_from: PositiveInt | None = None
    """With `broadcast`: so many cpus are enough."""
    concurrent: bool
    """The initiator flushes its own TLB while the others flush theirs (5.13); before that, first its own."""
    asids: PositiveInt
    """Address spaces that a cpu keeps in its TLB on machines with PCID (TLB_NR_DYN_ASIDS)."""

    @model_validator(mode="after")
    def _broadcast_has_a_start(self) -> Self:
        if (self.broadcast_from is not None) != (self.method == "broadcast"):
            raise ValueError("`broadcast_from` is for `method: broadcast`, which needs it")
        return self

    def refuses(self, machine: MachineSpec) -> str | None:
        """Why this flush cannot be had on *machine*, if so."""
        if self.method == "broadcast" and (machine.tlb.broadcast is None or not machine.tlb.pcid):
            return (
                f"{machine.name} cannot broadcast TLB flushes: it has no `tlb.broadcast`, or not `tlb.pcid`"
            )
        return None


class SynchronousFlush:
    """Shootdown by IPI (Linux arch/x86/mm/tlb.c, 6.13): when it returns, no cpu has the translations.

    *generation* counts the flushes of the address space. A target that is one behind flushes the range; one
    that is further behind flushes everything and is up to date; one that is up to date does nothing. A cpu in
    lazy-TLB mode is skipped and flushes when it comes back. With *concurrent* (5.13) the initiator's own TLB
    is flushed while the targets are at it, without it before they are asked.
    """

    def __init__(
        self,
        machine: Machine,
        generation_line: CacheLine,
        *,
        concurrent: bool = True,
        mask: CacheLine | None = None,
    ) -> None:
        self._machine = machine
        self._line = generation_line
        self._ceiling = machine.spec.tlb.flush_ceiling
        self._concurrent = concurrent
        self._active: dict[Cpu, int] = {}
        self._asid_on: dict[Cpu, int] = {}
        self._mask = mask
        self.generation = 0

    def activate(self, cpu: Cpu) -> None:
        """The address space is loaded on *cpu* (its bit in mm_cpumask is set)."""
        self._active.setdefault(cpu, self.generation)
        self._asid_on[cpu] = cpu.tlb.asid

    # -- switching (`contexts`) -----------------------------------------------------------------------------

    @property
    def valid_from(self) -> int:
        """A cpu that has seen this generation has no entries that were flushed elsewhere since."""
        return self.generation

    def leave(self, cpu: Cpu) -> Steps[int]:
        """*cpu* loads another space (cpumask_clear_cpu); value: the generation that it has seen."""
        yield from self._cpumask.write(cpu, TLB_FLUSH)
        return self.drop(cpu)

    def drop(self, cpu: Cpu) -> int:
        """`leave` that takes no time."""
        return self._active.pop(cpu)

    def enter(self, cpu: Cpu) -> Steps[None]:
        """*cpu* is about to load the space (cpumask_set_cpu, then mm.context.tlb_gen)."""
        yield from self._cpumask.write(cpu, TLB_FLUSH)
        self._active[cpu] = self.generation
        yield from self._line.read(cpu, TLB_FLUSH)

    def loaded(self, cpu: Cpu, asid: int) -> None:
        """*cpu* has loaded the space under *asid*, up to date."""
        self._active[cpu] = self.generation
        self._asid_on[cpu] = asid

    def forget(self, cpu: Cpu) -> None:
        """*cpu* has given the space's asid away, and its entries with it."""
        self._asid_on.pop(cpu, None)

    @property
    def _cpumask(self) -> CacheLine:
        if self._mask is None:
            self._mask = self._machine.line("mm_cpumask", self._line.home)
        return self._mask

    # -- flushing -------------------------------------------------------------------------------------------

    def flush(self, cpu: Cpu, pages: Sequence[int]) -> Steps[None]:
        """Remove *pages* from every TLB and wait until that is done."""
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1
        cpu.probe.flush(cpu, len(pages))
        generation = self.generation

        def flush_here(target: Cpu) -> int:
            return self._flush_local(target, pages, generation, remote=target is not cpu)

        targets = []
        for other in self._active:
            if other is cpu:
                continue
            if other.in_kernel_wait:
                other.tlb.stale = True
                self._active[other] = generation
            else:
                targets.append(other)
        if not targets or not self._concurrent:
            cpu.work(flush_here(cpu), TLB_FLUSH)
        if not targets:
            return
        interrupts = self._machine.interrupts
        round_ = yield from interrupts.start(cpu, targets, flush_here)
        if self._concurrent:
            cpu.work(flush_here(cpu), TLB_FLUSH)
        yield from interrupts.finish(round_)

    def _flush_local(self, cpu: Cpu, pages: Sequence[int], generation: int, *, remote: bool) -> int:
        """`flush_tlb_func`: returns its cost."""
        seen = self._active.get(cpu)
        if seen is None or seen >= generation:  # the cpu has left the space, or is up to date
            return 0
        if seen == generation - 1 == self.generation - 1 and len(pages) <= self._ceiling:
            self._active[cpu] = generation
            cpu.probe.tlb_flush(cpu, len(pages), remote)
            cpu.tlb.invalidate(pages)
            return len(pages) * cpu.tlb.invalidate_cost
        self._active[cpu] = self.generation
        cpu.probe.tlb_flush(cpu, 0, remote)
        cpu.tlb.flush()
        return cpu.tlb.flush_cost


class BroadcastFlush(SynchronousFlush):
    """INVLPGB (Linux arch/x86/mm/tlb.c broadcast_tlb_flush, 6.15): no IPIs and nothing to do for the others.

    A process begins with IPIs. The first flush that finds it on *start* cpus is its last by IPI: it gets a
    global number there (use_global_asid), under which instructions reach its entries on all cpus, also on
    those that idle or run something else. Linux looks at only one flush in 32 whether it is time.
    """

    def __init__(
        self, machine: Machine, generation_line: CacheLine, *, concurrent: bool = True, start: int
    ) -> None:
        super().__init__(machine, generation_line, concurrent=concurrent)
        assert machine.broadcast is not None
        self._medium = machine.broadcast
        self._start = start
        self._global_since: int | None = None

    @property
    def valid_from(self) -> int:
        return self.generation if self._global_since is None else self._global_since

    def flush(self, cpu: Cpu, pages: Sequence[int]) -> Steps[None]:
        if self._global_since is None:
            enough = len(self._active) >= self._start
            yield from super().flush(cpu, pages)
            if enough and self._global_since is None:
                self._global_since = self.generation
            return
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1
        cpu.probe.flush(cpu, len(pages))
        whole = len(pages) > self._ceiling
        yield from self._medium.invalidate(cpu, 0 if whole else len(pages))
        for other, asid in self._asid_on.items():
            if whole:
                other.tlb.flush(asid)
            else:
                other.tlb.invalidate(pages, asid)


class TrackedFlush:
    """Shootdown to the cpus that may have the pages, where the kernel knows which (RadixVM, EuroSys'13)."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def flush(self, cpu: Cpu, pages: Sequence[int], holders: Iterable[Cpu]) -> Steps[None]:
        """Remove *pages* from the TLBs of *cpu* and *holders* and wait until that is done."""

        cpu.probe.flush(cpu, len(pages))

        def flush_here(target: Cpu) -> int:
            target.probe.tlb_flush(target, len(pages), target is not cpu)
            target.tlb.invalidate(pages)
            return len(pages) * target.tlb.invalidate_cost

        round_ = yield from self._machine.interrupts.start(cpu, holders, flush_here)
        cpu.work(flush_here(cpu), TLB_FLUSH)
        yield from self._machine.interrupts.finish(round_)


def make_flush(machine: Machine, generation_line: CacheLine, spec: FlushSpec) -> SynchronousFlush:
    """The flush that *spec* asks for. Raises `ModelError` where the machine has no broadcast."""
    refusal = spec.refuses(machine.spec)
    if refusal is not None:
        raise ModelError(refusal)
    if spec.broadcast_from is None:
        return SynchronousFlush(machine, generation_line, concurrent=spec.concurrent)
    return BroadcastFlush(machine, generation_line, concurrent=spec.concurrent, start=spec.broadcast_from)


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

    A cpu that loads another space has swept what it will ever sweep: without PCID, as in CortenMM's kernel,
    its entries go, and when it loads the space again it begins without any.
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
        self._loaded: dict[Cpu, None] = {}
        self._records: dict[Cpu, deque[_Record]] = {}
        self._lines: dict[Cpu, CacheLine] = {}
        self._pinned: dict[int, int] = {}

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

    # -- flushing -------------------------------------------------------------------------------------------

    def flush(self, cpu: Cpu, removed: Sequence[tuple[int, int]], release: Callable[[], None]) -> Steps[None]:
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
        cpu.probe.flush(cpu, len(pages))
        cpu.probe.tlb_flush(cpu, len(pages), remote=False)
        cpu.tlb.invalidate(pages)
        cpu.work(len(pages) * cpu.tlb.invalidate_cost, TLB_FLUSH)
        self._pinned.update((frame, page) for page, frame in removed)
        yield from self._lines[cpu].write(cpu, TLB_FLUSH)
        cpu.work(self._publish, TLB_FLUSH)
        records.append(_Record(removed, release, self._swept_by_all(cpu, cpu.engine._now)))

    def flush_now(self, cpu: Cpu, pages: Sequence[int]) -> Steps[None]:
        """Flush *pages* everywhere before going on: nothing is put off."""
        yield from self._shootdown.flush(cpu, pages)

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
                    cpu.probe.tlb_flush(cpu, len(record.removed), remote=True)
                    cpu.tlb.invalidate(page for page, _ in record.removed)

    def settle(self) -> None:
        """No thread runs: let every record be swept."""
        for records in self._records.values():
            while records:
                self._recycle(records.popleft())

    def releases(self) -> Iterator[Callable[[], None]]:
        """What is to be called for the records that not all have swept."""
        for records in self._records.values():
            for record in records:
                yield record.release

    def is_pinned(self, page: int, frame: int) -> bool:
        """Whether a record keeps *frame*, which *page* was mapped to, because TLBs may still hold it."""
        return self._pinned.get(frame) == page

    def _recycle(self, record: _Record) -> None:
        for cpu in self._loaded:
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
        while cpus[tick % len(cpus)] is cpu or cpus[tick % len(cpus)] not in self._loaded:
            tick -= 1
            if tick * self._tick <= published:
                return published
        return tick * self._tick
