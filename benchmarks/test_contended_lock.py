"""How many acquisitions a second of one lock that every process wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pytest
import simpy

from sim.engine import PARKED, Activity, Engine, Steps, Thread
from sim.files import load_spec
from sim.hardware import Cpu, Machine
from sim.sync import McsLock, QueueNodes

ACQUISITIONS = 19_200
HOLD, THINK = 50_000, 100_000

Run = Callable[[], object]


def resource_on_simpy(processes: int) -> Run:
    def body() -> Iterator[simpy.Event]:
        for _ in range(ACQUISITIONS // processes):
            with lock.request() as request:
                yield request
                yield env.timeout(HOLD)
            yield env.timeout(THINK)

    env = simpy.Environment()
    lock = simpy.Resource(env)
    for _ in range(processes):
        env.process(body())
    return env.run


def resource_on_the_engine(processes: int) -> Run:
    def body() -> Steps[None]:
        for _ in range(ACQUISITIONS // processes):
            with lock.request() as request:
                yield request
                yield HOLD
            yield THINK

    engine = Engine()
    lock = simpy.Resource(engine)
    for _ in range(processes):
        engine.process(body())
    return engine.run


def queue_of_parked_threads(processes: int) -> Run:
    """The same first come, first served lock, written with `PARKED` and `wake`."""

    def body() -> Steps[None]:
        me = engine.active_process
        for _ in range(ACQUISITIONS // processes):
            queue.append(me)
            if queue[0] is not me:
                yield PARKED
            yield HOLD
            queue.popleft()
            if queue:
                engine.wake(queue[0])
            yield THINK

    engine = Engine()
    queue: deque[Thread] = deque()
    for _ in range(processes):
        engine.process(body())
    return engine.run


def mcs_lock_of_the_model(processes: int) -> Run:
    """Not the same work: a real queue lock, with every access to its cache lines served and accounted."""

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(ACQUISITIONS // processes):
            yield from lock.acquire(cpu)
            cpu.work(HOLD, Activity("user"))
            yield from lock.release(cpu)
            cpu.work(THINK, Activity("user"))

    engine = Engine()
    machine = Machine(engine, load_spec("machine", "epyc-9965").spec, online=processes)
    lock = McsLock(QueueNodes(machine, "lock"), machine.line("lock"), Activity("lock"))
    for cpu in machine.cpus:
        cpu.thread = engine.process(body(cpu))
    return engine.run


CONTESTANTS = {
    "SimPy's Resource on SimPy": resource_on_simpy,
    "SimPy's Resource on cortensim": resource_on_the_engine,
    "a queue of parked threads on cortensim": queue_of_parked_threads,
    "McsLock on cortensim's cache lines": mcs_lock_of_the_model,
}


@pytest.mark.parametrize("contestant", CONTESTANTS)
@pytest.mark.parametrize("processes", [1, 64, 384])
def test_acquisitions(rate: Callable[..., None], processes: int, contestant: str) -> None:
    group = f"acquisitions of one lock, processes: {processes}"
    rate(group, contestant, ACQUISITIONS, lambda: CONTESTANTS[contestant](processes))
