"""Linux's mutex: a sleeping lock whose waiters spin while the owner runs.

Owner word, wait_lock, OSQ and wait list lie on one line. The owner word holds the owner and three flags:

    free                    anybody with a cmpxchg takes it
    owner runs              the OSQ's head watches the owner; the others spin on their nodes
    owner sleeps            nobody spins: spinners go to the wait list and sleep
    WAITERS set             who unlocks wakes the first of the list, but anybody may be faster than that one
    HANDOFF set             by the first of the list, that was woken and came too late: it is the next owner
    PICKUP set              the lock has been handed over: only the owner named may take it

    owner    unlock: owner = 0 ==| wait_lock | wake first |
    thief                        | lock == owner = thief ==|     ... unlock: HANDOFF: owner = first, PICKUP
    first    asleep                          ... wakes up | taken: set HANDOFF, spin =====| takes it

Invariants: one owner; a waiter is in the OSQ or in the list, never in both; with HANDOFF the list is not
empty, and its first is who has set it. So the first of the list may be overtaken until it has been woken and
has looked at the lock once, and by nobody afterwards.

Where threads share a cpu, an owner that waits for its turn counts as asleep, and a spinner whose cpu others
want goes to the list.

Source: Linux 6.13, kernel/locking/mutex.c. Simplifications: the wait_lock is not a lock but the
queueing for its line. Left out: ww_mutex, interruptible waits.
"""

from __future__ import annotations

from collections import deque

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Task
from sim.sync.lock import Lock, releases, takes
from sim.sync.nodes import QueueNodes
from sim.sync.osq import SpinnerQueue
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Sleeper


class _Waiter(Sleeper):
    """A thread in the wait list; *spinning* while it is awake and watches the owner, as the first may."""

    __slots__ = ("spinning",)

    def __init__(self, cpu: Cpu, reason: str) -> None:
        super().__init__(cpu, reason)
        self.spinning = False


class Mutex(Lock):
    """One mutex on one line. Waiting is charged to *activity*, switches are the scheduler's."""

    __slots__ = ("_handoff", "_osq", "_scheduler", "_waiters", "holder", "line")

    def __init__(self, nodes: QueueNodes, line: CacheLine, scheduler: Scheduler, activity: Activity) -> None:
        super().__init__(line.name, activity)
        self.line = line
        self.holder: Task | None = None
        self._handoff = False
        self._osq = SpinnerQueue(self, nodes, line, scheduler)
        self._scheduler = scheduler
        self._waiters: deque[_Waiter] = deque()

    def describe_wait(self) -> str:
        return f"{self.line.name} (held by {self.holder})"

    def acquire(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # cmpxchg owner: 0 -> current
        if not self._waiters and self._take(cpu):
            return
        taken = yield from self._try_take(cpu)
        if taken:
            return
        taken = yield from self._spin_in_queue(cpu)
        if not taken:
            yield from self._wait_in_list(cpu)

    def release(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # cmpxchg owner: current -> 0, fails on any flag
        if not self._waiters:
            self._set_owner(cpu, None)
            return
        if not self._handoff:
            yield from self.line.write(cpu, self.activity)  # cmpxchg owner: current -> flags
        handoff = self._handoff
        if not handoff:
            self._set_owner(cpu, None)
        yield from self.line.write(cpu, self.activity)  # wait_lock
        if not self._waiters:
            return
        first = self._waiters[0]
        if handoff:
            yield from self.line.write(cpu, self.activity)  # owner = first, PICKUP
            self._handoff = False
            self._set_owner(cpu, first.task)
        if not first.spinning:
            self._scheduler.wake(cpu, first)

    # -- the owner word -------------------------------------------------------------------------------------

    def _may_take(self, cpu: Cpu) -> bool:
        return self.holder is None or self.holder is cpu.current  # PICKUP

    def _take(self, cpu: Cpu) -> bool:
        if not self._may_take(cpu):
            return False
        self.holder = cpu.current
        return True

    def _try_take(self, cpu: Cpu) -> Steps[bool]:
        """`__mutex_trylock`: look, then cmpxchg. Value: whether the lock is taken."""
        yield from self.line.read(cpu, self.activity)
        if not self._may_take(cpu):
            return False
        yield from self.line.write(cpu, self.activity)
        return self._take(cpu)

    def _set_owner(self, cpu: Cpu, owner: Task | None) -> None:
        """The owner word changes: those who watch it look again."""
        self.holder = owner
        if self._osq.head is not None:
            self._osq.head.poke(self, cpu.pending)
        if self._waiters and self._waiters[0].spinning:
            self._waiters[0].cpu.poke(self, cpu.pending)

    # -- optimistic spinning --------------------------------------------------------------------------------

    def _spin_in_queue(self, cpu: Cpu) -> Steps[bool]:
        """`mutex_optimistic_spin` of a newcomer. Value: whether it has taken the lock."""
        yield from self.line.read(cpu, self.activity)
        if self._must_not_spin(cpu):
            return False
        taken = yield from self._osq.lock(cpu)
        if taken:
            taken = yield from self._spin(cpu)
            yield from self._osq.unlock(cpu)
        if not taken:
            yield from self._scheduler.reschedule(cpu)
        return taken

    def _spin(self, cpu: Cpu) -> Steps[bool]:
        """Watch the owner, take the lock when it is free; in vain if one should not spin."""
        while True:
            taken = yield from self._try_take(cpu)
            if taken:
                return True
            if cpu.pending:
                yield cpu.take_pending()
            owner = self.holder
            if owner is None or self._may_take(cpu):
                continue
            if self._must_not_spin(cpu):
                return False
            yield from self._scheduler.spin(cpu, self, self.activity, owner)

    def _must_not_spin(self, cpu: Cpu) -> bool:
        owner = self.holder
        return (owner is not None and not owner.on_cpu) or self._scheduler.need_resched(cpu)

    # -- sleeping -------------------------------------------------------------------------------------------

    def _wait_in_list(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # wait_lock
        taken = yield from self._try_take(cpu)
        if taken:
            return
        waiter = _Waiter(cpu, self.line.name)
        self._waiters.append(waiter)
        if self._waiters[0] is waiter:
            yield from self.line.write(cpu, self.activity)  # set WAITERS
        taken = yield from self._try_take(cpu)
        while not taken:
            yield from self._scheduler.sleep(cpu, waiter, self.activity)
            taken = yield from self._try_take(cpu)
            if not taken and self._waiters[0] is waiter:
                taken = yield from self._demand(cpu)
                if not taken:
                    waiter.spinning = True
                    taken = yield from self._spin(cpu)
                    waiter.spinning = False
            if not taken:
                yield from self.line.write(cpu, self.activity)  # wait_lock
                taken = yield from self._try_take(cpu)
        yield from self.line.write(cpu, self.activity)  # wait_lock; the last one clears the flags
        self._waiters.remove(waiter)

    def _demand(self, cpu: Cpu) -> Steps[bool]:
        """Set HANDOFF; a lock that has been released meanwhile is taken instead. Value: whether it was."""
        if not self._handoff:
            yield from self.line.write(cpu, self.activity)
            if self._take(cpu):
                return True
            self._handoff = True
        return False
