"""A pipe: messages that some threads write and others read, by system calls.

    write   syscall | mutex: head, buffer, the bytes | was it empty? wait queue's lock: unqueue, wake a reader
    read    syscall | mutex: empty? unlock, wait queue's lock: queue | asleep ... | mutex: buffer, the bytes,
    tail
                                                                     | was it full? wake a writer

The mutex and the readers' wait queue lie on one line of the pipe, the writers' queue, head and tail on the
next; the buffer's entry and the bytes have lines of their own. What is read first and stored later, under the
mutex, is fetched once. A reader that is woken takes the message as any other would: one that comes between
may be faster. Who has slept and leaves something for others wakes the next of its kind (wake_next_reader,
wake_next_writer).

Source: Linux 6.13, fs/pipe.c (pipe_write, pipe_read), kernel/sched/wait.c. Left out: several messages in one
buffer, poll, splice, the times of the inode.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sim.sync.mutex import Mutex
from sim.sync.sleeper import Sleeper
from sim.sync.spin import QueuedSpinLock

if TYPE_CHECKING:
    from sim.engine import Steps
    from sim.hardware import CacheLine, Cpu, Machine
    from sim.sync.nodes import QueueNodes
    from sim.sync.sleep import Scheduler


class Pipe:
    """Holds *capacity* messages at most. *write* and *read* are the code of one call (ps); None: neither that
    nor the system call is paid, but what moves between cpus is. All but the scheduler's part is charged to
    *activity*."""

    __slots__ = (
        "_activity",
        "_bytes",
        "_capacity",
        "_closed",
        "_code",
        "_ends",
        "_entry",
        "_mutex",
        "_name",
        "_readers",
        "_scheduler",
        "_slot",
        "_wait_lock",
        "_writers",
        "messages",
    )

    def __init__(
        self,
        machine: Machine,
        name: str,
        home: int,
        nodes: QueueNodes,
        scheduler: Scheduler,
        *,
        messages: int,
        capacity: int,
        code: tuple[int, int] | None,
    ) -> None:
        def line(what: str) -> CacheLine:
            return machine.line(f"{name}: {what}", home, owner=0)

        activity = machine.activity(f"channel: {name}")
        first = line("mutex")
        self.messages = messages
        self._name = name
        self._capacity = capacity
        self._mutex = Mutex(nodes, first, scheduler, activity)
        self._wait_lock = QueuedSpinLock(nodes, first, activity)
        self._ends = line("head and tail")
        self._slot = line("buffer")
        self._bytes = line("bytes")
        self._readers: deque[Sleeper] = deque()
        self._writers: deque[Sleeper] = deque()
        self._entry = machine.entry
        self._scheduler = scheduler
        self._activity = activity
        self._code = code
        self._closed = False

    def send(self, cpu: Cpu) -> Steps[None]:
        """Write a message, asleep until there is room."""
        activity = self._activity
        if self._code is not None:
            self._entry.syscall(cpu, activity, self._code[0])
        yield from self._mutex.acquire(cpu)
        yield from self._ends.store(cpu, activity)
        slept = False
        while self.messages == self._capacity and not self._closed:
            yield from self._wait(cpu, self._writers, "room in")
            slept = True
        if not self._closed:
            was_empty = not self.messages
            yield from self._slot.store(cpu, activity)
            yield from self._bytes.store(cpu, activity)
            self.messages += 1
            room = self.messages < self._capacity
            yield from self._mutex.release(cpu)
            if was_empty:
                yield from self._wake(cpu, self._readers)
            if slept and room:
                yield from self._wake(cpu, self._writers)
        else:
            yield from self._mutex.release(cpu)

    def receive(self, cpu: Cpu) -> Steps[None]:
        """Read a message, asleep until there is one."""
        activity = self._activity
        if self._code is not None:
            self._entry.syscall(cpu, activity)
        yield from self._mutex.acquire(cpu)
        yield from self._ends.store(cpu, activity)
        slept = False
        while not self.messages and not self._closed:
            yield from self._wait(cpu, self._readers, "a message in")
            slept = True
        if self._closed:
            yield from self._mutex.release(cpu)
            return
        was_full = self.messages == self._capacity
        if self._code is not None:
            cpu.work(self._code[1], activity)
        yield from self._slot.store(cpu, activity)
        yield from self._bytes.read(cpu, activity)
        self.messages -= 1
        more = self.messages > 0
        yield from self._mutex.release(cpu)
        if was_full:
            yield from self._wake(cpu, self._writers)
        if slept and more:
            yield from self._wake(cpu, self._readers)

    def close(self, cpu: Cpu) -> Steps[None]:
        """The run is over: nobody waits any more, now or later. An instrument of the run."""
        self._closed = True
        while self._readers or self._writers:
            yield from self._wake(cpu, self._readers or self._writers)

    def _wait(self, cpu: Cpu, queue: deque[Sleeper], what: str) -> Steps[None]:
        """wait_event_interruptible_exclusive, without the mutex: until somebody wakes this thread."""
        yield from self._mutex.release(cpu)
        yield from self._wait_lock.acquire(cpu)
        sleeper = Sleeper(cpu, f"{what} {self._name}")
        queue.append(sleeper)
        yield from self._wait_lock.release(cpu)
        yield from self._ends.read(cpu, self._activity)
        if cpu.pending:
            yield cpu.take_pending()
        ready = self.messages if queue is self._readers else self.messages < self._capacity
        if not (ready or self._closed):
            yield from self._scheduler.sleep(cpu, sleeper, self._activity)
        elif sleeper in queue:  # finish_wait
            yield from self._wait_lock.acquire(cpu)
            if sleeper in queue:
                queue.remove(sleeper)
            yield from self._wait_lock.release(cpu)
        yield from self._mutex.acquire(cpu)
        yield from self._ends.store(cpu, self._activity)

    def _wake(self, cpu: Cpu, queue: deque[Sleeper]) -> Steps[None]:
        """__wake_up_sync_key: the first one of *queue*, under the queue's lock."""
        yield from self._wait_lock.acquire(cpu)
        if queue:
            self._scheduler.wake(cpu, queue.popleft())
        yield from self._wait_lock.release(cpu)
