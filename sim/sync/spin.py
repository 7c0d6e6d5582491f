"""Spin locks: the MCS lock and Linux's queued spin lock, as accesses to cache lines.

A waiter that spins holds a copy of the line it looks at. It is parked here and poked by the write that ends
its wait; it then pays for loading the line again, as the spinning load would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.lock import Lock, releases, takes, tries
from sim.sync.nodes import NodeQueue, QueueNodes


class SpinLock(Protocol):
    """What the spin loop needs of a lock: where the time goes and what to say in a deadlock report."""

    activity: Activity

    def describe_wait(self) -> str:
        """What a waiter waits for."""


def spin_on(line: CacheLine, cpu: Cpu, lock: SpinLock, busy: Callable[[], bool]) -> Steps[None]:
    """Load *line* again and again while *busy*; whoever ends that pokes *cpu* for *lock*."""
    while True:
        yield from line.read(cpu, lock.activity)
        if cpu.pending:
            yield cpu.take_pending()
        if not busy():
            return
        yield from cpu.park(lock, lock.activity)


class McsLock(Lock):
    """Mellor-Crummey and Scott's queue lock: each waiter spins on its own line, the holder passes it on.

    Source: CortenMM artifact, ostd/src/mm/page_table (its queue node is on the heap; allocating it is the
    design's cost, not the lock's).
    """

    __slots__ = ("_queue", "holder", "line")

    def __init__(
        self, nodes: QueueNodes, line: CacheLine, activity: Activity, name: str | None = None
    ) -> None:
        super().__init__(line.name if name is None else name, activity)
        self.line = line
        self.holder: Cpu | None = None
        self._queue = NodeQueue(self, nodes, line)

    def describe_wait(self) -> str:
        return f"{self.line.name} (held by {self.holder})"

    def acquire(self, cpu: Cpu) -> Steps[None]:
        """Swap oneself into the tail; wait for the predecessor, if there is one."""
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        waits = yield from self._queue.join(cpu)
        if not waits:
            self.holder = cpu
            return
        yield from spin_on(self._queue.node(cpu), cpu, self, lambda: self.holder is not cpu)

    def release(self, cpu: Cpu) -> Steps[None]:
        """Free the lock, or pass it to the successor."""
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        yield from self._queue.node(cpu).read(cpu, self.activity)  # node.next
        if not self._queue.has_successor(cpu):
            yield from self.line.write(cpu, self.activity)  # cmpxchg tail: self -> empty
            if self._queue.leave(cpu):
                self.holder = None
                return
        successor = yield from self._queue.successor(cpu)
        self.holder = successor
        successor.poke(self, cpu.pending)


class QueuedSpinLock(Lock):
    """Linux's qspinlock (kernel/locking/qspinlock.c, 6.13).

    The lock word holds a locked byte, a pending bit and the queue's tail. The first waiter sets pending and
    spins on the word; later ones queue on nodes of their own, and the head of the queue spins on the word
    until both locked and pending are clear.
    """

    __slots__ = ("_head", "_pending", "_promoted", "_queue", "holder", "line")

    def __init__(
        self, nodes: QueueNodes, line: CacheLine, activity: Activity, name: str | None = None
    ) -> None:
        super().__init__(line.name if name is None else name, activity)
        self.line = line
        self.holder: Cpu | None = None
        self._queue = NodeQueue(self, nodes, line)
        self._pending: Cpu | None = None
        self._head: Cpu | None = None
        self._promoted: Cpu | None = None

    def describe_wait(self) -> str:
        return f"{self.line.name} (held by {self.holder})"

    def acquire(self, cpu: Cpu) -> Steps[None]:
        steps = self._acquire(cpu)
        return steps if cpu.plain_locks else takes(self, cpu, "write", steps)

    def _acquire(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.write(cpu, self.activity)  # cmpxchg 0 -> locked
        if self._is_free():
            self.holder = cpu
            return
        if self._nobody_waits():
            yield from self.line.write(cpu, self.activity)  # fetch_or pending
            if self._nobody_waits():
                self._pending = cpu
                yield from spin_on(self.line, cpu, self, lambda: self.holder is not None)
                yield from self.line.write(cpu, self.activity)  # clear pending, set locked
                self._pending = None
                self.holder = cpu
                return
        yield from self._wait_in_queue(cpu)

    def try_acquire(self, cpu: Cpu) -> Steps[bool]:
        """queued_spin_trylock: look first, then cmpxchg. Value: whether the lock was taken."""
        steps = self._try_acquire(cpu)
        return steps if cpu.plain_locks else tries(self, cpu, "write", steps)

    def _try_acquire(self, cpu: Cpu) -> Steps[bool]:
        yield from self.line.read(cpu, self.activity)
        if cpu.pending:
            yield cpu.take_pending()
        if not self._is_free():
            return False
        yield from self.line.write(cpu, self.activity)
        if not self._is_free():
            return False
        self.holder = cpu
        return True

    def _nobody_waits(self) -> bool:
        """Neither on the pending bit nor in the queue."""
        return self._pending is None and self._queue.tail is None

    def _is_free(self) -> bool:
        return self.holder is None and self._pending is None and self._queue.tail is None

    def release(self, cpu: Cpu) -> Steps[None]:
        steps = self._release(cpu)
        return steps if cpu.plain_locks else releases(self, cpu, "write", steps)

    def _release(self, cpu: Cpu) -> Steps[None]:
        yield from self.line.store(cpu, self.activity)
        self.holder = None
        waiter = self._pending or self._head
        if waiter is not None:
            waiter.poke(self, cpu.pending)

    def _wait_in_queue(self, cpu: Cpu) -> Steps[None]:
        yield from self._reach_head(cpu)
        yield from self._await_word(cpu)
        yield from self.line.write(cpu, self.activity)  # set locked, clear the tail if nobody follows
        self._head = None
        self.holder = cpu
        if not self._queue.leave(cpu):
            yield from self._promote_successor(cpu)

    def _reach_head(self, cpu: Cpu) -> Steps[bool]:
        """Queue and wait for the promotion to its head. Value: whether anybody was ahead."""
        waits = yield from self._queue.join(cpu)  # xchg tail
        if waits:
            yield from spin_on(self._queue.node(cpu), cpu, self, lambda: self._promoted is not cpu)
            self._promoted = None
        self._head = cpu
        return waits

    def _await_word(self, cpu: Cpu) -> Steps[None]:
        """As the head: spin until nobody holds the lock and nobody is pending."""
        return spin_on(self.line, cpu, self, lambda: self.holder is not None or self._pending is not None)

    def _promote_successor(self, cpu: Cpu) -> Steps[None]:
        successor = yield from self._queue.successor(cpu)
        self._promoted = successor
        successor.poke(self, cpu.pending)
