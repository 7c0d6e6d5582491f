"""Shootdowns: work for other cores, by a queue each and one interrupt a cluster (arch/x86_64/tlb.rs).

    sender   for each core of the process: memory for what it is told, into its queue | one ICR write for
             each cluster of 16 | own TLB | until all have acknowledged: serve own queue, look who is missing
    target   enter | take one out of the queue | acknowledge | advance the replica | invalidate | the next one

A target acknowledges first: it does not go back to user mode before it is done. So when the sender goes on,
others may still have translations of what is gone, and their replicas entries, but no user code runs there
that could use them. A frame that is gone stays where it is until the last of them is done.

The kernel runs with interrupts off: a core in a system call answers at its end, or while it waits itself.

Three things are mended of 38557a6. There a handler takes one item out, however many there are when interrupts
have merged; here it goes on until there are none. There it does not advance its replica, and the entries of
other nodes live on until somebody does. And there nothing that map gave is ever free again; here a frame goes
back to the core that unmapped it.

Source: vmware-labs/node-replicated-kernel at 38557a6, kernel/src/arch/x86_64/tlb.rs, irq.rs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from sim.designs.nros.runner import HandlerRunner
from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import IPI_SEND, IPI_WAIT, TLB_FLUSH, Cpu, Round
from sim.mm import Reference

if TYPE_CHECKING:
    from sim.designs.nros.btree import Mapping
    from sim.designs.nros.kernel import NrosKernel
    from sim.designs.nros.process import NrosProcess
    from sim.designs.nros.runner import Runner
    from sim.hardware import CacheLine

_AHEAD: Final = 4
"""Targets whose queues a sender fills in one go, at most."""


class Shot(Round):
    """One shootdown: *mapping*, which begins at *page* in *space*, is not any more, or not as it was.

    *undone* targets have not invalidated it, and *between* of them have acknowledged all the same. If it is
    *gone* its frame is free when they have.
    """

    __slots__ = ("between", "gone", "mapping", "page", "space", "undone")

    def __init__(
        self, sender: Cpu, targets: list[Cpu], space: NrosProcess, page: int, mapping: Mapping
    ) -> None:
        super().__init__(sender, _called, targets)
        self.space = space
        self.page = page
        self.mapping = mapping
        self.undone = len(targets)
        self.between = 0
        self.gone = False


class _Queue:
    """The work of one core (crossbeam's ArrayQueue): both ends on lines of their own, and the slots."""

    __slots__ = ("head", "items", "slots", "tail")

    def __init__(self, kernel: NrosKernel, cpu: Cpu) -> None:
        line = kernel.machine.line
        self.items: deque[Shot] = deque()
        self.tail: CacheLine = line(f"work of {cpu}: tail", cpu.socket, owner=cpu.id)
        self.head: CacheLine = line(f"work of {cpu}: head", cpu.socket, owner=cpu.id)
        self.slots: CacheLine = line(f"work of {cpu}: slots", cpu.socket, owner=cpu.id)


def _called(cpu: Cpu) -> int:
    """A target does what the shot says, not what its round calls."""
    raise NotImplementedError


class Shootdowns:
    """The machine's queues of work, and who is at them."""

    __slots__ = ("_at_work", "_kernel", "_machine", "_open", "_queues", "_raised")

    def __init__(self, kernel: NrosKernel) -> None:
        self._kernel = kernel
        self._machine = kernel.machine
        self._queues = [_Queue(kernel, cpu) for cpu in kernel.machine.cpus]
        self._at_work: set[Cpu] = set()
        self._raised: set[Cpu] = set()
        """Cpus whose interrupt has arrived and is held back."""
        self._open: dict[Shot, None] = {}
        """What some target has not done yet."""

    # -- at the sender --------------------------------------------------------------------------------------

    def perform(
        self, runner: Runner, space: NrosProcess, page: int, mapping: Mapping, *, gone: bool
    ) -> Steps[None]:
        """Nobody has *mapping* any more, or nobody who goes on before he has let go of it; then its frame is
        free if it is *gone*."""
        kernel, sender = self._kernel, runner.cpu
        targets = [cpu for cpu in space.active if cpu is not sender]
        sender.work(kernel.cost.shootdown, IPI_SEND)
        shot = Shot(sender, targets, space, page, mapping)
        sender.probe.flush(sender, mapping.pages)
        if targets:
            self._open[shot] = None
            sender.probe.ipi_call(shot)
            yield from self._tell(sender, shot)
        sender.stall(self._invalidation(sender, mapping), TLB_FLUSH)
        yield from runner.settle()
        self._invalidate(sender, shot, remote=False)
        if targets:
            yield from self._await(runner, shot)
        shot.gone = gone
        if gone and not shot.undone:
            yield from kernel.caches.put(runner, mapping.frame, mapping.order)

    def _tell(self, sender: Cpu, shot: Shot) -> Steps[None]:
        cost, fabric = self._kernel.cost, self._machine.fabric
        spec = self._kernel.spec.shootdown
        clusters: dict[int, list[Cpu]] = {}
        topology = self._machine.spec.topology
        for number, target in enumerate(shot.targets):
            if number % _AHEAD == 0 and sender.pending:
                yield sender.take_pending()
            sender.work(cost.item + cost.target, IPI_SEND)
            # The memory of the item was last the target's, or another's near it; so were the queue's ends.
            sender.stall(fabric.between(sender.id, target.id), IPI_SEND)
            queue = self._queues[target.id]
            sender.stall(queue.tail.take_between(sender, sender.now), IPI_SEND)
            sender.stall(queue.slots.take_between(sender, sender.now), IPI_SEND)
            queue.items.append(shot)
            clusters.setdefault(topology.apic_id(target.number) // spec.cluster, []).append(target)
            if (thread := target.thread) is not None and isinstance(thread.waiting_for, Shot):
                target.poke(thread.waiting_for, sender.pending)  # it serves its queue while it waits
        if sender.pending:
            yield sender.take_pending()
        for members in clusters.values():
            self._machine.interrupts.multicast(sender, members, self._arrive)
        if sender.pending:
            yield sender.take_pending()

    def _await(self, runner: Runner, shot: Shot) -> Steps[None]:
        """Until all of *shot* have acknowledged; what others want of this core is done meanwhile."""
        sender = runner.cpu
        while shot.left:
            yield from self._serve(runner)
            yield from runner.settle()
            if shot.left and not self._queues[sender.id].items:
                yield from sender.park(shot, IPI_WAIT)
        self._machine.interrupts.read_acks(sender, shot.targets)
        sender.probe.ipi_over(sender, shot)

    # -- at the target --------------------------------------------------------------------------------------

    def _arrive(self, members: Sequence[Cpu]) -> None:
        """The interrupt is there. One that has arrived before, and is held back, stands for it as well."""
        engine = self._machine.engine
        for cpu in members:
            cpu.probe.ipi_arrive(cpu)
            if cpu in self._at_work or cpu in self._raised:
                continue
            if cpu.irq_until > engine._now:
                engine.call_in(cpu.irq_until - engine._now, partial(self._arrive, [cpu]))
                continue
            self._raised.add(cpu)
            cpu.interrupt(self._enter)

    def _enter(self, cpu: Cpu) -> tuple[int, partial[None]]:
        """The way into the handler, and out of it; the rest follows piece by piece."""
        self._raised.discard(cpu)
        self._at_work.add(cpu)
        handler = HandlerRunner(cpu, self._kernel.cost.poll)
        pieces = self._handle(handler)
        return self._machine.interrupts.entry(cpu), partial(self._entered, cpu, handler, pieces)

    def _entered(self, cpu: Cpu, handler: HandlerRunner, pieces: Steps[None], end: int) -> None:
        """A piece ends at *end*. The next one begins just before, so that the thread cannot come between.

        A handler that looks again and again depends on a thread, and keeps no run going by itself.
        """
        engine = self._machine.engine
        call = engine.call_in_background if handler.looks else engine.call_in
        call(max(0, end - 1 - engine._now), partial(self._go_on, cpu, handler, pieces))

    def _go_on(self, cpu: Cpu, handler: HandlerRunner, pieces: Steps[None]) -> None:
        """The next piece of the handler, if there is one."""
        length = next(pieces, None)
        if length is None:
            self._at_work.remove(cpu)
        else:
            assert isinstance(length, int)
            self._entered(cpu, handler, pieces, cpu.prolong_interrupt(length))

    def _handle(self, runner: HandlerRunner) -> Steps[None]:
        yield from self._serve(runner)
        yield from runner.settle()
        while self._queues[runner.cpu.id].items:  # they came while it looked for the last time
            yield from self._serve(runner)
            yield from runner.settle()

    def _serve(self, runner: Runner) -> Steps[None]:
        """dequeue, until there is nothing."""
        cpu = runner.cpu
        queue = self._queues[cpu.id]
        while True:
            yield from runner.glance(queue.tail, IPI_WAIT)
            if not queue.items:
                return
            shot = queue.items.popleft()
            yield from runner.glance(queue.slots, IPI_WAIT)
            runner.work(queue.head.fabric.rmw, IPI_WAIT)
            if cpu.heard:
                cpu.probe.ipi_handle(cpu, [shot])
            yield from self._process(runner, shot)

    def _process(self, runner: Runner, shot: Shot) -> Steps[None]:
        cpu, first = runner.cpu, self._kernel.spec.shootdown.acknowledge == "first"
        runner.work(self._machine.fabric.between(cpu.id, shot.sender.id), TLB_FLUSH)
        if first:
            yield from self._acknowledge(runner, shot)
            shot.between += 1
        yield from shot.space.replica_of(cpu).catch_up(runner)
        runner.work(self._invalidation(cpu, shot.mapping), TLB_FLUSH)
        yield from runner.settle()
        self._invalidate(cpu, shot, remote=True)
        if first:
            shot.between -= 1
        else:
            yield from self._acknowledge(runner, shot)
        self._is_done(shot)

    def _acknowledge(self, runner: Runner, shot: Shot) -> Steps[None]:
        """A store to the item, of which the sender has a copy. It goes on when the last one is there."""
        cpu, sender = runner.cpu, shot.sender
        runner.work(self._machine.fabric.between(cpu.id, sender.id), TLB_FLUSH)
        yield from runner.settle()
        now = self._machine.engine._now
        if cpu.heard:
            cpu.probe.ipi_ack(cpu, shot, now)
        shot.acknowledge(now)
        if not shot.left:
            sender.poke(shot)

    def _is_done(self, shot: Shot) -> None:
        """One target less has anything to do about *shot*."""
        shot.undone -= 1
        if not shot.undone:
            del self._open[shot]
            if shot.gone:
                self._kernel.caches.give_back(shot.sender, shot.mapping.frame, shot.mapping.order)

    def _invalidation(self, cpu: Cpu, mapping: Mapping) -> int:
        """What it takes to invalidate *mapping* (ps): page by page up to a limit, or all."""
        if mapping.pages > self._kernel.spec.shootdown.whole_above:
            return int(cpu.tlb.flush_cost)
        return int(mapping.pages * cpu.tlb.invalidate_cost)

    def _invalidate(self, cpu: Cpu, shot: Shot, *, remote: bool) -> None:
        """*cpu* has no translation of it any more."""
        if cpu not in shot.space.active:
            return
        pages = shot.mapping.pages
        whole = pages > self._kernel.spec.shootdown.whole_above
        if cpu.heard:
            cpu.probe.tlb_flush(cpu, 0 if whole else pages, remote)
        if whole:
            cpu.tlb.flush()
        else:
            cpu.tlb.invalidate(range(shot.page, shot.page + pages))

    def let_finish(self, cpu: Cpu) -> Steps[None]:
        """The thread of *cpu* is about to go on: between two pieces of a handler it cannot."""
        while cpu in self._at_work:
            cpu.stall(1, TLB_FLUSH)
            yield cpu.take_pending()

    def await_handlers(self, cpu: Cpu) -> Steps[None]:
        """The thread of *cpu* ends, and does not leave a handler alone that it may have kept waiting."""
        while self._at_work:
            cpu.stall(self._kernel.cost.poll, TLB_FLUSH)
            yield cpu.take_pending()

    # -- what is asked of them ------------------------------------------------------------------------------

    def may_be_stale(self, space: NrosProcess, page: int, frame: int) -> bool:
        """Whether a target that is not back in user mode may have *page* as *frame*."""
        for shot in self._open:
            if shot.space is space and shot.between:
                at = page - shot.page
                if 0 <= at < shot.mapping.pages and frame == shot.mapping.frame + at:
                    return True
        return False

    def deferred(self, space: NrosProcess) -> Iterator[Reference]:
        """Frames that are free as soon as the last target is done."""
        for shot in self._open:
            if shot.space is space and shot.gone:
                yield Reference(shot.mapping.frame, "a shootdown of page", shot.page)

    def refuse(self, cpu: Cpu) -> None:
        """Raises `ModelError` for a core that a shootdown could not name."""
        most, apic = self._kernel.spec.shootdown.cores, self._machine.spec.topology.apic_id(cpu.number)
        if apic >= most:
            raise ModelError(
                f"{self._kernel.spec.name} cannot run on {cpu}: its shootdowns know cores with APIC ids "
                f"below {most} (shootdown.cores), and it has {apic}"
            )
