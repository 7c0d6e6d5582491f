"""What `benchmarks.instructions` counts, run under valgrind: `python -m benchmarks.counted LIBRARY JOBS`.

*LIBRARY* is `cpp/counting.cpp`, which marks the parts; *JOBS* holds specs of points, pickled, because to read
their files takes longer under valgrind than to simulate them. Prints the events of each job, in the order in
which they are counted.
"""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from benchmarks import threads
from sim.engine import Engine
from sim.hardware import Machine
from sim.mm import SynchronousFlush
from sim.workload import Budget, simulate

Job: TypeAlias = Callable[[], int]
"""Simulates one thing, always the same; value: its events."""

YARDSTICK: Final = "the yardstick: a bare heap and generators"


def yardstick() -> int:
    """What the interpreter takes for 10,000 delays of 64 generators in a heap: no code of the project."""
    from heapq import heapreplace

    def body(delay: int) -> Any:
        while True:
            yield delay

    heap = [(0, number, body(1000 + number * 7919 % 997).__next__) for number in range(64)]
    for number in range(64, 10_064):
        now, _, advance = heap[0]
        heapreplace(heap, (now + advance(), number, advance))
    return 10_000


def delays() -> int:
    engine = Engine()
    for number in range(64):
        engine.process(threads.delays(1000 + number * 7919 % 997, 200))
    engine.run()
    return engine.events


def shootdowns(spec: Any) -> int:
    engine = Engine()
    machine = Machine(engine, spec, online=33)
    lock = threads.lock_of(machine)
    flush = SynchronousFlush(machine, machine.line("generation"))
    for cpu in machine.cpus:
        flush.activate(cpu)
        body = threads.shooting(lock, flush, cpu, 4, []) if cpu.id < 4 else threads.idle(10**12)
        cpu.thread = engine.process(body)
    engine.run()
    return engine.events


def point(machine: Any, design: Any, workload: Any, placement: str, cpus: int, seed: int) -> int:
    budget = Budget(events=1 << 30, simulated_ps=1 << 60)
    return simulate(
        machine, design, workload, placement=placement, threads=cpus, seed=seed, budget=budget
    ).events


def jobs(specs: dict[str, Any]) -> dict[str, Job]:
    """By name, in order; *specs* has the machine of the shootdowns and the arguments of each point."""
    found: dict[str, Job] = {YARDSTICK: yardstick, "12,800 delays of 64 threads": delays}
    for name, needed in specs.items():
        found[name] = partial(point, *needed) if isinstance(needed, tuple) else partial(shootdowns, needed)
    return found


def main() -> None:
    library = ctypes.CDLL(sys.argv[1])
    todo = jobs(pickle.loads(Path(sys.argv[2]).read_bytes()))
    for job in todo.values():  # what is made once in a process is no cost of a simulation
        job()
    gc.collect()
    gc.disable()  # when a collection comes depends on what was imported
    library.count_from_here()
    for name, job in todo.items():
        events = job()
        library.counted()
        print(f"{events} {name}", flush=True)


if __name__ == "__main__":
    main()
