"""The optimistic spinners of a sleeping lock: they queue, and the first of them watches the owner.

    osq    head ----------> spins on the lock's owner
           b, c, d -------> each spins on its own node, until the one before it leaves

Invariant: there is one head at most; a spinner leaves as the head only.

Source: Linux 6.13, kernel/locking/osq_lock.c. Left out: a waiter whose cpu others want leaves from the
middle of the queue; here it does so when it has become the head.
"""

from __future__ import annotations

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.nodes import Charged, NodeQueue, QueueNodes


class SpinnerQueue:
    """The OSQ of *lock*; its tail lies on *line*. *head* is who watches the owner."""

    __slots__ = ("_line", "_lock", "_queue", "head")

    def __init__(self, lock: Charged, nodes: QueueNodes, line: CacheLine) -> None:
        self.head: Cpu | None = None
        self._lock = lock
        self._line = line
        self._queue = NodeQueue(lock, nodes, line)

    @property
    def is_locked(self) -> bool:
        """Whether anybody spins (osq_is_locked)."""
        return self._queue.tail is not None

    def lock(self, cpu: Cpu) -> Steps[None]:
        """Wait until *cpu* is the head."""
        waits = yield from self._queue.join(cpu)
        if waits:
            while self.head is not cpu:
                yield from cpu.park(self._lock, self._lock.activity)
            yield from self._queue.node(cpu).read(cpu, self._lock.activity)
        self.head = cpu

    def unlock(self, cpu: Cpu) -> Steps[None]:
        """Give up the tail if nobody follows, else make the next spinner the head."""
        yield from self._line.write(cpu, self._lock.activity)  # cmpxchg tail: self -> empty
        if self._queue.leave(cpu):
            self.head = None
            return
        yield from self._queue.node(cpu).write(cpu, self._lock.activity)  # xchg own next
        following = yield from self._queue.successor(cpu)
        self.head = following
        following.poke(self._lock, cpu.pending)
