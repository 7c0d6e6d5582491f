"""Spin locks: the MCS lock and Linux's queued spin lock, as accesses to cache lines.

A waiter that spins holds a copy of the line it looks at. It is parked here and poked by the write that ends
its wait; it then pays for loading the line again, as the spinning load would.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from sim.engine import ThreadBody
from sim.hardware import CacheLine, Cpu
from sim.sync.nodes import QueueNodes


class SpinLock(Protocol):
    """What the spin loop needs of a lock: where the time goes and what to say in a deadlock report."""

    activity: str

    def describe_wait(self) -> str:
        """What a waiter waits for."""


def spin_on(line: CacheLine, cpu: Cpu, lock: SpinLock, busy: Callable[[], bool]) -> ThreadBody:
    """Load *line* again and again while *busy*; whoever ends that pokes *cpu* for *lock*."""
    while True:
        yield from line.read(cpu, lock.activity)
        if cpu.pending:
            yield cpu.take_pending()
        if not busy():
            return
        yield from cpu.park(lock, lock.activity)


class McsLock:
    """Mellor-Crummey and Scott's queue lock: each waiter spins on its own line, the holder passes it on.

    Source: CortenMM artifact, ostd/src/mm/page_table (its queue node is on the heap; allocating it is the
    design's cost, not the lock's).
    """

    __slots__ = ("_nodes", "_successor", "_tail", "activity", "holder", "line")

    def __init__(self, nodes: QueueNodes, line: CacheLine, activity: str) -> None:
        self.line = line
        self.activity = activity
        self.holder: Cpu | None = None
        self._nodes = nodes
        self._tail: Cpu | None = None
        self._successor: dict[Cpu, Cpu] = {}

    def describe_wait(self) -> str:
        return f"{self.line.name} (held by {self.holder})"

    def acquire(self, cpu: Cpu) -> ThreadBody:
        """Swap oneself into the tail; wait for the predecessor, if there is one."""
        yield from self.line.write(cpu, self.activity)
        previous, self._tail = self._tail, cpu
        if previous is None:
            self.holder = cpu
            return
        yield from self._nodes.lines[previous.id].store(cpu, self.activity)
        self._successor[previous] = cpu
        previous.poke(self, cpu.pending)  # a releasing holder may wait for this link
        if cpu.pending:
            yield cpu.take_pending()
        yield from spin_on(self._nodes.lines[cpu.id], cpu, self, lambda: self.holder is not cpu)

    def release(self, cpu: Cpu) -> ThreadBody:
        """Free the lock, or pass it to the successor."""
        yield from self._nodes.lines[cpu.id].read(cpu, self.activity)  # node.next
        if cpu not in self._successor:
            yield from self.line.write(cpu, self.activity)
            if self._tail is cpu:
                self._tail = self.holder = None
                return
            if cpu.pending:
                yield cpu.take_pending()
            while cpu not in self._successor:
                yield from cpu.park(self, self.activity)
        successor = self._successor.pop(cpu)
        yield from self._nodes.lines[successor.id].store(cpu, self.activity)
        self.holder = successor
        successor.poke(self, cpu.pending)


class QueuedSpinLock:
    """Linux's qspinlock (kernel/locking/qspinlock.c, 6.13).

    The lock word holds a locked byte, a pending bit and the queue's tail. The first waiter sets pending and
    spins on the word; later ones queue on nodes of their own, and the head of the queue spins on the word
    until both locked and pending are clear.
    """

    __slots__ = (
        "_head",
        "_nodes",
        "_pending",
        "_promoted",
        "_successor",
        "_tail",
        "activity",
        "holder",
        "line",
    )

    def __init__(self, nodes: QueueNodes, line: CacheLine, activity: str) -> None:
        self.line = line
        self.activity = activity
        self.holder: Cpu | None = None
        self._nodes = nodes
        self._pending: Cpu | None = None
        self._tail: Cpu | None = None
        self._head: Cpu | None = None
        self._successor: dict[Cpu, Cpu] = {}
        self._promoted: Cpu | None = None

    def describe_wait(self) -> str:
        return f"{self.line.name} (held by {self.holder})"

    def acquire(self, cpu: Cpu) -> ThreadBody:
        yield from self.line.write(cpu, self.activity)  # cmpxchg 0 -> locked
        if self.holder is None and self._pending is None and self._tail is None:
            self.holder = cpu
            return
        if self._pending is None and self._tail is None:
            yield from self.line.write(cpu, self.activity)  # fetch_or pending
            if self._pending is None and self._tail is None:
                self._pending = cpu
                yield from spin_on(self.line, cpu, self, lambda: self.holder is not None)
                yield from self.line.write(cpu, self.activity)  # clear pending, set locked
                self._pending = None
                self.holder = cpu
                return
        yield from self._queue(cpu)

    def release(self, cpu: Cpu) -> ThreadBody:
        yield from self.line.store(cpu, self.activity)
        self.holder = None
        waiter = self._pending or self._head
        if waiter is not None:
            waiter.poke(self, cpu.pending)

    def _queue(self, cpu: Cpu) -> ThreadBody:
        yield from self.line.write(cpu, self.activity)  # xchg tail
        previous, self._tail = self._tail, cpu
        if previous is not None:
            yield from self._nodes.lines[previous.id].store(cpu, self.activity)
            self._successor[previous] = cpu
            previous.poke(self, cpu.pending)
            if cpu.pending:
                yield cpu.take_pending()
            yield from spin_on(self._nodes.lines[cpu.id], cpu, self, lambda: self._promoted is not cpu)
            self._promoted = None
        self._head = cpu
        yield from spin_on(self.line, cpu, self, lambda: self.holder is not None or self._pending is not None)
        yield from self.line.write(cpu, self.activity)  # set locked, clear the tail if nobody follows
        self._head = None
        self.holder = cpu
        if self._tail is cpu:
            self._tail = None
            return
        if cpu.pending:
            yield cpu.take_pending()
        while cpu not in self._successor:
            yield from cpu.park(self, self.activity)
        successor = self._successor.pop(cpu)
        yield from self._nodes.lines[successor.id].store(cpu, self.activity)
        self._promoted = successor
        successor.poke(self, cpu.pending)
