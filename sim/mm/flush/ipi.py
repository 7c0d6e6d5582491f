"""Linux's synchronous shootdown by IPI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from sim.engine import Steps
from sim.hardware import TLB_FLUSH, CacheLine, Cpu, Machine

TlbGenRead: TypeAlias = Literal["never", "always", "if-behind"]


@dataclass(frozen=True, slots=True)
class Ways:
    """What differs between kernel versions (`FlushSpec` says what each means).

    *trim_every*, *ask* and *answer* are in ps. None clears the bit of a cpu that leaves at once. A kernel
    without `tlb_gen`, or with another way to tell its cpus, never reads it.
    """

    concurrent: bool = True
    ranges: bool = True
    skip_lazy: bool = True
    trim_every: int | None = None
    tlb_gen_read: TlbGenRead = "never"
    shorthand: bool = False
    ask: int = 0
    answer: int = 0


DEFAULT_WAYS: Final = Ways()


class SynchronousFlush:
    """Shootdown by IPI (Linux arch/x86/mm/tlb.c, 6.13.7): when it returns, no cpu has the translations.

    *generation* counts the flushes of the address space. A target that is one behind flushes the range; one
    that is further behind flushes everything and is up to date; one that is up to date does nothing. A cpu in
    lazy-TLB mode is skipped and flushes when it comes back, unless page tables are freed: it could still walk
    to them. Then it leaves the space for the kernel's own (init_mm) and is not asked again until it comes
    back. Until 4.19 (`skip_lazy`) it leaves in any case. With *concurrent* (5.13) the initiator's own TLB is
    flushed while the targets are at it, without it before they are asked.

    A target reads the line that counts, which every flush writes. Until 5.19 (`tlb_gen_read: always`) each
    call does, and one that finds that others have counted on flushes everything again, though its own flush
    is done already. Since 6.0 (`if-behind`) such a call returns before it reads.

    A cpu that loads another space takes its bit out of mm_cpumask. Since 6.14 (`trim_every`) it leaves it
    there, and saves two writes of a shared line if it comes back. The bit goes with the next interrupt, which
    finds another space loaded: that of the first flush after *trim_every*, or of one that frees tables. Left
    out: the line of the mask in these handlers; and that a sender then reads which space each target has
    loaded (should_flush_tlb), from a line that the target's flushes write if the space has asid 0 or 1. Where
    several threads unmap or discard at a time, which is where that line would be hot, hardly any flush looks:
    each counts as one that frees tables (tlb_finish_mmu, mm_tlb_flush_nested).
    """

    __slots__ = (
        "_active",
        "_asid_on",
        "_ceiling",
        "_gone",
        "_left",
        "_line",
        "_machine",
        "_mask",
        "_next_trim",
        "_ways",
        "generation",
    )

    def __init__(
        self,
        machine: Machine,
        generation_line: CacheLine,
        ways: Ways = DEFAULT_WAYS,
        *,
        mask: CacheLine | None = None,
    ) -> None:
        self._machine = machine
        self._line = generation_line
        self._ceiling = machine.spec.tlb.flush_ceiling if ways.ranges else 1
        self._ways = ways
        self._left: dict[Cpu, None] = {}
        self._next_trim = machine.engine._now + (ways.trim_every or 0)
        self._active: dict[Cpu, int] = {}
        self._asid_on: dict[Cpu, int] = {}
        self._gone: dict[Cpu, bool] = {}  # idle cpus that have left for init_mm: is their bit still set?
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
        if self._ways.trim_every is None:
            yield from self._cpumask.write(cpu, TLB_FLUSH)
        return self.drop(cpu)

    def drop(self, cpu: Cpu) -> int:
        """`leave` that takes no time."""
        if self._ways.trim_every is not None:
            self._left[cpu] = None
        return self._active.pop(cpu)

    def enter(self, cpu: Cpu) -> Steps[None]:
        """*cpu* is about to load the space (cpumask_set_cpu, then mm.context.tlb_gen)."""
        if cpu in self._left:
            yield from self._cpumask.read(cpu, TLB_FLUSH)
            self._left.pop(cpu, None)
        else:
            yield from self._cpumask.write(cpu, TLB_FLUSH)
        self._active[cpu] = self.generation
        yield from self._line.read(cpu, TLB_FLUSH)

    def loaded(self, cpu: Cpu, asid: int) -> None:
        """*cpu* has loaded the space under *asid*, up to date."""
        self._left.pop(cpu, None)
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

    @property
    def by_instruction(self) -> bool:
        """Whether it takes no interrupts any more."""
        return False

    @property
    def shorthand(self) -> bool:
        """Whether one write interrupts everybody."""
        return self._ways.shorthand

    @property
    def asking(self) -> int:
        """What the initiator executes for each target (ps)."""
        return self._ways.ask

    @property
    def loaded_on(self) -> list[Cpu]:
        """The cpus that have the space loaded."""
        return list(self._active)

    def runs_elsewhere(self, cpu: Cpu) -> bool:
        """Whether another cpu than *cpu* has it loaded, so that it pays to put a flush off."""
        return any(other is not cpu for other in self._active)

    def put_off(self, cpu: Cpu) -> Steps[None]:
        """arch_tlbbatch_add_pending: a flush of all of it is counted, and done later (`flush_batch`)."""
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1

    def to_ask(self, cpu: Cpu) -> list[Cpu]:
        """The cpus to interrupt for the flushes that were put off."""
        return self._targets(cpu, self.generation, lazy=not self._ways.skip_lazy)

    def catch_up(self, cpu: Cpu, *, remote: bool) -> int:
        """*cpu* does what was put off, if it has the space loaded; returns its cost."""
        return self._flush_local(cpu, None, self.generation, remote=remote) if cpu in self._active else 0

    def flush(
        self, cpu: Cpu, pages: Sequence[int], *, whole: bool = False, freed_tables: bool = False
    ) -> Steps[None]:
        """Remove *pages* from every TLB, or the *whole* space, and wait until that is done."""
        yield from self._line.write(cpu, TLB_FLUSH)
        self.generation += 1
        cpu.probe.flush(cpu, 0 if whole else len(pages))
        whole = whole or len(pages) > self._ceiling
        generation = self.generation

        def flush_here(target: Cpu) -> int:
            return self._flush_local(target, None if whole else pages, generation, remote=target is not cpu)

        targets = self._targets(cpu, generation, lazy=freed_tables or not self._ways.skip_lazy)
        targets += self._left_behind(freed_tables=freed_tables)
        if not targets or not self._ways.concurrent:
            cpu.work(flush_here(cpu), TLB_FLUSH)
        if not targets:
            return
        interrupts = self._machine.interrupts
        round_ = yield from interrupts.start(
            cpu, targets, flush_here, shorthand=self.shorthand, code=self.asking
        )
        if self._ways.concurrent:
            cpu.work(flush_here(cpu), TLB_FLUSH)
        yield from interrupts.finish(round_)

    def _targets(self, cpu: Cpu, generation: int, *, lazy: bool) -> list[Cpu]:
        """The other cpus to ask; those that are not asked flush when they come back."""
        targets: list[Cpu] = []
        active, gone = self._active, self._gone
        for other in active:
            if other is cpu:
                continue
            if other in gone and not other.tlb.stale:
                del gone[other]  # it has been back
            if other.in_kernel_wait and (not lazy or gone.get(other) is False):
                other.tlb.stale = True
                active[other] = generation
            else:
                targets.append(other)
        return targets

    def _left_behind(self, *, freed_tables: bool) -> list[Cpu]:
        """Cpus with another space loaded and their bit still set that are interrupted (should_flush_tlb)."""
        left = list(self._left)
        if left and self._machine.engine._now > self._next_trim:  # should_trim_cpumask
            assert self._ways.trim_every is not None
            self._next_trim = self._machine.engine._now + self._ways.trim_every
            return left
        return left if freed_tables else []

    def _flush_local(self, cpu: Cpu, pages: Sequence[int] | None, generation: int, *, remote: bool) -> int:
        """`flush_tlb_func`, of everything where *pages* is None: returns its cost."""
        cost = cpu.work_time(self._ways.answer) if remote else 0
        seen = self._active.get(cpu)
        if seen is None:  # the cpu has left the space: cpumask_clear_cpu
            self._left.pop(cpu, None)
            return cost
        if remote and cpu.in_kernel_wait and cpu in self._gone:  # the same
            self._gone[cpu] = False
            self._active[cpu] = max(seen, generation)
            return cost
        reads = self._ways.tlb_gen_read
        if seen >= generation and reads != "always":
            return cost
        if reads != "never" and not self._line.exclusive_to(
            cpu
        ):  # else it has just counted, with nobody between
            cost += self._line.read_in_handler(cpu)
        if seen >= self.generation:  # it is up to date
            return cost
        if remote and cpu.in_kernel_wait:  # switch_mm_irqs_off(init_mm)
            self._gone[cpu] = self._ways.trim_every is not None
            cpu.tlb.stale = True
        elif pages is not None and seen == generation - 1 == self.generation - 1:
            self._active[cpu] = generation
            if cpu.heard:
                cpu.probe.tlb_flush(cpu, len(pages), remote)
            cpu.tlb.invalidate(pages)
            return cost + len(pages) * cpu.tlb.invalidate_cost
        self._active[cpu] = self.generation
        if cpu.heard:
            cpu.probe.tlb_flush(cpu, 0, remote)
        cpu.tlb.flush()
        return cost + cpu.tlb.flush_cost
