"""Calls of a function on other cpus: what shootdowns need of it, and sv6's way beside Linux's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol

from sim.engine import Steps
from sim.hardware import IPI_SEND, IPI_WAIT, CacheLine, Call, Cpu, Machine, Round
from sim.sync import TasLock

_POINTERS_A_LINE: Final = 8
"""`next` pointers of a call that share a line: the first line has the vtable's pointer for one of them."""
_LINES_OF_A_CALL: Final = 3
"""What a call is about besides its first line: the reference to the lambda, behind the padding of the object;
the lambda, in the frame of perform(); the shootdown with the range, in that of the operation."""


class Calls(Protocol):
    """How a kernel has functions run on other cpus."""

    def start(
        self, sender: Cpu, targets: Iterable[Cpu], call: Call, *, shorthand: bool = False, code: int = 0
    ) -> Steps[Round]:
        """Queue *call* on every target and raise the interrupts. *code* is what the sender executes for each
        target (ps)."""

    def finish(self, round_: Round) -> Steps[None]:
        """Wait until all targets have done it."""


def _store_all(cpu: Cpu, lines: Sequence[CacheLine]) -> Steps[None]:
    """Stores in a row: the core asks for all of their lines at once, and the first is what it waits for."""
    together = False
    for line in lines:
        if line.exclusive_to(cpu):
            yield from line.store(cpu, IPI_SEND)
        elif not (together and line.came_along(cpu, IPI_SEND, write=True)):
            yield from line.store(cpu, IPI_SEND)
            together = True


class _Queue:
    """The calls of one cpu (struct ipi_queue, 32 bytes on a line of their own)."""

    __slots__ = ("active", "calls", "line", "lock")

    def __init__(self, line: CacheLine) -> None:
        self.line = line
        self.lock = TasLock(line, IPI_SEND)
        self.calls: list[Round] = []
        self.active = False


