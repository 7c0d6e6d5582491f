"""A counting semaphore of user programs, on a futex (glibc 2.40 nptl/sem_waitcommon.c, sem_post.c).

The count and the number of waiters share one 64-bit word, so either operation is one atomic instruction on
its line as long as nobody has to wait. Who sees no token adds itself to the waiters, enters the kernel,
queues in the futex hash bucket under the bucket's lock and sleeps; who brings a token while somebody waits
enters the kernel and wakes the first (`futex`). A woken thread takes a token as any
other would: one that comes between may be faster.

    wait   load | cmpxchg
           load |-- no token: add a waiter | syscall | bucket lock: queue | asleep ... | load | cmpxchg
    post   add  |-- nobody waits
           add  |-- somebody waits: syscall | bucket lock: unqueue | wake
"""

from __future__ import annotations

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.sync.futex import Futex
from sim.sync.nodes import QueueNodes
from sim.sync.sleep import Scheduler


class Semaphore:
    """*tokens* on a line. Everything but the scheduler's part is charged to *activity*."""

    __slots__ = (
        "_activity",
        "_closed",
        "_futex",
        "_line",
        "_name",
        "_registered",
        "tokens",
    )

    def __init__(
        self,
        machine: Machine,
        name: str,
        line: CacheLine,
        nodes: QueueNodes,
        scheduler: Scheduler,
        activity: Activity,
        tokens: int = 0,
    ) -> None:
        self.tokens = tokens
        self._name = name
        self._line = line
        self._futex = Futex(machine, name, line, nodes, scheduler, activity)
        self._activity = activity
        self._registered = 0
        self._closed = False

    def wait(self, cpu: Cpu) -> Steps[bool]:
        """Take a token, asleep until there is one. Value: False if the semaphore was closed instead."""
        yield from self._line.read(cpu, self._activity)
        if self.tokens:
            yield from self._line.write(cpu, self._activity)
        if not self.tokens and not self._closed:
            yield from self._wait_slowly(cpu)
        if self._closed:
            return False
        self.tokens -= 1
        return True

    def _wait_slowly(self, cpu: Cpu) -> Steps[None]:
        """__new_sem_wait_slow64, up to the cmpxchg that takes the token."""
        yield from self._line.write(cpu, self._activity)
        self._registered += 1
        while not self.tokens and not self._closed:
            yield from self._futex.wait(cpu, self._is_empty, f"a token of {self._name}")
            yield from self._line.read(cpu, self._activity)
            if self.tokens:
                yield from self._line.write(cpu, self._activity)
        self._registered -= 1

    def _is_empty(self) -> bool:
        return not self.tokens and not self._closed

    def post(self, cpu: Cpu) -> Steps[None]:
        """Bring a token, and wake who waits for one."""
        yield from self._line.write(cpu, self._activity)
        self.tokens += 1
        if self._registered:
            yield from self._futex.wake(cpu)

    def close(self, cpu: Cpu) -> Steps[None]:
        """The run is over: nobody waits any more, now or later. An instrument of the run."""
        self._closed = True
        while self._futex.waiters:
            yield from self._futex.wake_first(cpu)


class Channel:
    """Tokens that some threads put in and others take out; one with a *capacity* makes senders wait.

    A bounded buffer is two semaphores, one of the tokens and one of the room for more.
    """

    __slots__ = ("_room", "_tokens")

    def __init__(
        self,
        machine: Machine,
        name: str,
        home: int,
        nodes: QueueNodes,
        scheduler: Scheduler,
        tokens: int,
        capacity: int | None,
    ) -> None:
        activity = machine.activity(f"channel: {name}")

        def semaphore(what: str, count: int) -> Semaphore:
            line = machine.line(what, home, owner=0)
            return Semaphore(machine, what, line, nodes, scheduler, activity, count)

        self._tokens = semaphore(name, tokens)
        self._room = None if capacity is None else semaphore(f"room of {name}", capacity - tokens)

    def send(self, cpu: Cpu) -> Steps[None]:
        """Put a token in, asleep until there is room."""
        if self._room is not None:
            has_room = yield from self._room.wait(cpu)
            if not has_room:
                return
        yield from self._tokens.post(cpu)

    def receive(self, cpu: Cpu) -> Steps[None]:
        """Take a token out, asleep until there is one."""
        taken = yield from self._tokens.wait(cpu)
        if taken and self._room is not None:
            yield from self._room.post(cpu)

    def close(self, cpu: Cpu) -> Steps[None]:
        """The run is over: nobody waits any more."""
        yield from self._tokens.close(cpu)
        if self._room is not None:
            yield from self._room.close(cpu)
