"""The optimistic spinners of a sleeping lock: they queue, and the first of them watches the owner.

    osq    head ----------> spins on the lock's owner
           b, c, d -------> each spins on its own node, until the one before it leaves

Who is in the middle leaves when its cpu is wanted for something else (need_resched). It takes itself out in
three steps, in each of which a neighbour may be leaving as well:

    A   prev.next: me -> nothing     fails if prev has just made me the head, or is leaving itself
    B   next = my next               or, if I am the last: tail: me -> prev, and that is all
    C   next.prev = prev, prev.next = next

Preemption is off from before a spinner joins until it has left.

Invariant: there is one head at most; *previous* and *following* of a waiter that does not leave agree.

Source: Linux 6.13, kernel/locking/osq_lock.c. Left out: a waiter that leaves because the vcpu before it has
been preempted.
"""

from __future__ import annotations

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu
from sim.sync.nodes import Charged, QueueNodes
from sim.sync.sleep import Scheduler


class SpinnerQueue:
    """The OSQ of *lock*; its tail lies on *line*. *head* is who watches the owner."""

    __slots__ = ("_following", "_line", "_lock", "_nodes", "_previous", "_scheduler", "_tail", "head")

    def __init__(self, lock: Charged, nodes: QueueNodes, line: CacheLine, scheduler: Scheduler) -> None:
        self.head: Cpu | None = None
        self._lock = lock
        self._line = line
        self._nodes = nodes
        self._scheduler = scheduler
        self._tail: Cpu | None = None
        self._following: dict[Cpu, Cpu] = {}
        self._previous: dict[Cpu, Cpu] = {}

    @property
    def is_locked(self) -> bool:
        """Whether anybody spins (osq_is_locked)."""
        return self._tail is not None

    def lock(self, cpu: Cpu) -> Steps[bool]:
        """Wait until *cpu* is the head. Value: False if it has left the queue, as others want the cpu."""
        activity = self._lock.activity
        cpu.preempt_off = True
        yield from self._line.write(cpu, activity)  # xchg tail
        previous, self._tail = self._tail, cpu
        if previous is None:
            self.head = cpu
            return True
        self._previous[cpu] = previous
        yield from self._node(previous).store(cpu, activity)
        self._following[previous] = cpu
        previous.poke(self._lock, cpu.pending)  # it may wait for this link
        if cpu.pending:
            yield cpu.take_pending()
        while self.head is not cpu:
            if self._scheduler.need_resched(cpu):
                left = yield from self._leave(cpu)
                if left:
                    cpu.preempt_off = False
                    return False
            else:
                yield from self._scheduler.spin(cpu, self._lock, activity)
        del self._previous[cpu]
        yield from self._node(cpu).read(cpu, activity)
        return True

    def unlock(self, cpu: Cpu) -> Steps[None]:
        """Give up the tail if nobody follows, else make the next spinner the head."""
        activity = self._lock.activity
        yield from self._line.write(cpu, activity)  # cmpxchg tail: self -> empty
        if self._tail is cpu:
            self._tail = self.head = None
            cpu.preempt_off = False
            return
        yield from self._node(cpu).write(cpu, activity)  # xchg own next
        following = yield from self._take_next(cpu, None)
        self.head = None
        if following is not None:  # or who followed has left
            yield from self._node(following).store(cpu, activity)
            self.head = following
            following.poke(self._lock, cpu.pending)
        cpu.preempt_off = False

    def _leave(self, cpu: Cpu) -> Steps[bool]:
        """Take *cpu* out of the middle. Value: False if it has become the head meanwhile."""
        activity = self._lock.activity
        while True:
            previous = self._previous[cpu]
            yield from self._node(previous).write(cpu, activity)  # cmpxchg prev->next: self -> nothing
            if self._following.get(previous) is cpu:
                del self._following[previous]
                break
            if self.head is cpu:
                return False
            if self._previous[cpu] is previous:  # it makes us the head, or leaves: it will say so
                yield from cpu.park(self._lock, activity)
        following = yield from self._take_next(cpu, previous)
        del self._previous[cpu]
        if following is not None:
            yield from self._node(cpu).write(cpu, activity)  # xchg own next
            yield from self._node(following).store(cpu, activity)
            yield from self._node(previous).store(cpu, activity)
            self._previous[following] = previous
            self._following[previous] = following
            following.poke(self._lock, cpu.pending)
        previous.poke(self._lock, cpu.pending)
        if cpu.pending:
            yield cpu.take_pending()
        return True

    def _take_next(self, cpu: Cpu, new_tail: Cpu | None) -> Steps[Cpu | None]:
        """osq_wait_next: wait for the link of whoever is behind *cpu* and cut it.

        Value: that cpu, or None if *cpu* is the last, and *new_tail* is so now.
        """
        if cpu.pending:
            yield cpu.take_pending()
        while cpu not in self._following:
            if self._tail is cpu:
                yield from self._line.write(cpu, self._lock.activity)  # cmpxchg tail
                if self._tail is cpu:
                    self._tail = new_tail
                    return None
                continue
            yield from cpu.park(self._lock, self._lock.activity)
        return self._following.pop(cpu)

    def _node(self, cpu: Cpu) -> CacheLine:
        """The line that *cpu* spins on."""
        return self._nodes.lines[cpu.id]
