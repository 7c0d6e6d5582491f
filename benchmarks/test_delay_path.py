"""How many delays a second: the engine beside SimPy, salabim and the least that Python can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heapreplace
from itertools import count
from statistics import median
from time import perf_counter

import pytest
import salabim
import simpy
from pytest_benchmark.fixture import BenchmarkFixture

from sim.engine import Engine

DELAYS = 96_000
"""In all processes together."""

Run = Callable[[], object]


def delays(processes: int) -> list[int]:
    """One delay a process: all different, and the same in every run."""
    return [1000 + number * 7919 % 997 for number in range(processes)]


def on_the_engine(processes: int) -> Run:
    def body(delay: int) -> Iterator[int]:
        for _ in range(DELAYS // processes):
            yield delay

    engine = Engine()
    for delay in delays(processes):
        engine.process(body(delay))
    return engine.run


def on_simpy(processes: int) -> Run:
    def body(delay: int) -> Iterator[simpy.Event]:
        for _ in range(DELAYS // processes):
            yield env.timeout(delay)

    env = simpy.Environment()
    for delay in delays(processes):
        env.process(body(delay))
    return env.run


def on_salabim(processes: int) -> Run:
    class Body(salabim.Component):
        def process(self, time: int) -> Iterator[object]:
            for _ in range(DELAYS // processes):
                yield self.hold(time)

    env = salabim.Environment(yieldless=False)  # its faster mode
    for delay in delays(processes):
        Body(env=env, time=delay)
    return env.run


def on_a_bare_heap(processes: int) -> Run:
    """No checks, no events, no names: what is left is the interpreter."""

    def body(delay: int) -> Iterator[int]:
        for _ in range(DELAYS // processes):
            yield delay

    def run() -> None:
        keys = count()
        heap = [(0, next(keys), body(delay).__next__) for delay in delays(processes)]
        heapify(heap)
        while heap:
            now, _, advance = heap[0]
            try:
                heapreplace(heap, (now + advance(), next(keys), advance))
            except StopIteration:
                heappop(heap)

    return run


CONTESTANTS = {
    "cortensim: yield delay": on_the_engine,
    "SimPy: yield env.timeout(delay)": on_simpy,
    "salabim: yield self.hold(delay)": on_salabim,
    "a bare heap and generators": on_a_bare_heap,
}


@pytest.mark.parametrize("contestant", CONTESTANTS)
@pytest.mark.parametrize("processes", [1, 64, 384])
def test_delays(rate: Callable[..., None], processes: int, contestant: str) -> None:
    rate(f"delays, processes: {processes}", contestant, DELAYS, lambda: CONTESTANTS[contestant](processes))


def test_is_a_delay_at_least_1_8_times_as_fast_as_a_simpy_timeout(
    benchmark: BenchmarkFixture, report: Callable[[str, str, str], None]
) -> None:
    """At 384 processes: the median of pairs, of which both halves see the same mood of the machine."""
    ratios = []

    def pair() -> None:
        seconds = []
        for build in (on_simpy, on_the_engine):
            run = build(384)
            start = perf_counter()
            run()
            seconds.append(perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])

    benchmark.group = "delays, processes: 384, in pairs"
    benchmark.pedantic(pair, rounds=15, warmup_rounds=1)
    report(benchmark.group, "SimPy's time over cortensim's", f"{median(ratios):.2f} times")
    assert median(ratios) >= 1.8
