"""Linux's per-cpu rwsem: readers count on their own cpu, and a writer pays for it with a grace period.

    reader   fast?  own count += 1 |  reads  | fast?  own count -= 1
             slow:  own count += 1 | look at block: set? own count -= 1, tell the writer, wait | ...
    writer   readers to the slow path: grace period | block = 1 |.. until all counts sum to 0 ..|  writes  |
             block = 0 | wake readers up to the first writer, and that one | readers fast after a grace period

    line          who writes it
    own count     its cpu, at every turn; a writer loads all of them
    state         a writer that comes or goes (`RcuSync`, and the writer's own wait)
    block         a writer, and whoever has to wait (the wait queue lies beside it)

Invariants: *block* is set by one writer at a time, and only with readers on the slow path; a reader that has
looked at *block* before it was set is in the sum, one that looks later leaves the sum again. Counts may be
negative, for a waiting reader is counted on the cpu that wakes it.

Source: Linux 6.13, kernel/locking/percpu-rwsem.c. The writer's sum is over the cpus that are online.
"""

from __future__ import annotations

from collections import deque

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine, Task
from sim.sync.lock import Lock, releases, takes
from sim.sync.rcu import Rcu
from sim.sync.rcu_sync import GpState, RcuSync
from sim.sync.sleep import Scheduler
from sim.sync.sleeper import Sleeper, Waiter


class PercpuRwSem(Lock):
    """One semaphore *name*, in memory of socket *home*. *writer* holds it for writing."""

    __slots__ = (
        "_block_line",
        "_blocked",
        "_count_lines",
        "_counts",
        "_draining",
        "_rcu",
        "_scheduler",
        "_state_line",
        "_sync",
        "_waiters",
        "writer",
    )

    def __init__(
        self,
        machine: Machine,
        name: str,
        rcu: Rcu,
        scheduler: Scheduler,
        activity: Activity,
        *,
        home: int = 0,
    ) -> None:
        super().__init__(name, activity)
        self.writer: Task | None = None
        self._rcu = rcu
        self._scheduler = scheduler
        self._state_line = machine.line(f"{name} state", home)
        self._block_line = machine.line(f"{name} block", home)
        self._count_lines = [
            machine.line(f"{name} readers of {cpu}", cpu.socket, owner=cpu.id) for cpu in machine.cpus
        ]
        self._sync = RcuSync(rcu, self._state_line, scheduler, activity)
        self._counts = [0] * len(machine.cpus)
        self._blocked = False
        self._draining: Sleeper | None = None
        self._waiters: deque[Waiter] = deque()

    # -- readers --------------------------------------------------------------------------------------------

    def read_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "read", steps)

    def _read_lock(self, cpu: Cpu) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        self._rcu.read_lock(cpu)  # preemption off
        yield from self._state_line.read(cpu, self.activity)
        if self._sync.state is GpState.IDLE:
            yield from self._count(cpu, 1)
            self._rcu.read_unlock(cpu)
            return
        taken = yield from self._try_read(cpu)
        self._rcu.read_unlock(cpu)
        if not taken:
            yield from self._wait(cpu, write=False)

    def read_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._read_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "read", steps)

    def _read_unlock(self, cpu: Cpu) -> Steps[None]:
        if cpu.pending:
            yield cpu.take_pending()
        self._rcu.read_lock(cpu)
        yield from self._state_line.read(cpu, self.activity)
        fast = self._sync.state is GpState.IDLE
        yield from self._count(cpu, -1)
        if not fast:
            yield from self._tell_writer(cpu)
        self._rcu.read_unlock(cpu)

    def _count(self, cpu: Cpu, change: int) -> Steps[None]:
        yield from self._count_lines[cpu.id].store(cpu, self.activity)
        self._counts[cpu.id] += change

    def _try_read(self, cpu: Cpu) -> Steps[bool]:
        """Count oneself, then look at *block*. Value: whether the lock is taken."""
        yield from self._count(cpu, 1)
        yield from self._block_line.read(cpu, self.activity)
        if not self._blocked:
            return True
        yield from self._count(cpu, -1)
        yield from self._tell_writer(cpu)
        return False

    def _tell_writer(self, cpu: Cpu) -> Steps[None]:
        """`rcuwait_wake_up`: a writer that waits for the readers looks again."""
        yield from self._state_line.read(cpu, self.activity)
        if self._draining is not None:
            self._scheduler.wake(cpu, self._draining)

    # -- writers --------------------------------------------------------------------------------------------

    def write_lock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_lock(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _write_lock(self, cpu: Cpu) -> Steps[None]:
        yield from self._sync.enter(cpu)
        taken = yield from self._try_write(cpu)
        if not taken:
            yield from self._wait(cpu, write=True)
        yield from self._drain(cpu)
        self.writer = cpu.current

    def write_unlock(self, cpu: Cpu) -> Steps[None]:
        steps = self._write_unlock(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _write_unlock(self, cpu: Cpu) -> Steps[None]:
        yield from self._block_line.store(cpu, self.activity)
        self.writer = None
        self._blocked = False
        yield from self._wake_waiters(cpu)
        yield from self._sync.exit(cpu)

    def _try_write(self, cpu: Cpu) -> Steps[bool]:
        yield from self._block_line.write(cpu, self.activity)  # xchg
        if self._blocked:
            return False
        self._blocked = True
        return True

    def _drain(self, cpu: Cpu) -> Steps[None]:
        """Sleep until the counts of all cpus sum to zero."""
        yield from self._state_line.write(cpu, self.activity)  # whom to wake
        self._draining = Sleeper(cpu, f"the readers of {self.name}")
        while True:
            total = 0
            for number, line in enumerate(self._count_lines):
                yield from line.read(cpu, self.activity)
                total += self._counts[number]
            if not total:
                break
            yield from self._scheduler.sleep(cpu, self._draining, self.activity)
        yield from self._state_line.store(cpu, self.activity)
        self._draining = None

    # -- the wait queue -------------------------------------------------------------------------------------

    def _wait(self, cpu: Cpu, *, write: bool) -> Steps[None]:
        """Try once more under the queue's lock, then sleep until a waker has taken the lock for *cpu*."""
        yield from self._block_line.write(cpu, self.activity)  # waiters.lock
        while True:
            taken = yield from self._try_write(cpu) if write else self._try_read(cpu)
            if taken:
                return
            if self._blocked:
                break
        waiter = Waiter(cpu, self.name, write)
        self._waiters.append(waiter)
        while not waiter.granted:
            yield from self._scheduler.sleep(cpu, waiter, self.activity)

    def _wake_waiters(self, cpu: Cpu) -> Steps[None]:
        """Take the lock for the waiting readers up to the first writer, or for a writer that is first."""
        yield from self._block_line.write(cpu, self.activity)  # waiters.lock
        if self._waiters and not self._waiters[0].write:
            yield from self._count_lines[cpu.id].store(cpu, self.activity)
        woken: list[Waiter] = []
        while self._waiters and not self._blocked:
            waiter = self._waiters.popleft()
            if waiter.write:
                self._blocked = True
            else:
                self._counts[cpu.id] += 1
            waiter.granted = True
            woken.append(waiter)
        for waiter in woken:
            self._scheduler.wake(cpu, waiter)
