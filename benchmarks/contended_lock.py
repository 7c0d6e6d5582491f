"""How many acquisitions a second of one lock that every process wants."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, Final

import simpy

from benchmarks import threads
from benchmarks.options import Options
from benchmarks.table import Row
from benchmarks.threads import HOLD, THINK
from benchmarks.timing import Run, cpu_seconds, in_turns
from sim.engine import Engine, Steps, Thread
from sim.files import load_spec
from sim.hardware import Machine, MachineSpec

TITLE: Final = "Acquisitions of one lock, by processes"
ACQUISITIONS: Final = 19_200
PROCESSES: Final = (1, 64, 384)


def resource_on_simpy(processes: int) -> Run:
    def body() -> Generator[simpy.Event, Any, None]:
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
    engine = Engine()
    queue: deque[Thread] = deque()
    for _ in range(processes):
        engine.process(threads.parked_queue(engine, queue, ACQUISITIONS // processes))
    return engine.run


def mcs_lock_of_the_model(processes: int, total: int = ACQUISITIONS) -> Run:
    spec = load_spec("machine", "epyc-9965").spec
    assert isinstance(spec, MachineSpec)
    engine = Engine()
    machine = Machine(engine, spec, online=processes)
    lock = threads.lock_of(machine)
    for cpu in machine.cpus:
        cpu.thread = engine.process(threads.locking(lock, cpu, total // processes))
    return engine.run


CONTESTANTS: Final = {
    "SimPy's Resource on SimPy": resource_on_simpy,
    "SimPy's Resource on cortensim": resource_on_the_engine,
    "a queue of parked threads on cortensim": queue_of_parked_threads,
    "McsLock on cortensim's cache lines": mcs_lock_of_the_model,
}


def measure(options: Options) -> Iterator[Row]:
    taken = {
        processes: in_turns(
            {
                name: partial(lambda build, size: cpu_seconds(build(size)), build, processes)
                for name, build in CONTESTANTS.items()
            },
            options.rounds,
        )
        for processes in PROCESSES
    }
    for name in CONTESTANTS:
        best = {processes: ACQUISITIONS / min(seconds[name]) / 1e3 for processes, seconds in taken.items()}
        yield Row(name, "k/s", best)
