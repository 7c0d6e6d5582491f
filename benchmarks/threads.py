"""Threads of the benchmarks, written as model code is: generators that can be compiled with the model."""

from __future__ import annotations

from sim.engine import PARKED, Engine, Steps, Thread
from sim.hardware import Cpu
from sim.mm import SynchronousFlush
from sim.sync import McsLock

HOLD = 50_000
"""How long a contended lock is held (ps)."""
THINK = 100_000
"""From a release of it to the next request (ps)."""


def delays(delay: int, times: int) -> Steps[None]:
    """*times* delays and nothing else."""
    for _ in range(times):
        yield delay


def parked_queue(engine: Engine, queue: list[Thread], times: int) -> Steps[None]:
    """A first come, first served lock, written with `PARKED` and `wake`."""
    me = engine.active_process
    assert isinstance(me, Thread)
    for _ in range(times):
        queue.append(me)
        if queue[0] is not me:
            yield PARKED
        yield HOLD
        queue.pop(0)
        if queue:
            engine.wake(queue[0])
        yield THINK


def locking(lock: McsLock, cpu: Cpu, times: int) -> Steps[None]:
    """The model's own lock: each access to its cache lines is served, priced and accounted."""
    for _ in range(times):
        yield from lock.acquire(cpu)
        cpu.work(HOLD, "user")
        yield from lock.release(cpu)
        cpu.work(THINK, "user")


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
