"""A replica, and flat combining: one thread of a node appends what all of its threads want (replica.rs).

    thread     operation into own slot | try the combiner's lock: no | spin on own slot ........... | answer
    combiner   lock | look at all slots | writer: append the batch | writer: replay the log | answers, unlock

The combiner's replica has all that was in the log before its own batch when it gives the answers. A thread
whose operation came just after the look has to wait for the next combiner; from time to time it tries the
lock itself.

Source: vmware/node-replication, node-replication/src/nr/replica.rs at 29db21e, context.rs at 20f8a47.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from sim.designs.nros.mutex import Mutex
from sim.designs.nros.operations import Answer, LogOperation
from sim.designs.nros.runner import ThreadRunner
from sim.designs.nros.rwlock import ReplicaLock
from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.sync.spin import spin_on

if TYPE_CHECKING:
    from sim.designs.nros.kernel import NrosKernel
    from sim.designs.nros.log import Log
    from sim.designs.nros.runner import Runner
    from sim.designs.nros.vspace import VSpace
    from sim.mm import Present

COMBINE: Final = Activity("combine")
LOCK_COMBINER: Final = Activity("lock: combiner")
LOCK_REPLICA: Final = Activity("lock: replica")


class Slot:
    """Where the thread of *cpu* leaves an operation and finds the answer (struct Context).

    Its indices lie on lines of their own: *tail_line* says that there is an operation, *answered_line* that
    there is an answer.
    """

    __slots__ = (
        "activity",
        "answer",
        "answered_line",
        "cpu",
        "impatient",
        "operation",
        "operation_line",
        "since",
        "tail_line",
    )

    def __init__(self, kernel: NrosKernel, cpu: Cpu, home: int) -> None:
        line = kernel.machine.line
        self.activity = LOCK_COMBINER
        self.cpu = cpu
        self.operation: LogOperation | None = None
        self.answer: Answer | None = None
        self.operation_line = line(f"operation of {cpu}", home, owner=cpu.id, lines=2)
        self.tail_line = line(f"slot of {cpu}: tail", home, owner=cpu.id)
        self.answered_line = line(f"slot of {cpu}: answered", home, owner=cpu.id)
        self.since = 0
        self.impatient = False

    def describe_wait(self) -> str:
        return f"the answer to {self.operation}"

    def given(self) -> Answer | None:
        """The answer, if there is one by now."""
        return self.answer

    def waits(self) -> bool:
        """Whether its thread goes on looking."""
        return self.answer is None and not self.impatient

    def try_again(self) -> None:
        """It has waited for long enough to try the lock."""
        self.impatient = True
        self.cpu.poke(self)


class CombinerLock(Mutex):
    """Who has it is the combiner. Without it there is nothing to combine by."""

    __slots__ = ()

    removable: ClassVar[bool] = False


class Replica:
    """Replica *number* of a process, for the threads on *cpus*."""

    __slots__ = (
        "_kernel",
        "_log",
        "_waiting",
        "activity",
        "combiner",
        "lock",
        "ltail",
        "ltail_line",
        "number",
        "slots",
        "vspace",
    )

    def __init__(
        self, kernel: NrosKernel, log: Log, vspace: VSpace, number: int, cpus: Sequence[Cpu], home: int
    ) -> None:
        machine = kernel.machine
        self._kernel = kernel
        self._log = log
        self.vspace = vspace
        self.number = number
        self.activity = LOCK_REPLICA  # what its readers' waiting is charged to
        self.combiner = CombinerLock(machine.line(f"combiner of replica {number}", home), LOCK_COMBINER)
        self.lock = ReplicaLock(machine, f"replica {number}", home, cpus, kernel.cost.read_flag, LOCK_REPLICA)
        self.ltail = 0
        self.ltail_line = machine.line(f"log: ltail of replica {number}", home)
        self.slots = {cpu: Slot(kernel, cpu, home) for cpu in cpus}
        self._waiting: dict[Cpu, int] = {}

    def describe_wait(self) -> str:
        return f"replica {self.number} to advance"

    # -- changing -------------------------------------------------------------------------------------------

    def execute(self, cpu: Cpu, operation: LogOperation) -> Steps[Answer]:
        """Have *operation* done, on this replica at least (execute_mut)."""
        slot = self.slots[cpu]
        cpu.work(self._kernel.cost.enqueue, COMBINE)
        slot.answer, slot.since, slot.impatient = None, cpu.now, False
        yield from slot.operation_line.store(cpu, COMBINE)
        yield from slot.tail_line.store(cpu, COMBINE)
        slot.operation = operation
        runner = self._kernel.thread_runner(cpu)
        while (answer := slot.given()) is None:
            if (yield from self.combiner.try_acquire(cpu)):
                yield from self._combine(runner)
            if slot.given() is None:
                slot.impatient = False
                yield from spin_on(slot.answered_line, cpu, slot, slot.waits)
        yield from slot.operation_line.write(cpu, COMBINE)
        return answer

    def _combine(self, runner: ThreadRunner) -> Steps[None]:
        """One round, by who has the combiner's lock, which is free then."""
        batch = yield from self._collect(runner)
        asked = [each.operation for each in batch if each.operation is not None]
        if asked:
            yield from self.lock.write_lock(runner)
            yield from self._log.append(runner, self, asked)
            yield from self.lock.write_unlock(runner)
        yield from self.lock.write_lock(runner)
        answers = yield from self._log.replay(runner, self)
        yield from self.lock.write_unlock(runner)
        yield from self._deliver(runner.cpu, batch, answers)
        yield from self.combiner.release(runner.cpu)
        self._is_free(runner.cpu)

    def _collect(self, runner: ThreadRunner) -> Steps[list[Slot]]:
        """The slots with operations. A line that is still here says nothing new."""
        cpu, batch = runner.cpu, []
        cpu.work(len(self.slots) * self._kernel.cost.look_at_slot, COMBINE)
        for slot in self.slots.values():
            if slot.operation is None and slot.cpu is not cpu and slot.tail_line.held_by(cpu):
                continue
            yield from slot.tail_line.read(cpu, COMBINE)
            if slot.operation is not None:
                yield from slot.operation_line.read(cpu, COMBINE)
                batch.append(slot)
        return batch

    def _deliver(self, cpu: Cpu, batch: Sequence[Slot], answers: Sequence[Answer]) -> Steps[None]:
        """Each thread of *batch* finds its answer in its slot."""
        for slot, answer in zip(batch, answers, strict=True):
            yield from slot.operation_line.write(cpu, COMBINE)
            yield from slot.answered_line.write(cpu, COMBINE)
            slot.operation, slot.answer = None, answer
            if slot.cpu is not cpu:
                slot.cpu.poke(slot, cpu.pending)

    def _is_free(self, cpu: Cpu) -> None:
        """*cpu* combines no more. Readers look again. Threads whose operations came too late for it try the
        lock when they are due to."""
        self.has_replayed()
        retry, now = self._kernel.retry, cpu.engine._now
        for slot in self.slots.values():
            if slot.operation is not None:
                slot.cpu.engine.call_in(retry - (now - slot.since) % retry, slot.try_again)

    # -- replaying what others have appended ----------------------------------------------------------------

    def replay_for(self, runner: Runner) -> Steps[bool]:
        """Replay the log, on behalf of whoever should, if nobody is combining. Value: whether it was done."""
        if not (yield from runner.try_acquire(self.combiner)):
            return False
        yield from self.lock.write_lock(runner)
        yield from self._log.replay(runner, self)
        yield from self.lock.write_unlock(runner)
        yield from runner.release(self.combiner)
        self._is_free(runner.cpu)
        return True

    def catch_up(self, runner: Runner) -> Steps[None]:
        """Wait until all that has been completed anywhere is in this replica, or see to that (sync)."""
        log, looks = self._log, 0
        yield from runner.glance(log.ctail_line, LOCK_REPLICA)
        until = log.ctail
        yield from runner.glance(self.ltail_line, LOCK_REPLICA)
        while self.ltail < until:
            if not (yield from self.replay_for(runner)):
                yield from runner.look_again(self.ltail_line, LOCK_REPLICA, looks)
                looks += 1

    # -- reading --------------------------------------------------------------------------------------------

    def resolve(self, cpu: Cpu, page: int) -> Steps[Present | None]:
        """What the page table says of *page*, after all that was completed when the reader came (execute)."""
        runner = self._kernel.thread_runner(cpu)
        yield from self._wait_for_tail(cpu, runner)
        yield from self.lock.read_lock(cpu)
        found = yield from self.vspace.resolve(runner, page)
        yield from self.lock.read_unlock(cpu)
        return found

    def _wait_for_tail(self, cpu: Cpu, runner: ThreadRunner) -> Steps[None]:
        log = self._log
        yield from log.ctail_line.read(cpu, LOCK_REPLICA)
        until = log.ctail
        yield from self.ltail_line.read(cpu, LOCK_REPLICA)
        while self.ltail < until:
            if (yield from self.combiner.try_acquire(cpu)):
                yield from self._combine(runner)
            elif self.ltail < until:
                self._waiting[cpu] = until
                yield from spin_on(self.ltail_line, cpu, self, partial(self._is_behind, until))
                del self._waiting[cpu]

    def _is_behind(self, until: int) -> bool:
        """Whether a reader goes on looking: nobody else's business but the combiner's."""
        return self.ltail < until and self.combiner.holder is not None

    def has_replayed(self) -> None:
        """It may have come as far as its readers need."""
        for cpu in self._waiting:
            cpu.poke(self)
