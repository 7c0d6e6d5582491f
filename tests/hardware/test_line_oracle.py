"""Is the line's queue what a plain simpy.Resource with a Timeout for each transfer would do?

The oracle knows nothing of `pending`, `busy_until` or `resume`. An access that cannot be served by the cpu's
own copy requests the resource; when it is granted, the access finds out who has copies (a set of cpus), takes
the cost from a table of its own, and holds the resource while the line is busy. One whose sibling waits for
the resource requests it when that is granted, before all others. 16 cpus are 16 cores, or 8 cores of two
threads.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
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
    SIBLING,
    SIBLINGS,
    run,
    small_machine,
)

from sim.engine import Activity, Steps
from sim.hardware import Cpu

Plan = list[list[tuple[int, bool, int]]]
"""For each cpu its accesses: which line, whether to write, after how much thinking (ps, not 0)."""

LINES = 2


@dataclass(frozen=True)
class Layout:
    """Four clusters on two sockets."""

    cores: int
    changes: dict[str, Any]

    def core(self, cpu: int) -> int:
        return cpu % self.cores

    def cluster(self, cpu: int) -> int:
        return self.core(cpu) * 4 // self.cores

    def socket(self, cpu: int) -> int:
        return self.cluster(cpu) // 2

    def distance(self, a: int, b: int) -> int:
        if self.core(a) == self.core(b):
            return SIBLING
        if self.cluster(a) == self.cluster(b):
            return SAME_CLUSTER
        return CROSS_CLUSTER if self.socket(a) == self.socket(b) else CROSS_SOCKET


PLAIN = Layout(16, {})
SMT = Layout(8, {**SIBLINGS, "topology": {**SIBLINGS["topology"], "cores_per_cluster": 2, "smt_slowdown": 1}})
layouts = pytest.mark.parametrize("layout", [PLAIN, SMT], ids=["cores", "siblings"])


class PlainLine:
    """A line in the memory of socket 0, first owned by cpu 0."""

    def __init__(self, env: simpy.Environment, layout: Layout) -> None:
        self.env = env
        self.at = layout
        self.server = simpy.PriorityResource(env)
        self.misses: dict[
            tuple[int, bool], list[simpy.Event]
        ] = {}  # core, whether for writing -> who has joined
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
        miss = self.at.core(cpu), write
        under_way = next((self.misses[it] for it in ((miss[0], True), miss) if it in self.misses), None)
        leads = under_way is None and self.server.count > 0
        if under_way is not None:
            under_way.append(self.env.event())
            yield under_way[-1]
        elif leads:
            self.misses[miss] = []
        with self.server.request(priority=0 if under_way is not None else 1) as granted:
            yield granted
            for sibling in self.misses.pop(miss) if leads else ():
                sibling.succeed()
            if self.env.now > came:
                self.grants.append(self.env.now)
            latency, busy = self.written(cpu) if write else self.read(cpu)
            yield self.env.timeout(busy)
        yield self.env.timeout(latency - busy)

    def written(self, cpu: int) -> tuple[int, int]:
        at, local = self.at, RMW if cpu in self.copies else SIBLING
        others = [other for other in self.copies if at.core(other) != at.core(cpu)]
        self.copies = {cpu}
        self.lands = {}
        cost = max((at.distance(cpu, other) for other in others), default=local)
        return cost, cost

    def read(self, cpu: int) -> tuple[int, int]:
        only = len(self.copies) == 1 and not self.lands
        cluster = self.at.cluster(cpu)
        nearest = min(self.at.distance(cpu, other) for other in self.copies)
        self.copies.add(cpu)
        if only:
            self.lands[cluster] = self.env.now + nearest
            return nearest, nearest
        if nearest in (SIBLING, SAME_CLUSTER):
            there = HIT if nearest == SIBLING else nearest
            return max(there, self.lands.get(cluster, 0) - self.env.now), 0
        at_home = self.at.socket(cpu) == 0  # it has the data too
        latency = CROSS_CLUSTER if at_home else nearest
        self.lands[cluster] = self.env.now + latency
        return latency, SHARED_READ

    def has_tie(self) -> bool:
        """Whether an access came just when something else happened: what follows is up to the tie rule."""
        came = set(self.arrivals)
        return len(came) < len(self.arrivals) or not came.isdisjoint(self.grants)


def plain(plan: Plan, layout: Layout) -> tuple[list[list[int]], bool]:
    """Latencies by cpu and access, and whether there was a tie."""
    env = simpy.Environment()
    lines = [PlainLine(env, layout) for _ in range(LINES)]
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


def fast(plan: Plan, layout: Layout) -> list[list[int]]:
    machine = small_machine(layout.changes)
    lines = [machine.line(f"line {number}", owner=0) for number in range(LINES)]
    latencies: list[list[int]] = [[] for _ in plan]

    def body(cpu: Cpu) -> Steps[None]:
        for line, write, think in plan[cpu.id]:
            cpu.work(think, Activity("user"))
            came = cpu.now
            yield from lines[line].write(cpu) if write else lines[line].read(cpu)
            latencies[cpu.id].append(cpu.now - came)

    run(machine, dict.fromkeys(range(len(plan)), body))
    return latencies


def plans(writes: st.SearchStrategy[bool]) -> st.SearchStrategy[Plan]:
    access = st.tuples(st.integers(0, LINES - 1), writes, st.integers(1, 400_000))
    return st.lists(st.lists(access, max_size=6), min_size=1, max_size=16)


@layouts
@pytest.mark.parametrize("writes", [st.just(True), st.booleans()], ids=["writes", "reads and writes"])
@given(data=st.data())
def test_does_every_access_take_as_long_as_in_the_plain_version(
    writes: st.SearchStrategy[bool], layout: Layout, data: st.DataObject
) -> None:
    plan = data.draw(plans(writes))
    expected, tie = plain(plan, layout)
    assume(not tie)
    assert fast(plan, layout) == expected


@layouts
@pytest.mark.parametrize("write_share", [1.0, 0.5, 0.1])
def test_does_a_crowded_line_do_the_same(write_share: float, layout: Layout) -> None:
    compare_random_plans(write_share, layout, range(5), runs=2)


@pytest.mark.slow
@layouts
@pytest.mark.parametrize("write_share", [1.0, 0.5, 0.1, 0.02])
def test_do_long_runs_do_the_same(write_share: float, layout: Layout) -> None:
    compare_random_plans(write_share, layout, range(40), runs=25)


def compare_random_plans(write_share: float, layout: Layout, seeds: range, runs: int) -> None:
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
            expected, tie = plain(plan, layout)
            if not tie:
                compared += 1
                assert fast(plan, layout) == expected
    assert compared > len(seeds) * runs // 2
