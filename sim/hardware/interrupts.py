"""Inter-processor interrupts that call a function on other cpus, as in Linux kernel/smp.c (6.13).

The sender prepares a call descriptor for each target and links it into the target's queue. Only a queue that
was empty needs an interrupt; a target that has not come round to its queue yet takes all of it at once. How
many writes of the ICR the interrupts take is the affair of `sim.hardware.apic`; they are made with interrupts
off. The sender does its own part while the targets do theirs, then waits until every descriptor is released:

    sender   queue, queue |= ICR =|-- own part --|... waits ...| reads the acks
    target            deliver >|== enter and exit, queue, descriptors, call ==| ack |== call ==| ack
    target            deliver >...off...|== enter and exit, queue, descriptors, call ==| ack

Where a machine says so (`carry`), interrupts pass one after the other through what carries them.

A handler goes through all descriptors of its queue (llist_reverse_order), then runs one call after the other,
each at its own time, and acknowledges it at once. A cpu that has interrupts off or runs a handler takes the
next interrupt after that, with the whole queue. Entry and exit are one cost, paid before the first call. A
busy sibling makes it longer, as it does any kernel entry.

Three kinds of lines move, as real lines (kernel/smp.c, arch/x86/mm/tlb.c of 6.13.7):

    the queue's   RMW by each sender (llist_add), RMW by the target (llist_del_all)
    a descriptor  W by the sender, which takes it back from the target's last csd_unlock, and which the locked
                  llist_add waits for; W by the target (llist_reverse_order, csd_unlock), R by the sender
    what it is    W by the sender (flush_tlb_info), R by all targets of the call, which have it from each
    about         other where they are near

Only two cpus touch a descriptor, so its line never queues, and its transfers are priced by the distance of
the two (`tests/hardware/test_ipi.py` compares with accesses to real lines). The sender reads all acks one
after another; `ack_overlap` of it is over by the time that the last one comes. Left out: descriptors of two
senders for one target share a line (32 bytes each, if alloc_percpu lays them side by side). Tried as real
lines, that made storms of 25 cpus 7 % slower on skylake-56 and of 16 cpus 2 % on milan-72.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sim.engine import PARKED, Activity, Steps
from sim.engine.costs import at_clock
from sim.hardware.apic import Addressing
from sim.hardware.cpu import Cpu
from sim.hardware.fabric import Fabric
from sim.hardware.line_kinds import make_line

if TYPE_CHECKING:
    from sim.hardware.spec import MachineSpec

IPI_SEND: Final = Activity("ipi send")
IPI_WAIT: Final = Activity("ipi wait")

_AHEAD: Final = 4
"""Targets that a sender queues calls at in one go, at most. With a whole cluster of 26 too many calls found a
queue that was not empty: 2.4 interrupts a flush instead of 3.5 (skylake-104, 52 threads of tlb_flush3)."""

Call = Callable[[Cpu], int]
"""What a target does for one queued call; returns its cost in ps."""


class Round:
    """One call on many cpus: how many have not acknowledged yet, and who waits for them."""

    __slots__ = ("call", "finished_at", "left", "sender", "targets", "waiting")

    def __init__(self, sender: Cpu, call: Call, targets: list[Cpu]) -> None:
        self.sender = sender
        self.call = call
        self.targets = targets
        self.left = len(targets)
        self.finished_at = 0
        self.waiting = False

    def describe_wait(self) -> str:
        return f"{self.left} cpus to acknowledge an interrupt"

    def acknowledge(self, end: int) -> None:
        """A target is done at time *end*."""
        self.left -= 1
        self.finished_at = max(self.finished_at, end)
        if not self.left and self.waiting:
            self.sender.wake(self.finished_at - self.sender.engine._now)


class InterruptController:
    """Sends calls and runs them at the targets."""

    __slots__ = (
        "_ack_share",
        "_addressing",
        "_at_work",
        "_carried_at",
        "_carry",
        "_deliver",
        "_fabric",
        "_handler",
        "_icr",
        "_icr_target",
        "_info_lines",
        "_queue_lines",
        "_queues",
        "_send",
        "cpus",
    )

    def __init__(self, fabric: Fabric, spec: MachineSpec, cpus: list[Cpu]) -> None:
        costs = at_clock(spec.interrupts, spec.clock)
        self._fabric = fabric
        self._send = costs.send
        self._icr = costs.icr_write
        self._icr_target = costs.icr_target
        self._deliver = (costs.deliver_same_socket, costs.deliver_cross_socket)
        self._carry = costs.carry
        self._carried_at = 0  # until then the interrupts that were sent occupy what carries them
        self._handler = costs.handler
        self._ack_share = 1.0 - costs.ack_overlap
        self._addressing = Addressing(spec, cpus)
        self.cpus = cpus
        self._queues: list[deque[Round]] = [deque() for _ in cpus]
        # Cpus that have calls left in their handler: has another interrupt come meanwhile?
        self._at_work: dict[int, bool] = {}
        self._info_lines = [
            make_line(fabric, f"what {cpu} calls about", cpu.socket, owner=cpu.id) for cpu in cpus
        ]
        self._queue_lines = [
            make_line(fabric, f"call queue of {cpu}", cpu.socket, owner=cpu.id) for cpu in cpus
        ]

    def start(
        self,
        sender: Cpu,
        targets: Iterable[Cpu],
        call: Call,
        *,
        shorthand: bool = False,
        code: int = 0,
    ) -> Steps[Round]:
        """Queue *call* on every target and raise the interrupts. Returns the `Round` to finish.

        With *shorthand* one write interrupts everybody, if everybody is to be interrupted. *code* is what the
        sender executes for each target (ps).
        """
        chosen = list(targets)
        round_ = Round(sender, call, chosen)
        if sender.heard:
            sender.probe.ipi_call(round_)
        self.prepare(sender)
        if chosen:
            info = self._info_lines[sender.id]
            cost = self._fabric.hit if info.exclusive_to(sender) else info._take(sender.id)
            sender.stall(cost, IPI_SEND)
        to_interrupt: list[Cpu] = []
        cluster, ahead = -1, 0
        for target in chosen:
            ahead += 1
            if target.cluster != cluster or ahead == _AHEAD:
                cluster, ahead = target.cluster, 0
                if sender.pending:
                    yield sender.take_pending()
            # Its descriptor, which the target has written last (csd_unlock), comes back to be written: the
            # locked llist_add on the target's queue waits for that store. The queue's line comes from whoever
            # touched it last, and after whoever asks the same target at the moment. The sender's time runs
            # ahead by a few targets at most: whether a queue is empty depends on when it gets to it.
            sender.work(code, IPI_SEND)
            sender.stall(self._fabric.between(sender.id, target.id), IPI_SEND)
            sender.stall(self._queue_lines[target.id].take_between(sender, sender.now), IPI_SEND)
            queue = self._queues[target.id]
            if not queue:
                to_interrupt.append(target)
            queue.append(round_)
        if sender.pending:
            yield sender.take_pending()
        if to_interrupt:
            sender.disable_interrupts()
            for members in self._addressing.writes(to_interrupt, shorthand=shorthand):
                sender.work(self._icr, IPI_SEND)
                if sender.heard:
                    sender.probe.ipi_send(sender, members)
                self._deliver_to(sender, members, self._arrive)
            yield sender.take_pending()
            sender.enable_interrupts()
        return round_

    def finish(self, round_: Round) -> Steps[None]:
        """Wait until all targets have acknowledged, then read their descriptors."""
        yield from self.await_acks(round_)
        sender = round_.sender
        self.read_acks(sender, round_.targets)
        if sender.heard:
            sender.probe.ipi_over(sender, round_)

    # -- parts that other kernels' calls have too -----------------------------------------------------------

    def prepare(self, sender: Cpu) -> None:
        """What *sender* executes once before it asks the first cpu."""
        sender.work(self._send, IPI_SEND)

    def interrupt(self, sender: Cpu, target: Cpu, arrive: Callable[[Sequence[Cpu]], None]) -> None:
        """One write of the ICR for *target*; *arrive* is called with it when the interrupt is there."""
        self.multicast(sender, [target], arrive)

    def multicast(self, sender: Cpu, members: Sequence[Cpu], arrive: Callable[[Sequence[Cpu]], None]) -> None:
        """The same for all *members* of a cluster."""
        sender.work(self._icr, IPI_SEND)
        if sender.heard:
            sender.probe.ipi_send(sender, members)
        self._deliver_to(sender, members, arrive)

    def read_acks(self, sender: Cpu, targets: Iterable[Cpu]) -> None:
        """*sender* reads what *targets* have written, one after another; a part of it is over when the last
        one has."""
        between = self._fabric.between
        acks = sum(between(sender.id, target.id) for target in targets)
        sender.stall(round(acks * self._ack_share), IPI_WAIT)

    def entry(self, cpu: Cpu) -> int:
        """What the way into a handler on *cpu*, and out of it, takes."""
        return cpu.work_time(self._handler)

    def await_acks(self, round_: Round) -> Steps[None]:
        """Wait until all targets have acknowledged."""
        sender = round_.sender
        if sender.pending:
            yield sender.take_pending()
        engine = sender.engine
        if round_.left or round_.finished_at > engine._now:
            since = sender.begin_wait(round_)
            round_.waiting = True
            if not round_.left:
                sender.wake(round_.finished_at - engine._now)
            yield PARKED
            sender.end_wait(since, IPI_WAIT)

    def _deliver_to(
        self, sender: Cpu, members: Sequence[Cpu], arrive: Callable[[Sequence[Cpu]], None]
    ) -> None:
        """The interrupts of one write: together, or one after another where each costs the sender time or
        occupies what carries them."""
        call_in = self._fabric.engine.call_in
        if self._icr_target or self._carry:
            for target in members:
                sender.stall(self._icr_target, IPI_SEND)
                delay = self._wait_for_carrier(sender) + self._deliver[target.socket != sender.socket]
                call_in(sender.pending + delay, partial(arrive, [target]))
            return
        for elsewhere, delay in enumerate(self._deliver):
            there = [target for target in members if (target.socket != sender.socket) == elsewhere]
            if there:
                call_in(sender.pending + delay, partial(arrive, there))

    def _wait_for_carrier(self, sender: Cpu) -> int:
        """How long one interrupt, sent now, waits for those that others and *sender* have sent before."""
        waits = max(0, self._carried_at - sender.now)
        self._carried_at = sender.now + waits + self._carry
        return waits

    def _arrive(self, members: Sequence[Cpu]) -> None:
        """The interrupt is there. A cpu in a handler takes it, and what is queued by then, when that ends."""
        engine = self._fabric.engine
        for cpu in members:
            if cpu.heard:
                cpu.probe.ipi_arrive(cpu)
            if cpu.id in self._at_work:
                self._at_work[cpu.id] = True
            elif cpu.irq_until > engine._now:
                engine.call_in(cpu.irq_until - engine._now, partial(self._arrive, [cpu]))
            else:
                cpu.interrupt(self._run_queue)

    def _run_queue(self, cpu: Cpu) -> tuple[int, Callable[[int], None]]:
        """The handler up to the end of its first call: enter, take the whole queue. The rest follows."""
        rounds, self._queues[cpu.id] = self._queues[cpu.id], deque()
        if cpu.heard:
            cpu.probe.ipi_handle(cpu, rounds)
        length = self.entry(cpu)
        length += self._queue_lines[cpu.id].take_between(cpu, cpu.engine._now)
        # llist_reverse_order goes through all descriptors before the first call, from each to the next.
        length += sum(self._fabric.between(cpu.id, round_.sender.id) for round_ in rounds)
        return length + self._run(cpu, rounds[0]), partial(self._ran, cpu, rounds)

    def _run(self, cpu: Cpu, round_: Round) -> int:
        """One call: what it is about, the function. Value: what that takes."""
        return self._info_lines[round_.sender.id].read_in_handler(cpu) + round_.call(cpu)

    def _ran(self, cpu: Cpu, rounds: deque[Round], end: int) -> None:
        """The first of *rounds* is over at *end*: its sender may go on (csd_unlock), the next one begins."""
        round_ = rounds.popleft()
        if cpu.heard:
            cpu.probe.ipi_ack(cpu, round_, end)
        round_.acknowledge(end)
        engine = self._fabric.engine
        if rounds:
            self._at_work.setdefault(cpu.id, False)
            engine.call_in(end - engine._now, partial(self._go_on, cpu, rounds))
        elif self._at_work.pop(cpu.id, False):
            engine.call_in(end - engine._now, partial(self._arrive, [cpu]))

    def _go_on(self, cpu: Cpu, rounds: deque[Round]) -> None:
        """The next call of the handler."""
        self._ran(cpu, rounds, cpu.prolong_interrupt(self._run(cpu, rounds[0])))
