"""A stream socket of one machine (AF_UNIX): messages that some threads write and others read.

    write   syscall | sender's account, buffer, the bytes | state lock, queue lock: append | sleepers? wake
    them read    syscall | iolock, state lock: empty? unlock both, wait queue: queue, look again | asleep ...
                                                 | queue lock: unlink | the bytes | free: buffer, sender's
                                                 account

A message is a buffer (sk_buff) and its data, of four and two lines, which a reader frees and the next writer
gets again. The receiver's socket has its state lock, its queue with a lock, its wait queue and the readers'
mutex (iolock) each on a line of its own; the sender's socket counts what it has in flight on another.

Source: Linux 6.13, net/unix/af_unix.c (unix_stream_sendmsg, unix_stream_read_generic, unix_stream_data_wait),
net/core/sock.c (sock_def_readable, sock_wfree). Left out: a full send buffer, several messages in one read,
where the allocator has the buffers from."""

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


class StreamSocket:
    """*code* is that of one write and of one read (ps). All but the scheduler's part is charged to
    *activity*."""

    __slots__ = (
        "_account",
        "_activity",
        "_buffer",
        "_bytes",
        "_closed",
        "_code",
        "_entry",
        "_iolock",
        "_name",
        "_queue",
        "_readers",
        "_scheduler",
        "_state",
        "_wait_lock",
        "_wait_queue",
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
        code: tuple[int, int],
    ) -> None:
        def line(what: str, lines: int = 1) -> CacheLine:
            return machine.line(f"{name}: {what}", home, owner=0, lines=lines)

        activity = machine.activity(f"channel: {name}")
        self.messages = messages
        self._name = name
        self._account = line("account of the sender")
        self._buffer = line("buffer", 4)
        self._bytes = line("bytes", 2)
        self._state = QueuedSpinLock(nodes, line("state"), activity)
        self._queue = QueuedSpinLock(nodes, line("queue"), activity)
        self._wait_queue = line("wait queue")
        self._wait_lock = QueuedSpinLock(nodes, self._wait_queue, activity)
        self._iolock = Mutex(nodes, line("iolock"), scheduler, activity)
        self._readers: deque[Sleeper] = deque()
        self._entry = machine.entry
        self._scheduler = scheduler
        self._activity = activity
        self._code = code
        self._closed = False

    def send(self, cpu: Cpu) -> Steps[None]:
        """Write a message."""
        activity = self._activity
        self._entry.syscall(cpu, activity, self._code[0])
        yield from self._account.write(cpu, activity)
        yield from self._buffer.store(cpu, activity)
        yield from self._bytes.store(cpu, activity)
        yield from self._state.acquire(cpu)
        yield from self._queue.acquire(cpu)
        self.messages += 1
        yield from self._queue.release(cpu)
        yield from self._state.release(cpu)
        yield from self._wait_queue.read(cpu, activity)  # skwq_has_sleeper
        if self._readers:
            yield from self._wake(cpu)

    def receive(self, cpu: Cpu) -> Steps[None]:
        """Read a message, asleep until there is one."""
        activity = self._activity
        self._entry.syscall(cpu, activity)
        yield from self._iolock.acquire(cpu)
        while True:
            yield from self._state.acquire(cpu)
            if self.messages or self._closed:
                break
            yield from self._state.release(cpu)
            yield from self._iolock.release(cpu)
            yield from self._wait(cpu)
            yield from self._iolock.acquire(cpu)
        yield from self._state.release(cpu)
        if not self._closed:
            cpu.work(self._code[1], activity)
            yield from self._buffer.store(cpu, activity)
            yield from self._bytes.read(cpu, activity)
            yield from self._queue.acquire(cpu)
            self.messages -= 1
            yield from self._queue.release(cpu)
            yield from self._account.write(cpu, activity)  # sock_wfree
        yield from self._iolock.release(cpu)

    def close(self, cpu: Cpu) -> Steps[None]:
        """The run is over: nobody waits any more, now or later. An instrument of the run."""
        self._closed = True
        yield from self._wake(cpu)

    def _wait(self, cpu: Cpu) -> Steps[None]:
        """unix_stream_data_wait: until somebody wakes this thread."""
        yield from self._state.acquire(cpu)
        yield from self._wait_lock.acquire(cpu)
        sleeper = Sleeper(cpu, f"a message in {self._name}")
        self._readers.append(sleeper)
        yield from self._wait_lock.release(cpu)
        ready = self.messages or self._closed
        yield from self._state.release(cpu)
        if not ready:
            yield from self._scheduler.sleep(cpu, sleeper, self._activity)
        yield from self._state.acquire(cpu)
        if sleeper in self._readers:  # finish_wait
            yield from self._wait_lock.acquire(cpu)
            if sleeper in self._readers:
                self._readers.remove(sleeper)
            yield from self._wait_lock.release(cpu)
        yield from self._state.release(cpu)

    def _wake(self, cpu: Cpu) -> Steps[None]:
        """sock_def_readable: all readers, who have queued without WQ_FLAG_EXCLUSIVE, under the queue's
        lock."""
        yield from self._wait_lock.acquire(cpu)
        while self._readers:
            self._scheduler.wake(cpu, self._readers.popleft())
        yield from self._wait_lock.release(cpu)
