"""Queue nodes: the lines that cpus spin on while they wait in a queue lock, and the queue they make."""

from __future__ import annotations

from typing import Protocol

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine


class QueueNodes:
    """One node line a cpu, in memory of the cpu's own socket, as Linux's per-cpu `qnodes` and osq nodes are.

    A cpu waits in one queue at a time, so one line is enough.
    """

    __slots__ = ("lines",)

    def __init__(self, machine: Machine, name: str) -> None:
        self.lines: list[CacheLine] = [
            machine.line(f"{name} node of {cpu}", cpu.socket, owner=cpu.id) for cpu in machine.cpus
        ]


class Charged(Protocol):
    """What a queue belongs to: waiters wait for it, and it says what the time is charged to."""

    activity: Activity


class NodeQueue:
    """The queue of an MCS lock, qspinlock or OSQ: its tail lies on *line*, each waiter links to the next.

    Invariant: a cpu other than the tail has a successor, or one that is about to link itself.
    """

    __slots__ = ("_following", "_line", "_lock", "_nodes", "tail")

    def __init__(self, lock: Charged, nodes: QueueNodes, line: CacheLine) -> None:
        self.tail: Cpu | None = None
        self._lock = lock
        self._nodes = nodes
        self._line = line
        self._following: dict[Cpu, Cpu] = {}

    def node(self, cpu: Cpu) -> CacheLine:
        """The line that *cpu* spins on."""
        return self._nodes.lines[cpu.id]

    def has_successor(self, cpu: Cpu) -> bool:
        """Whether somebody has linked itself behind *cpu*."""
        return cpu in self._following

    def join(self, cpu: Cpu) -> Steps[bool]:
        """Swap the tail and link behind the predecessor. Value: whether there is one."""
        yield from self._line.write(cpu, self._lock.activity)
        previous, self.tail = self.tail, cpu
        if previous is None:
            return False
        yield from self.node(previous).store(cpu, self._lock.activity)
        self._following[previous] = cpu
        previous.poke(self._lock, cpu.pending)  # it may wait for this link
        if cpu.pending:
            yield cpu.take_pending()
        return True

    def leave(self, cpu: Cpu) -> bool:
        """Empty the queue if *cpu* is the last, and say whether it was. The caller has accessed the line."""
        if self.tail is not cpu:
            return False
        self.tail = None
        return True

    def link(self, cpu: Cpu) -> Steps[Cpu | None]:
        """Wait for the link of whoever is behind *cpu*. Value: that cpu."""
        while cpu not in self._following:
            yield from cpu.park(self._lock, self._lock.activity)
        return self._following[cpu]

    def successor(self, cpu: Cpu) -> Steps[Cpu]:
        """Wait for the link of whoever is behind *cpu* and write its node. Value: that cpu, to be poked."""
        if cpu.pending:
            yield cpu.take_pending()
        if cpu not in self._following:
            yield from self.link(cpu)
        following = self._following.pop(cpu)
        yield from self.node(following).store(cpu, self._lock.activity)
        return following