class LockedCalls:
    """sv6's calls (kernel/ipi.cc and include/ipi.hh of 2013-03-01, commit c88e0de): a list a cpu under a
    test-and-set lock, a link of the list in each call, and one word that all targets of a call count down.

        sender   for each target: interrupts off, xchg the lock | next[cpu] = 0 | the call before it: next |
                 tail, unlock, interrupts on | ICR, if the list was empty and no handler was at it
                 ... reads the word that is counted down until it is 0
        target   until the list is empty: xchg the lock, take the list, unlock;
                 for each call: vtable, lambda, shootdown | invlpg | next | count down

    Each call is about four lines that its sender has just written and that one target after the other reads,
    each of which says where the next is. The lock, the list's ends and whether a handler is at work are one
    line, so that a holder keeps it unless it has to wait for the call before its own, whose line the sender
    of that one has; then whoever tries the lock takes it away. A handler holds the lock for a few cycles, in
    which nobody gets the line. It looks for new calls until there are none, so a cpu is interrupted again
    only if its list was empty meanwhile. Its accesses cannot wait in the queue of a line: they wait for the
    access under way and go before those who queue, but after a failed exchange it is one of them.
    """

    __slots__ = ("_about", "_answer", "_at_work", "_counters", "_links", "_machine", "_queues")

    def __init__(self, machine: Machine, *, answer: int = 0) -> None:
        self._machine = machine
        self._answer = answer
        self._at_work: set[Cpu] = set()
        self._queues = [_Queue(self._line("call queue", cpu)) for cpu in machine.cpus]
        self._counters = [self._line("countdown", cpu) for cpu in machine.cpus]
        self._about = [
            [self._line(f"what is called {n}", cpu) for n in range(_LINES_OF_A_CALL)] for cpu in machine.cpus
        ]
        links = -(-(len(machine.cpus) + 1) // _POINTERS_A_LINE)
        self._links = [
            [self._line(f"links of the call {n}", cpu) for n in range(links)] for cpu in machine.cpus
        ]

    def _line(self, name: str, cpu: Cpu) -> CacheLine:
        return self._machine.line(f"{name} of {cpu}", cpu.socket, owner=cpu.id)

    def _link(self, sender: Cpu, target: Cpu) -> CacheLine:
        """The line with `next[target]` of the call of *sender*."""
        return self._links[sender.id][(target.id + 1) // _POINTERS_A_LINE]

    def start(
        self, sender: Cpu, targets: Iterable[Cpu], call: Call, *, shorthand: bool = False, code: int = 0
    ) -> Steps[Round]:
        chosen = sorted(targets, key=lambda target: target.id)
        round_ = Round(sender, call, chosen)
        sender.probe.ipi_call(round_)
        interrupts = self._machine.interrupts
        interrupts.prepare(sender)
        if chosen:
            yield from _store_all(
                sender, [self._links[sender.id][0], self._counters[sender.id], *self._about[sender.id]]
            )
        for target in chosen:
            queue = self._queues[target.id]
            while sender in self._at_work:  # the end of a piece of its handler is not the end of the handler
                sender.stall(1, IPI_SEND)
                yield sender.take_pending()
            sender.disable_interrupts()
            yield from queue.lock.acquire(sender)
            sender.work(code, IPI_SEND)
            links = [self._link(sender, target)]
            if queue.calls:
                links.append(self._link(queue.calls[-1].sender, target))
            yield from _store_all(sender, links)
            needs_interrupt = not (queue.calls or queue.active)
            queue.calls.append(round_)
            yield from queue.lock.release(sender)
            sender.enable_interrupts()
            if needs_interrupt:
                if sender.pending:
                    yield sender.take_pending()
                interrupts.interrupt(sender, target, self._arrive)
        return round_

    def finish(self, round_: Round) -> Steps[None]:
        sender = round_.sender
        yield from self._machine.interrupts.await_acks(round_)
        yield from self._counters[sender.id].read(sender, IPI_WAIT)
        sender.probe.ipi_over(sender, round_)

    # -- at the target --------------------------------------------------------------------------------------

    def _arrive(self, members: Sequence[Cpu]) -> None:
        """The interrupt is there. A cpu in a handler takes it when that ends."""
        engine = self._machine.engine
        for cpu in members:
            cpu.probe.ipi_arrive(cpu)
            if cpu.irq_until > engine._now:
                engine.call_in(cpu.irq_until - engine._now, partial(self._arrive, [cpu]))
            else:
                cpu.interrupt(self._enter)

    def _enter(self, cpu: Cpu) -> tuple[int, partial[None]]:
        """The way into the handler, and out of it; the rest follows piece by piece."""
        self._at_work.add(cpu)
        return self._machine.interrupts.entry(cpu), partial(self._entered, cpu)

    def _entered(self, cpu: Cpu, end: int) -> None:
        self._go_on_at(end, cpu, self._handle(cpu))

    def _go_on_at(self, end: int, cpu: Cpu, pieces: Iterator[int]) -> None:
        engine = self._machine.engine
        engine.call_in(end - engine._now, partial(self._go_on, cpu, pieces))

    def _go_on(self, cpu: Cpu, pieces: Iterator[int]) -> None:
        """The next piece of the handler, if there is one."""
        length = next(pieces, None)
        if length is None:
            self._at_work.remove(cpu)
        else:
            self._go_on_at(cpu.prolong_interrupt(length), cpu, pieces)

    def _handle(self, cpu: Cpu) -> Iterator[int]:
        """on_ipicall: yields how long each piece takes (ps)."""
        queue, engine = self._queues[cpu.id], self._machine.engine
        while True:
            length = queue.line.take_between(cpu, engine._now)
            while queue.lock.holder is not None:
                yield length
                had_it = cpu.id
                while not queue.line.turn_of_handler(had_it):
                    had_it = queue.line.owner
                    yield self._machine.fabric.rmw
                length = queue.line.take_between(cpu, engine._now)
            calls, queue.calls = queue.calls, []
            queue.active = bool(calls)
            yield length
            if not calls:
                return
            cpu.probe.ipi_handle(cpu, calls)
            for round_ in calls:
                sender = round_.sender
                yield self._links[sender.id][0].read_in_handler(cpu)
                for line in self._about[sender.id]:
                    yield line.read_in_handler(cpu)
                yield cpu.work_time(self._answer) + round_.call(cpu)
                yield self._link(sender, cpu).read_in_handler(cpu)
                yield self._count_down(cpu, round_)
                cpu.probe.ipi_ack(cpu, round_, engine._now)
                round_.acknowledge(engine._now)

    def _count_down(self, cpu: Cpu, round_: Round) -> int:
        """`waiting.fetch_sub`; a sender that polls the word has a copy again before the next target does."""
        line, now = self._counters[round_.sender.id], self._machine.engine._now
        cost = line.take_between(cpu, now)
        if round_.waiting and round_.left > 1:
            line.fetch_back(round_.sender)
        return cost
