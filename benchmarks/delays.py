"""How many delays a second: the engine beside SimPy, salabim, the least that Python can do, and C++."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import partial
from heapq import heapify, heappop, heapreplace
from itertools import count
from pathlib import Path
from typing import Any, Final

import salabim
import simpy

from benchmarks import native, threads
from benchmarks.options import Options
from benchmarks.table import Row
from benchmarks.timing import Run, Seconds, cpu_seconds, in_turns, ratio
from sim.engine import Engine

TITLE: Final = "Delays, by processes"
DELAYS: Final = 96_000
"""In all processes together."""
PROCESSES: Final = (1, 64, 384)
CPP_DELAYS: Final = 9_600_000
"""So many of the C++ loop, which needs more of them to be timed."""
CIMBA_DELAYS: Final = 960_000
"""So many of cimba, which takes no turns: it compiles its model for seconds in each process."""


def lengths(processes: int) -> list[int]:
    """One delay a process (ps): all different, and the same in every run."""
    return [1000 + number * 7919 % 997 for number in range(processes)]


def on_the_engine(processes: int, total: int = DELAYS) -> Run:
    engine = Engine()
    for delay in lengths(processes):
        engine.process(threads.delays(delay, total // processes))
    return engine.run


def on_simpy(processes: int, total: int = DELAYS) -> Run:
    def body(delay: int) -> Generator[simpy.Event, Any, None]:
        for _ in range(total // processes):
            yield env.timeout(delay)

    env = simpy.Environment()
    for delay in lengths(processes):
        env.process(body(delay))
    return env.run


def on_salabim(processes: int, total: int = DELAYS) -> Run:
    class Body(salabim.Component):
        def process(self, time: int) -> Iterator[object]:
            for _ in range(total // processes):
                yield self.hold(time)

    env = salabim.Environment(yieldless=False)  # its faster mode
    for delay in lengths(processes):
        Body(env=env, time=delay)
    run: Run = env.run
    return run


def on_a_bare_heap(processes: int, total: int = DELAYS) -> Run:
    """No checks, no events, no names: what is left is the interpreter."""

    def body(delay: int) -> Iterator[int]:
        for _ in range(total // processes):
            yield delay

    def run() -> None:
        keys = count()
        heap = [(0, next(keys), body(delay).__next__) for delay in lengths(processes)]
        heapify(heap)
        while heap:
            now, _, advance = heap[0]
            try:
                heapreplace(heap, (now + advance(), next(keys), advance))
            except StopIteration:
                heappop(heap)

    return run


OURS: Final = "cortensim: `yield delay`"
SIMPY: Final = "SimPy: `yield env.timeout(delay)`"
SALABIM: Final = "salabim: `yield self.hold(delay)`"
HEAP: Final = "a bare heap and generators"
CPP: Final = "a C++ loop of coroutines"
CIMBA: Final = "cimba: `hold(delay)`, compiled with Numba"
CONTESTANTS: Final[dict[str, Callable[[int], Run]]] = {
    OURS: on_the_engine,
    SIMPY: on_simpy,
    SALABIM: on_salabim,
    HEAP: on_a_bare_heap,
}


def measure(options: Options) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        loop = native.build("loop", Path(folder))
        taken = {processes: _seconds(processes, loop, options) for processes in PROCESSES}
    names = list(taken[PROCESSES[0]])
    for name in names:
        best = {processes: DELAYS / min(seconds[name]) / 1e6 for processes, seconds in taken.items()}
        yield Row(name, "M/s", best, digits=2)
    if loop is None:
        yield Row(f"{CPP}: left out, no C++ compiler", "")
    if options.cimba is None:
        yield Row(f"{CIMBA}: left out, not asked for (`--cimba PYTHON`)", "")
    for name in names[1:]:
        if name in (SIMPY, SALABIM):
            times = {processes: ratio(seconds[name], seconds[OURS]) for processes, seconds in taken.items()}
            yield Row(f"cortensim over {name.partition(':')[0]}", "times", times, digits=2)
        else:
            times = {processes: ratio(seconds[OURS], seconds[name]) for processes, seconds in taken.items()}
            yield Row(f"{name.partition(':')[0]} over cortensim", "times", times, digits=2)


def _seconds(processes: int, loop: Path | None, options: Options) -> Seconds:
    contestants: dict[str, Callable[[], float]] = {
        name: partial(lambda build: cpu_seconds(build(processes)), build)
        for name, build in CONTESTANTS.items()
    }
    if loop is not None:
        contestants[CPP] = lambda: (
            _printed(str(loop), str(processes), str(CPP_DELAYS))[0] * DELAYS / CPP_DELAYS
        )
    taken = in_turns(contestants, options.rounds)
    if options.cimba is not None:
        program = str(Path(__file__).with_name("cimba_delays.py"))
        seconds = _printed(options.cimba, program, str(processes), str(CIMBA_DELAYS), str(options.rounds))
        taken[CIMBA] = [each * DELAYS / CIMBA_DELAYS for each in seconds]
    return taken


def _printed(*command: str) -> list[float]:
    """What a program prints: the cpu time of each round."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(seconds) for seconds in done.stdout.split()]
