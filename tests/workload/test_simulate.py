"""What does one point measure, and is it the same every time?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest
from kernels import KINDS
from machines import NS
from plain import BUDGET, measure, workload

from sim.engine import Probe
from sim.engine.probe import CpuView
from sim.errors import BudgetExceeded, ModelError
from sim.workload import Budget
from sim.workload.run import START
from sim.workload.thread import Worker
from sim.workload.window import Record

US = 1000 * NS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("placement", ["low", "high"])
def test_is_a_point_the_same_for_the_same_seed(kind: str, placement: str) -> None:
    first, second = (measure(kind=kind, placement=placement, threads=5, seed=7) for _ in range(2))
    assert first == second
    assert first != measure(kind=kind, placement=placement, threads=5, seed=8)


@pytest.mark.ci
def test_is_a_point_the_same_for_any_hash_seed() -> None:
    code = (
        "from plain import measure; from kernels import KINDS;"
        "print([measure(kind=kind, placement='high', threads=6) for kind in KINDS])"
    )
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, (tests.parent, tests, tests / "workload")))
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_what_are_the_two_throughputs(threads: int) -> None:
    """Work done over time, and what a benchmark makes of the mean latency of some requests."""
    point = measure(threads=threads)
    assert point.operations == threads * 4
    assert point.throughput_ops_per_us == pytest.approx(point.operations * 1000 / point.simulated_ns)
    assert point.throughput_from_latency_ops_per_us == pytest.approx(threads * 1000 / point.latency_mean_ns)
    assert point.latency_p50_ns <= point.latency_p95_ns <= point.latency_p99_ns


def compute(times: list[str], **changes: Any) -> Any:
    """A workload without memory management whose requests differ by placement only."""
    return workload(thread=[{"compute": {"time": time}} for time in times], **changes)


def test_what_is_the_latency_of_a_request() -> None:
    """A request is what its steps take, and the timestamp behind it."""
    point = measure(compute(["3 us", "400 ns"]), threads=2)
    assert point.latency_mean_ns == point.latency_p50_ns == point.latency_p99_ns == 3410
    assert point.throughput_from_latency_ops_per_us == pytest.approx(2000 / 3410)
    assert point.breakdown_ns_per_op["user"] == 3410


def test_do_only_the_measured_requests_count() -> None:
    """Request j takes 10 j ps; 1 and 2 of 4 are measured. All are operations."""
    record, worker = Record(first=1, last=2), Worker(0, cast(Any, None), cast(Any, None))
    for request in range(4):
        worker.request = request
        record.add(worker, 100, 100 + 10 * request, 1)
    assert (record.latencies, record.operations) == ([10, 20], 4)


def test_is_a_first_request_that_costs_more_left_out() -> None:
    """Each thread faults its page in in its request 0; requests 1 to 3 hit the TLB."""
    spec = workload(
        layout={"request": "4 KiB", "stride": "64 KiB", "slots": 1},
        setup=[{"mmap": {"at": "layout"}}],
        thread=[{"touch": {"at": "slot"}}],
        measured={"first": 1, "last": 3},
    )
    point = measure(spec, threads=2)
    assert (point.operations, point.latency_mean_ns) == (8, 1 + 10)  # the access, the timestamp


def test_does_the_breakdown_sum_to_the_time_of_all_threads() -> None:
    for kind in KINDS:
        point = measure(kind=kind, threads=4, placement="high")
        per_operation = point.simulated_ns * 4 / point.operations
        assert sum(point.breakdown_ns_per_op.values()) == pytest.approx(per_operation)
        assert list(point.breakdown_ns_per_op) == sorted(point.breakdown_ns_per_op)


def test_are_runs_repeated_until_enough_threads_have_been_measured() -> None:
    once, often = measure(workload(), threads=3), measure(workload(pooled_threads=10), threads=3)
    assert often.operations == 4 * once.operations  # 4 runs of 3 threads
    assert often.events > 3 * once.events
    assert measure(workload(pooled_threads=3), threads=3) == once


class StartTimes(Probe):
    """When each thread, by number, was charged for its start the last time: when it has seen the flag."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def charge(self, cpu: CpuView, activity: str, cost: int) -> None:
        if activity == START:
            self.seen[cpu.id] = cpu.now


def start_times(threads: int, seed: int) -> list[int]:
    times = StartTimes()
    measure(compute(["1 us"]), threads=threads, seed=seed, probe=times)
    return [times.seen[cpu] for cpu in range(threads)]


def test_do_threads_start_in_an_order_that_is_not_the_order_of_cpus() -> None:
    """Nearer clusters see the flag first, as they should; inside a cluster the number means nothing."""
    ahead = pairs = 0
    orders = set()
    for seed in range(60):
        times = start_times(16, seed)
        orders.add(tuple(sorted(range(16), key=times.__getitem__)))
        for cluster in (times[4:8], times[8:12], times[12:16]):
            for one, other in combinations(cluster, 2):
                pairs += one != other
                ahead += one < other
    assert len(orders) == 60
    assert pairs > 400
    assert abs(ahead / pairs - 0.5) < 0.06


class Frames(Probe):
    """Which cpus took frames before the run began."""

    def __init__(self) -> None:
        self.cpus: list[int] = []
        self.before: list[int] | None = None

    def frame_allocated(self, cpu: CpuView, frame: int, order: int) -> None:
        self.cpus.append(cpu.id)

    def run_begins(self, cpus: Sequence[CpuView]) -> None:
        self.before = list(self.cpus)


def test_do_threads_use_their_stacks_before_the_clock_runs() -> None:
    """Three pages each; cpu 0, which runs first, makes the tables of levels 3 to 1 as well."""
    frames = Frames()
    stack = {"size": "64 KiB", "touched": "12 KiB"}
    point = measure(compute(["1 us"], stack=stack), kind="linux", threads=4, probe=frames)
    assert frames.before == frames.cpus
    assert Counter(frames.cpus) == {0: 3 + 3, 1: 3, 2: 3, 3: 3}
    assert set(point.breakdown_ns_per_op) <= {"user", START, "idle"}


@pytest.mark.parametrize("threads", [0, 17])
def test_are_more_threads_than_cpus_refused(threads: int) -> None:
    with pytest.raises(ModelError, match=rf"{threads} threads on a machine of 16 cpus"):
        measure(threads=threads)


def test_is_the_budget_of_a_point_kept() -> None:
    needed = measure(threads=4).events
    assert measure(threads=4, budget=Budget(needed, BUDGET.simulated_ps)).events == needed
    with pytest.raises(BudgetExceeded, match="events"):
        measure(threads=4, budget=Budget(needed - 1, BUDGET.simulated_ps))
    with pytest.raises(BudgetExceeded, match="simulated time"):
        measure(threads=4, budget=Budget(BUDGET.events, 20 * US))


def test_do_pooled_runs_share_the_limit_of_events() -> None:
    spec = workload(pooled_threads=8)
    needed = measure(spec, threads=4).events
    with pytest.raises(BudgetExceeded, match="events"):
        measure(spec, threads=4, budget=Budget(needed - 1, BUDGET.simulated_ps))
