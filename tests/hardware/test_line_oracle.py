"""Is the line's queue what a plain simpy.Resource with a Timeout for each transfer would do?

The oracle knows nothing of `pending`, `busy_until` or `resume`. An access that cannot be served by the cpu's
own copy requests the resource; when it is granted, the access finds out who has copies (a set of cpus), takes
the cost from a table of its own, and holds the resource while the line is busy.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import simpy
from hypothesis import assume, given
from hypothesis import strategies as st
from machines import (
    CROSS_CLUSTER,
    CROSS_SOCKET,
    HIT,
    RMW,
    SAME_CLUSTER,
    SHARED_READ,
    run,
    small_machine,
)

from sim.engine import Steps
from sim.hardware import Cpu

Plan = list[list[tuple[int, bool, int]]]
"""For each cpu its accesses: which line, whether to write, after how much thinking (ps, not 0)."""

LINES = 2


def distance(a: int, b: int) -> int:
    if a // 4 == b // 4:
        return SAME_CLUSTER
    return CROSS_CLUSTER if a // 8 == b // 8 else CROSS_SOCKET


class PlainLine:
    """A line in the memory of socket 0, first owned by cpu 0."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.server = simpy.Resource(env)
        self.copies = {0}
        self.lands: dict[int, int] = {}  # cluster -> when its copy is there
        self.arrivals: list[int] = []
        self.grants: list[int] = []  # after a wait

    def access(self, cpu: int, write: bool) -> Generator[simpy.Event, Any, None]:
        came = self.env.now
        self.arrivals.append(came)
        if not write and cpu in self.copies:
            yield self.env.timeout(HIT)
            return
        with self.server.request() as granted:
            yield granted
            if self.env.now > came:
                self.grants.append(self.env.now)
            latency, busy = self.written(cpu) if write else self.read(cpu)
            yield self.env.timeout(busy)
        yield self.env.timeout(latency - busy)

    def written(self, cpu: int) -> tuple[int, int]:
        others = self.copies - {cpu}
        self.copies = {cpu}
        self.lands = {}
        cost = max((distance(cpu, other) for other in others), default=RMW)
        return cost, cost

    def read(self, cpu: int) -> tuple[int, int]:
        only = len(self.copies) == 1 and not self.lands
        nearest = min(distance(cpu, other) for other in self.copies)
        self.copies.add(cpu)
        if only:
            self.lands[cpu // 4] = self.env.now + nearest
            return nearest, nearest
        if nearest == SAME_CLUSTER:
            return max(nearest, self.lands.get(cpu // 4, 0) - self.env.now), 0
        latency = CROSS_CLUSTER if cpu // 8 == 0 else nearest  # socket 0 is the home: it has the data too
        self.lands[cpu // 4] = self.env.now + latency
        return latency, SHARED_READ

    def has_tie(self) -> bool:
        """Whether an access came just when something else happened: what follows is up to the tie rule."""
        came = set(self.arrivals)
        return len(came) < len(self.arrivals) or not came.isdisjoint(self.grants)


def plain(plan: Plan) -> tuple[list[list[int]], bool]:
    """Latencies by cpu and access, and whether there was a tie."""
    env = simpy.Environment()
    lines = [PlainLine(env) for _ in range(LINES)]
    latencies: list[list[int]] = [[] for _ in plan]

    def thread(cpu: int) -> Generator[simpy.Event, Any, None]:
        for line, write, think in plan[cpu]:
            yield env.timeout(think)
            came = env.now
            yield from lines[line].access(cpu, write)
            latencies[cpu].append(env.now - came)

    for cpu in range(len(plan)):
        env.process(thread(cpu))
    env.run()
    return latencies, any(line.has_tie() for line in lines)


def fast(plan: Plan) -> list[list[int]]:
    machine = small_machine()
    lines = [machine.line(f"line {number}", owner=0) for number in range(LINES)]
    latencies: list[list[int]] = [[] for _ in plan]

    def body(cpu: Cpu) -> Steps[None]:
        for line, write, think in plan[cpu.id]:
            cpu.work(think, "user")
            came = cpu.now
            yield from lines[line].write(cpu) if write else lines[line].read(cpu)
            latencies[cpu.id].append(cpu.now - came)

    run(machine, dict.fromkeys(range(len(plan)), body))
    return latencies


def plans(writes: st.SearchStrategy[bool]) -> st.SearchStrategy[Plan]:
    access = st.tuples(st.integers(0, LINES - 1), writes, st.integers(1, 400_000))
    return st.lists(st.lists(access, max_size=6), min_size=1, max_size=16)


@pytest.mark.parametrize("writes", [st.just(True), st.booleans()], ids=["writes", "reads and writes"])
@given(data=st.data())
def test_does_every_access_take_as_long_as_in_the_plain_version(
    writes: st.SearchStrategy[bool], data: st.DataObject
) -> None:
    plan = data.draw(plans(writes))
    expected, tie = plain(plan)
    assume(not tie)
    assert fast(plan) == expected


@pytest.mark.parametrize("write_share", [1.0, 0.5, 0.1])
def test_does_a_crowded_line_do_the_same(write_share: float) -> None:
    compare_random_plans(write_share, range(5), runs=2)


@pytest.mark.slow
@pytest.mark.parametrize("write_share", [1.0, 0.5, 0.1, 0.02])
def test_do_long_runs_do_the_same(write_share: float) -> None:
    compare_random_plans(write_share, range(40), runs=25)


def compare_random_plans(write_share: float, seeds: range, runs: int) -> None:
    compared = 0
    for seed in seeds:
        stream = small_machine(seed=seed).engine.stream("plan")
        for _ in range(runs):
            longest = stream.choice([100_000, 1_000_000])
            plan = [
                [
                    (stream.randrange(LINES), stream.random() < write_share, stream.randrange(1, longest))
                    for _ in range(stream.randrange(60))
                ]
                for _ in range(16)
            ]
            expected, tie = plain(plan)
            if not tie:
                compared += 1
                assert fast(plan) == expected
    assert compared > len(seeds) * runs // 2
