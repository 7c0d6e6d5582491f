"""Linux's reader-writer semaphore (kernel/locking/rwsem.c, 6.13), as accesses to cache lines.

Two lines matter: *count* (writer bit, reader count, WAITERS and HANDOFF flags), which every acquire and
release writes, and the *owner* line (owner, osq, wait_lock and wait_list lie together). Struct mm_struct is
laid out so that they are different lines.

    state                        who gets the lock next
    free                         anybody with a cmpxchg: spinners and newcomers before sleepers
    writer owns and runs         OSQ head spins on the owner; the rest spin on their own nodes
    writer owns, not on a cpu    nobody spins: all go to sleep (owner_on_cpu)
    readers own                  OSQ head spins 10 us + 0.5 us a reader (25 us at most), then all go to sleep
    WAITERS set                  new readers queue and sleep; writers may still steal
    HANDOFF set (4 ms)           only the first sleeper may take it; the others spin on or sleep on

Who asks for HANDOFF. The first sleeper, a writer, when it wakes in vain 4 ms after it came. From then on it
does not sleep but watches the owner beside the OSQ head, while that is a writer that runs. If the first
sleeper is a reader, who wakes it in vain asks for it.

Who spins also stops when its cpu is wanted for something else (need_resched), in the OSQ as at its head, and
sleeps. Readers do not spin: those of 5.3 to 5.10 do (`rwsem_spinning_readers`).

Invariants: a writer excludes everybody; `readers` counts the holders; a waiter is in the OSQ or in the sleep
queue, never in both; a reader in the sleep queue is granted the lock by its waker, a writer takes it itself.

A reader that has to sleep counts as one until wait_lock is its own, so no writer takes the lock meanwhile.

Simplification: a trylock for reading loses the line once at most between its look at the count and the
cmpxchg that changes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Task
from sim.sync.lock import Lock, downgrades, releases, takes, tries
from sim.sync.nodes import QueueNodes
from sim.sync.osq import SpinnerQueue
from sim.sync.rwsem_spec import RwSemTuning
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Waiter
from sim.sync.spin import QueuedSpinLock


class RwSemWaiter(Waiter):
    """A thread in the sleep queue, that may ask for a hand-off from *deadline* on.

    *spinning* is one that has asked for it and watches the owner.
    """

    __slots__ = ("deadline", "handoff", "spinning")

    def __init__(self, cpu: Cpu, reason: str, write: bool, deadline: int) -> None:
        super().__init__(cpu, reason, write)
        self.deadline = deadline
        self.handoff = False
        self.spinning = False


class RwSem(Lock):
    """One semaphore. Charge everything to *activity*, except switches, which are the scheduler's."""

    __slots__ = (
        "_handoff",
        "_nonspinnable",
        "_osq",
        "_scheduler",
        "_trying",
        "_tuning",
        "_wait_lock",
        "_waiters",
        "count",
        "owner_line",
        "readers",
        "writer",
    )

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
        super().__init__(name, activity)
        self.count = count
        self.owner_line = owner_line
        self.writer: Task | None = None
        self.readers = 0
        self._osq = SpinnerQueue(self, nodes, owner_line, scheduler)
        self._scheduler = scheduler
        self._tuning = tuning
        self._handoff = False
        self._nonspinnable = False
        self._waiters: deque[RwSemWaiter] = deque()
        self._trying = 0
        """Readers that are counted, and on their way into the list."""
        self._wait_lock: QueuedSpinLock | None = None
        if tuning.wait_list == "locked":
            self._wait_lock = QueuedSpinLock(nodes, owner_line, activity, f"{name}: wait_lock")

    def counted(self) -> int:
        return self.readers

    def describe_wait(self) -> str:
        holder = f"written by {self.writer}" if self.writer else f"held by {self.readers} readers"
        return f"{self.name} ({holder})"

    # -- readers --------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        """`down_read`."""
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self.count.write(cpu, self.activity)  # atomic add of a reader
        if self._admits_readers():
            self.readers += 1
            yield from self.owner_line.store(cpu, self.activity)  # rwsem_set_reader_owned
            return
        # Slow path: steal from waiting writers unless others already read.
        if self.writer is None and not self._handoff and not self.readers:
            self.readers += 1
            yield from self.owner_line.store(cpu, self.activity)
            yield from self._wake_readers(cpu)
            return
        if self._wait_lock is None:
            waiter = self._join(cpu, write=False)
            yield from self._open_list(cpu)  # list_add
            yield from self.count.write(cpu, self.activity)  # take the reader back, set WAITERS
            if self.writer is None and not self.readers:
                yield from self._wake(cpu)
        else:
            joined = yield from self._join_under_lock(cpu)
            if joined is None:
                return
            waiter = joined
        while not waiter.granted:
            yield from self._scheduler.sleep(cpu, waiter, self.activity)
        waiter.woken = False

    def _join_under_lock(self, cpu: Cpu) -> Steps[RwSemWaiter | None]:
        """A reader's way into the list under wait_lock. Until it is there it counts as a reader, so that no
        writer takes the lock. Value: None if the writer has gone, and the lock is taken."""
        self._trying += 1
        yield from self._open_list(cpu)
        if not self._waiters and self.writer is None and not self._handoff:
            self._trying -= 1
            self.readers += 1
            yield from self._close_list(cpu)
            yield from self.owner_line.store(cpu, self.activity)
            return None
        waiter = self._join(cpu, write=False)
        yield from self.count.write(cpu, self.activity)
        self._trying -= 1
        woken: list[RwSemWaiter] = []
        if self.writer is None and (self._waiters[0] is waiter or not (self.readers or self._trying)):
            woken = yield from self._mark(cpu)
        if not self._trying:
            self._tell_spinner(cpu)
        yield from self._close_list(cpu)
        self._wake_all(cpu, woken)
        return waiter

    def read_trylock(self, cpu: Cpu) -> Steps[bool]:
        """`down_read_trylock`; the generator's value tells whether the lock was taken.

        It looks at the count, by a load or by a cmpxchg that fails unless the lock is free, and then changes
        it by a cmpxchg. These are two requests for the line: others who want it may come in between
        (`CacheLine.read_to_write`). A cmpxchg that then finds another count is repeated while the line is
        still here.

            5.16   load ==| test, cmpxchg ==|                5.13   cmpxchg 0 ==| 0: done, else cmpxchg ==|
        """
        steps = self._read_trylock(cpu)
        return steps if cpu.plain_locks else tries(self, cpu, "read", steps)

    def _read_trylock(self, cpu: Cpu) -> Steps[bool]:
        if self._tuning.read_trylock == "cmpxchg":
            yield from self.count.write(cpu, self.activity)
            changes = self.readers > 0
        else:
            changes = yield from self.count.read_to_write(cpu, self.activity)
        if not self._admits_readers():
            return False
        if changes:
            seen = self.readers
            yield from self.count.write(cpu, self.activity)
            if not self._admits_readers():
                return False
            if self.readers != seen:
                self.count.write_again(cpu, self.activity)
        self.readers += 1
        if self.owner_line is self.count:  # rwsem_set_reader_owned, before the line can go
            self.count.write_again(cpu, self.activity)
        else:
            yield from self.owner_line.store(cpu, self.activity)
        return True

    def _admits_readers(self) -> bool:
        """Nothing of RWSEM_READ_FAILED_MASK is set."""
        return self.writer is None and not self._waiters and not self._handoff

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        """`up_read`."""
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.count.write(cpu, self.activity)
        self.readers -= 1
        if not self.readers:
            if self._waiters:
                self._nonspinnable = False
                yield from self._wake(cpu)
            self._tell_spinner(cpu)

    # -- writers --------------------------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        """`down_write`."""
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self.count.write(cpu, self.activity)  # cmpxchg 0 -> writer
        if self._is_free() and not self._waiters:
            self._set_writer(cpu)
            yield from self.owner_line.store(cpu, self.activity)
            return
        yield from self.owner_line.read(cpu, self.activity)
        if self._may_spin(cpu):
            taken = yield from self._spin(cpu)
            if taken:
                return
        yield from self._sleep_for_write(cpu)

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        """`up_write`."""
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self.owner_line.store(cpu, self.activity)  # clear the owner: the spinner goes on to count
        self._tell_spinner(cpu)
        yield from self.count.write(cpu, self.activity)
        self.writer = None
        self._tell_spinner(cpu)
        if self._waiters:
            yield from self._wake(cpu)

    def write_downgrade(self, cpu: Cpu) -> Steps[None]:
        """`downgrade_write`: turn the write hold into a read hold and let queued readers in."""
        steps = self._write_downgrade(cpu)
        return steps if cpu.plain_locks else downgrades(self, cpu, steps)

    def _write_downgrade(self, cpu: Cpu) -> Steps[None]:
        yield from self.count.write(cpu, self.activity)
        self.writer = None
        self.readers = 1
        yield from self.owner_line.store(cpu, self.activity)
        self._tell_spinner(cpu)
        if self._waiters:
            yield from self._wake_readers(cpu)

    def _is_free(self) -> bool:
        return self.writer is None and not self.readers and not self._handoff and not self._trying

    # -- optimistic spinning --------------------------------------------------------------------------------

    def _may_spin(self, cpu: Cpu) -> bool:
        """rwsem_can_spin_on_owner."""
        if self._scheduler.need_resched(cpu):
            return False
        return self.writer.on_cpu if self.writer is not None else not self._nonspinnable

    def _spin(self, cpu: Cpu) -> Steps[bool]:
        """`rwsem_optimistic_spin`: queue in the OSQ, as its head spin for the lock. Returns whether taken."""
        taken = yield from self._osq.lock(cpu)
        if taken:
            taken = yield from self._spin_as_head(cpu)
            yield from self._osq.unlock(cpu)
        return taken

    def _spin_as_head(self, cpu: Cpu) -> Steps[bool]:
        deadline = None
        while True:
            yield from self.owner_line.read(cpu, self.activity)
            if self._is_free():
                apart = yield from self.count.read_to_write(cpu, self.activity)
                if not self._is_free():
                    continue
                if apart:
                    yield from self.count.write(cpu, self.activity)
                if self._is_free():
                    self._set_writer(cpu)
                    yield from self.owner_line.store(cpu, self.activity)
                    return True
                continue
            if cpu.pending:
                yield cpu.take_pending()
            if self._scheduler.need_resched(cpu):
                return False
            owner = self.writer
            if owner is not None:
                deadline = None
                if not owner.on_cpu:
                    return False
                yield from self._watch(cpu, owner)
            elif self.readers:
                if self._nonspinnable:
                    return False
                now = cpu.engine._now
                if deadline is None:
                    tuning = self._tuning
                    readers = min(self.readers, tuning.spin_readers_max)
                    deadline = now + tuning.spin_on_readers + readers * tuning.spin_per_reader
                if now >= deadline:
                    self._set_nonspinnable()
                    return False
                self._alarm(cpu, deadline - now)
                yield from self._watch(cpu)
            elif self._handoff or self._trying:  # free, but for others: OWNER_NULL, and the loop goes on
                yield from self._watch(cpu)

    def _watch(self, cpu: Cpu, owner: Task | None = None) -> Steps[None]:
        """Spin on the owner word until somebody writes to its line, or *owner* leaves its cpu."""
        self.owner_line.watch(cpu, self)
        yield from self._scheduler.spin(cpu, self, self.activity, owner)
        self.owner_line.unwatch(cpu)

    def _alarm(self, cpu: Cpu, delay: int) -> None:
        """Poke the spinner when its patience with readers ends (a spinner that went on just looks again)."""

        def ring() -> None:
            if self._osq.head is cpu:
                cpu.poke(self)

        cpu.engine.call_in(delay, ring)

    def _tell_spinner(self, cpu: Cpu) -> None:
        """The owner word has been written: whoever watches it looks again."""
        look = self.owner_line.fabric.next_look
        if self._osq.head is not None:
            self._osq.head.poke(self, cpu.pending + look())
        if self._waiters and self._waiters[0].spinning:
            self._waiters[0].cpu.poke(self, cpu.pending + look())

    # -- the owner word -------------------------------------------------------------------------------------

    def _set_writer(self, cpu: Cpu) -> None:
        """The thread on *cpu* has got the lock; its store of the owner clears the flags beside it."""
        self.writer = cpu.current
        self._nonspinnable = False

    def _set_nonspinnable(self) -> None:
        """rwsem_set_nonspinnable."""
        self._nonspinnable = True

    # -- sleeping -------------------------------------------------------------------------------------------

    def _open_list(self, cpu: Cpu) -> Steps[None]:
        """Take wait_lock, or only its line."""
        if self._wait_lock is None:
            return self.owner_line.write(cpu, self.activity)
        return self._wait_lock.acquire(cpu)

    def _close_list(self, cpu: Cpu) -> Steps[None]:
        """Release wait_lock, if it is one."""
        if self._wait_lock is not None:
            yield from self._wait_lock.release(cpu)

    def _join(self, cpu: Cpu, *, write: bool) -> RwSemWaiter:
        deadline = cpu.now + self._tuning.handoff_after
        waiter = RwSemWaiter(cpu, self.name, write, deadline)
        if self._wait_lock is not None:  # list_add_tail
            self._scheduler.link_waiter(cpu, self._waiters[-1].task if self._waiters else None)
        self._waiters.append(waiter)
        return waiter

    def _sleep_for_write(self, cpu: Cpu) -> Steps[None]:
        if self._wait_lock is None:
            waiter = self._join(cpu, write=True)
            yield from self._open_list(cpu)  # list_add
            yield from self.count.write(cpu, self.activity)  # set WAITERS
            if self._is_free() and self._waiters[0] is not waiter:
                yield from self._wake(cpu)
        else:
            yield from self._open_list(cpu)
            waiter = self._join(cpu, write=True)
            yield from self.count.write(cpu, self.activity)
            if self.writer is None and self._waiters[0] is not waiter:
                woken = yield from self._mark(cpu, readers_only=self.readers > 0)
                if woken:
                    yield from self._close_list(cpu)
                    self._wake_all(cpu, woken)
                    yield from self._open_list(cpu)
        while True:
            if self._may_take(waiter):
                yield from self.count.write(cpu, self.activity)
                if self._may_take(waiter):
                    break
            if self._waiters[0] is waiter and not waiter.handoff and cpu.now > waiter.deadline:
                waiter.handoff = self._handoff = True
                yield from self.count.write(cpu, self.activity)
            yield from self._close_list(cpu)
            released = waiter.handoff and (yield from self._watch_owner(cpu, waiter))
            if not released:
                yield from self._scheduler.sleep(cpu, waiter, self.activity)
            yield from self._open_list(cpu)  # again
        self._waiters.remove(waiter)
        if waiter.handoff:
            self._handoff = False
        self._set_writer(cpu)
        yield from self._close_list(cpu)
        yield from self.owner_line.store(cpu, self.activity)
        self._tell_spinner(cpu)

    def _watch_owner(self, cpu: Cpu, waiter: RwSemWaiter) -> Steps[bool]:
        """rwsem_spin_on_owner of the first sleeper, who has claimed the lock. Value: whether it is free."""
        waiter.spinning = True
        while True:
            yield from self.owner_line.read(cpu, self.activity)
            if cpu.pending:
                yield cpu.take_pending()
            owner = self.writer
            if owner is None or not owner.on_cpu or self._scheduler.need_resched(cpu):
                break
            yield from self._watch(cpu, owner)
        waiter.spinning = False
        return owner is None and not self.readers

    def _may_take(self, waiter: RwSemWaiter) -> bool:
        if self.writer is not None or self.readers or self._trying:
            return False
        return not self._handoff or waiter.handoff

    def _wake(self, cpu: Cpu) -> Steps[None]:
        """`rwsem_wake`: the first waiter decides who is woken."""
        yield from self._open_list(cpu)
        woken = (yield from self._mark(cpu)) if self._waiters else []
        yield from self._close_list(cpu)
        self._wake_all(cpu, woken)

    def _mark(self, cpu: Cpu, *, readers_only: bool = False) -> Steps[list[RwSemWaiter]]:
        """`rwsem_mark_wake`. Value: who is to be woken."""
        first = self._waiters[0]
        if first.write:
            return [] if first.spinning or readers_only else [first]
        if self.writer is None:
            return (yield from self._grant_readers(cpu))
        if cpu.now > first.deadline:  # a writer has been faster
            first.handoff = self._handoff = True
        yield from self.count.write(cpu, self.activity, again=1)  # add a reader and take it back
        return []

    def _wake_readers(self, cpu: Cpu) -> Steps[None]:
        """Wake queued readers because the lock is now read-held; writers stay asleep."""
        woken: list[RwSemWaiter] = []
        yield from self._open_list(cpu)
        if self._waiters and not self._waiters[0].write:
            woken = yield from self._grant_readers(cpu)
        yield from self._close_list(cpu)
        self._wake_all(cpu, woken)

    def _grant_readers(self, cpu: Cpu) -> Steps[list[RwSemWaiter]]:
        """Give the lock to all queued readers (a batch at most), passing over writers. Value: these."""
        batch = [waiter for waiter in self._waiters if not waiter.write][: self._tuning.batch]
        for waiter in batch:
            self._waiters.remove(waiter)
            waiter.granted = True
            if waiter.handoff:
                self._handoff = False
        self.readers += len(batch)
        yield from self.count.write(cpu, self.activity)
        self._tell_spinner(cpu)
        if self._wait_lock is not None:
            for waiter in batch:
                self._scheduler.mark_waiter(cpu, waiter.task)
        return batch

    def _wake_all(self, cpu: Cpu, woken: Sequence[RwSemWaiter]) -> None:
        for waiter in woken:
            self._scheduler.wake(cpu, waiter)
