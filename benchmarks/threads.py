"""Threads of the benchmarks, written as model code is: generators that can be compiled with the model."""

from __future__ import annotations

from collections import deque
from typing import Final

from sim.engine import PARKED, Activity, Engine, Steps, Thread
from sim.hardware import Cpu, Machine
from sim.mm import SynchronousFlush
from sim.sync import McsLock, QueueNodes

HOLD: Final = 50_000
"""How long a contended lock is held (ps)."""
THINK: Final = 100_000
"""From a release of it to the next request (ps)."""
USER: Final = Activity("user")
"""The activity of what is no lock."""


def lock_of(machine: Machine) -> McsLock:
    """The lock that all of them want."""
    return McsLock(QueueNodes(machine, "lock"), machine.line("lock"), Activity("lock"))


def delays(delay: int, times: int) -> Steps[None]:
    """*times* delays and nothing else."""
    for _ in range(times):
        yield delay


def parked_queue(engine: Engine, queue: deque[Thread], times: int) -> Steps[None]:
    """A first come, first served lock, written with `PARKED` and `wake`."""
    me = engine.active_process
    assert isinstance(me, Thread)
    for _ in range(times):
        queue.append(me)
        if queue[0] is not me:
            yield PARKED
        yield HOLD
        queue.popleft()
        if queue:
            engine.wake(queue[0])
        yield THINK


def locking(lock: McsLock, cpu: Cpu, times: int) -> Steps[None]:
    """The model's own lock: each access to its cache lines is served, priced and accounted."""
    for _ in range(times):
        yield from lock.acquire(cpu)
        cpu.work(HOLD, USER)
        yield from lock.release(cpu)
        cpu.work(THINK, USER)


def shooting(
    lock: McsLock, flush: SynchronousFlush, cpu: Cpu, times: int, latencies: list[int]
) -> Steps[None]:
    """Under the lock, get a page out of all other cpus' TLBs; from the request to the release (ps)."""
    for page in range(times):
        since = cpu.now
        yield from lock.acquire(cpu)
        yield from flush.flush(cpu, (page,))
        yield from lock.release(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        latencies.append(cpu.now - since)


def idle(length: int) -> Steps[None]:
    """A cpu that does nothing but take interrupts, for *length* ps."""
    yield length
