"""CNA, the compact NUMA-aware queued spin lock: a qspinlock whose queue keeps to one NUMA node for a while.

The head of the queue, while it waits for the word, looks at the waiter behind it. If that one sits on
another node and is not the last, it is moved to the end of a *secondary* queue. One waiter is looked at a
turn, so that after some turns only waiters of the *preferred* node are left in the main queue:

    main       head(n0) -> a(n1) -> b(n0) -> c(n2) -> d(n0)         head(n0) -> b(n0) -> c(n2) -> d(n0)
                           |  not the last: move it          ==>
    secondary  z(n3)                                                z(n3) -> a(n1)

    when the head takes the word                  next is                                preferred node
    somebody is behind                            the waiter behind                      as before
    the secondary queue is older than the         the first of the secondary queue,      of the next
        threshold                                 which goes before the main queue
    nobody is behind, somebody in the secondary   the first of the secondary queue,      of the next
                                                  which becomes the main queue
    both queues are empty                         nobody                                 of the next comer

Invariants: a waiter is in one of the two queues; only the head changes links, and never those of the last
waiter, to whom a newcomer may just be linking itself. Once in the main queue to stay, waiters are served in
its order. Nobody waits in the secondary queue for longer than the threshold and one turn.

Sources: A. Kogan, "Add NUMA-awareness to qspinlock" (LKML 2020-09-15, v11: patch 4; patch 3 was read as of
v15, whose head looks at more than one waiter); Dice and Kogan, "Compact NUMA-aware locks" (EuroSys 2019).
Left out: waiters with interrupts off keep their place (patch 5); the threshold is in time, not in jiffies.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Topology
from sim.sync.nodes import NodeQueue, QueueNodes
from sim.sync.spin import QueuedSpinLock


class _SplitQueue(NodeQueue):
    """The main queue, and the waiters that have been moved out of it."""

    __slots__ = ("secondary",)

    def __init__(self, lock: CnaLock, nodes: QueueNodes, line: CacheLine) -> None:
        super().__init__(lock, nodes, line)
        self.secondary: deque[Cpu] = deque()

    def behind(self, cpu: Cpu) -> Cpu | None:
        """Who has linked itself behind *cpu* in the main queue."""
        return self._following.get(cpu)

    def set_aside(self, cpu: Cpu) -> Cpu:
        """Move the waiter behind *cpu*, not the last one, to the secondary queue; returns who is next."""
        moved = self._following.pop(cpu)
        self._following[cpu] = self._following.pop(moved)
        self.secondary.append(moved)
        return self._following[cpu]

    def splice(self, cpu: Cpu) -> Cpu:
        """Put the secondary queue behind *cpu*, before those who are there; returns its first waiter."""
        moved, self.secondary = self.secondary, deque()
        first, last = moved[0], moved[-1]
        if self.tail is cpu:
            self.tail = last
        else:
            self._following[last] = self._following[cpu]
        self._following.update(pairwise((cpu, *moved)))
        return first


class CnaLock(QueuedSpinLock):
    """A queued spin lock that prefers waiters of one node for *threshold* ps at a time; nodes are those that
    the kernel sees of *topology*."""

    __slots__ = ("_preferred", "_since", "_split", "_topology", "threshold")

    def __init__(
        self,
        nodes: QueueNodes,
        line: CacheLine,
        activity: Activity,
        threshold: int,
        topology: Topology,
        name: str | None = None,
    ) -> None:
        super().__init__(nodes, line, activity, name)
        self._topology = topology
        self._queue = self._split = _SplitQueue(self, nodes, line)
        self.threshold = threshold
        self._preferred = 0
        self._since: int | None = None

    def _wait_in_queue(self, cpu: Cpu) -> Steps[None]:
        queue = self._split
        if not (yield from self._reach_head(cpu)):
            self._preferred = self._node_of(cpu)
        flush = self._since is not None and cpu.now - self._since > self.threshold
        ordered = False
        if not flush:
            ordered = yield from self._look_behind(cpu)
        yield from self._await_word(cpu)
        if queue.tail is cpu and queue.secondary:
            yield from self._touch(cpu, queue.secondary[-1])  # unlink its end from its beginning
        yield from self.line.write(cpu, self.activity)  # set locked; the tail: empty or the secondary queue's
        self._head = None
        self.holder = cpu
        if queue.tail is cpu:
            if not queue.secondary:
                queue.leave(cpu)
                return
            self._flush(cpu)
        elif flush:
            if cpu.pending:
                yield cpu.take_pending()
            yield from queue.link(cpu)
            yield from self._touch(cpu, queue.secondary[-1])  # link its end to the main queue
            self._flush(cpu)
        elif not ordered:
            if cpu.pending:
                yield cpu.take_pending()
            yield from queue.link(cpu)
            yield from self._look_behind(cpu)
        yield from self._promote_successor(cpu)

    def _look_behind(self, cpu: Cpu) -> Steps[bool]:
        """`cna_order_queue`: set the next waiter aside if it sits elsewhere. Value: whether there is one."""
        queue = self._split
        yield from queue.node(cpu).read(cpu, self.activity)
        behind = queue.behind(cpu)
        if behind is None:
            return False
        yield from queue.node(behind).read(cpu, self.activity)  # its node and its link
        if self._node_of(behind) == self._preferred:
            return True
        if queue.behind(behind) is not None:
            yield from queue.node(cpu).store(cpu, self.activity)  # own link, end of the secondary queue
            if queue.secondary:
                yield from self._touch(cpu, queue.secondary[-1])
            else:
                self._since = cpu.now
            yield from self._touch(cpu, behind)
            behind = queue.set_aside(cpu)
        yield from self._touch(cpu, behind)  # it inherits the preference
        return True

    def _node_of(self, cpu: Cpu) -> int:
        return self._topology.visible_node(cpu.node)

    def _touch(self, cpu: Cpu, waiter: Cpu) -> Steps[None]:
        """Write the node of *waiter*, which loads it again and spins on."""
        yield from self._split.node(waiter).store(cpu, self.activity)
        waiter.poke(self, cpu.pending)

    def _flush(self, cpu: Cpu) -> None:
        """Prefer the node of the waiter that has been set aside for longest."""
        self._preferred = self._node_of(self._split.splice(cpu))
        self._since = None
