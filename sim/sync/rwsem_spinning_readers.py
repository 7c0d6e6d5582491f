"""The semaphore of 5.3 to 5.10, whose readers spin for it as writers do (kernel/locking/rwsem.c).

    reader   count += 1: free? | no: may I spin? | count -= 1 | OSQ | as its head: watch a writer, count += 1
                                                 | no: wait_lock, queue, count -= 1, sleep

A spinning reader gets in as soon as no writer holds the lock, before those who sleep, and then lets the
sleeping readers in too. What ends that is a second flag in the owner word, by which readers may not spin:

    a writer loses its patience with readers    both flags are set; the last reader clears the writers' only
    it gets the lock after it has slept         the readers' flag is set for as long as it holds the lock
    a reader that has seen the flag sleeps      and sets it again when it is given the lock
    a writer gets the lock otherwise            both are cleared

A reader that has stopped spinning, and finds that readers have come in since it began, joins them
(rwsem_reader_phase_trylock).

A reader that does not spin gets the lock from its waker, or if it finds the sleep queue empty. That readers
take it from sleeping writers came when their spinning was taken out, in 5.11.

Source: the file between 5.8 and 5.10, read; that it is so from 5.3 on is recalled.
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Task
from sim.sync.lock import takes
from sim.sync.nodes import QueueNodes
from sim.sync.rwsem import RwSem, RwSemWaiter
from sim.sync.rwsem_spec import RwSemTuning
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Waiter


class SpinningReadersRwSem(RwSem):
    """`RwSem` with readers in its OSQ.

    *_reader* is the reader whose name the owner word has, until a writer's replaces it. *_readers_sleep* is
    the flag beside it by which readers may not spin, *_flagged* the sleepers that have seen it.
    """

    __slots__ = ("_flagged", "_reader", "_readers_sleep")

    def __init__(
        self,
        name: str,
        count: CacheLine,
        owner_line: CacheLine,
        nodes: QueueNodes,
        scheduler: Scheduler,
        activity: Activity,
        tuning: RwSemTuning,
    ) -> None:
        super().__init__(name, count, owner_line, nodes, scheduler, activity, tuning)
        self._reader: Task | None = None
        self._readers_sleep = False
        self._flagged: set[Waiter] = set()

    # -- readers --------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        """`down_read`."""
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self.count.write(cpu, self.activity)  # atomic add of a reader
        if not (self.writer or self._waiters or self._handoff):
            self.readers += 1
            yield from self._set_reader(cpu)
            return
        yield from self.owner_line.read(cpu, self.activity)
        seen, flagged = self._reader, self._readers_sleep
        spins = self._reader_may_spin(cpu)
        if spins:
            yield from self.count.write(cpu, self.activity)  # take the reader back
            taken = yield from self._spin_for_read(cpu, seen)
            if taken:
                return
        yield from self._sleep_for_read(cpu, counted=not spins, flagged=flagged)

    def _read_trylock(self, cpu: Cpu) -> Steps[bool]:
        """`down_read_trylock`."""
        taken = yield from super()._read_trylock(cpu)
        if taken:
            self._reader = cpu.current
        return taken

    def _reader_may_spin(self, cpu: Cpu) -> bool:
        """rwsem_can_spin_on_owner of a reader."""
        if self._readers_sleep or self._scheduler.need_resched(cpu):
            return False
        return self.writer is None or self.writer.on_cpu

    def _spin_for_read(self, cpu: Cpu, seen: Task | None) -> Steps[bool]:
        """rwsem_optimistic_spin of a reader, which found the name of *seen*. Value: whether it is inside."""
        taken = yield from self._osq.lock(cpu)
        if taken:
            taken = yield from self._read_as_head(cpu)
            yield from self._osq.unlock(cpu)
        if taken:
            yield from self.count.read(cpu, self.activity)
            if self._waiters:
                yield from self._wake_readers(cpu)
            return True
        yield from self.owner_line.read(cpu, self.activity)  # rwsem_reader_phase_trylock
        if self._reader is None or self._reader is seen:
            return False
        return (yield from self._try_read(cpu))

    def _read_as_head(self, cpu: Cpu) -> Steps[bool]:
        while True:
            yield from self.owner_line.read(cpu, self.activity)
            if cpu.pending:
                yield cpu.take_pending()
            owner = self.writer
            if self._readers_sleep:
                return False
            if owner is None:
                taken = yield from self._try_read(cpu)
                if taken:
                    return True
                if self._scheduler.need_resched(cpu):
                    return False
                if self.writer is None and self._handoff:
                    yield from self._watch(cpu)
            elif not owner.on_cpu or self._scheduler.need_resched(cpu):
                return False
            else:
                yield from self._watch(cpu, owner)

    def _is_claimed(self) -> bool:
        return self.writer is not None or self._handoff

    def _try_read(self, cpu: Cpu) -> Steps[bool]:
        """rwsem_try_read_lock_unqueued: others may wait, but nobody may have claimed the lock."""
        yield from self.count.read(cpu, self.activity)
        if self._is_claimed():
            return False
        yield from self.count.write(cpu, self.activity)
        if self._is_claimed():
            yield from self.count.write(cpu, self.activity)  # back out
            return False
        self.readers += 1
        yield from self._set_reader(cpu)
        return True

    def _sleep_for_read(self, cpu: Cpu, *, counted: bool, flagged: bool) -> Steps[None]:
        """Queue and sleep. `count` has a *counted* reader already; a *flagged* one has seen the flag."""
        if counted:
            self._trying += 1
        yield from self._open_list(cpu)
        first = not self._waiters
        if first and counted and self.writer is None and not self._handoff:
            self._trying -= 1
            self.readers += 1
            yield from self._close_list(cpu)
            yield from self._set_reader(cpu)
            return
        waiter = self._join(cpu, write=False)
        if flagged:
            self._flagged.add(waiter)
        if counted or first:
            yield from self.count.write(cpu, self.activity)  # take the reader back, set WAITERS
        else:
            yield from self.count.read(cpu, self.activity)
        if counted:
            self._trying -= 1
        woken: list[RwSemWaiter] = []
        if self.writer is None and (first or not (self.readers or self._trying)):
            if not self.readers:
                self._nonspinnable = False
            woken = yield from self._mark(cpu)
        if not self._trying:
            self._tell_spinner(cpu)
        yield from self._close_list(cpu)
        self._wake_all(cpu, woken)
        while not waiter.granted:
            yield from self._scheduler.sleep(cpu, waiter, self.activity)
        waiter.woken = False

    def _grant_readers(self, cpu: Cpu) -> Steps[list[RwSemWaiter]]:
        first = self._waiters[0]
        self._reader = first.task
        if first in self._flagged:
            self._readers_sleep = True
        batch = yield from super()._grant_readers(cpu)
        self._flagged.intersection_update(self._waiters)
        return batch

    # -- writers --------------------------------------------------------------------------------------------

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        """`up_write`."""
        self._readers_sleep = False  # the store of no owner clears the flags
        yield from super()._write_unlock(cpu)

    def _write_downgrade(self, cpu: Cpu) -> Steps[None]:
        """`downgrade_write`."""
        self._reader = cpu.current
        yield from super()._write_downgrade(cpu)

    def _sleep_for_write(self, cpu: Cpu) -> Steps[None]:
        yield from self.owner_line.read(cpu, self.activity)
        disable = self._nonspinnable or self._readers_sleep
        yield from super()._sleep_for_write(cpu)
        if disable:  # rwsem_disable_reader_optspin
            yield from self.owner_line.write(cpu, self.activity)
            self._readers_sleep = True

    # -- the owner word -------------------------------------------------------------------------------------

    def _set_reader(self, cpu: Cpu) -> Steps[None]:
        """rwsem_set_reader_owned."""
        self._reader = cpu.current
        yield from self.owner_line.store(cpu, self.activity)

    def _set_writer(self, cpu: Cpu) -> None:
        super()._set_writer(cpu)
        self._reader = None
        self._readers_sleep = False

    def _set_nonspinnable(self) -> None:
        super()._set_nonspinnable()
        self._readers_sleep = True
