"""Pipes and sched_yield in workloads: what is done, what is refused?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import raw_spec
from pydantic import ValidationError

from sim.designs import spec_model
from sim.hardware import MachineSpec
from sim.workload import Budget, Measurement, WorkloadSpec, simulate

BUDGET = Budget(events=1_000_000, simulated_ps=10**12)
SHARED = {"kernel": {"slice": "3 ms", "tick": "4 ms"}}
CODE = {"write": "100 ns", "read": "200 ns"}


def measure(threads: int, changes: dict[str, Any] | None = None, **fields: Any) -> Measurement:
    workload = WorkloadSpec.model_validate(
        {"name": "p", "title": "p", "window": {"warm_up": "20 us", "length": "200 us"}, **fields},
        strict=False,
    )
    machine = MachineSpec.model_validate(raw_spec(changes))
    design = spec_model("bench")(name="hardware", title="", family="bench")
    return simulate(machine, design, workload, placement="", threads=threads, seed=1, budget=BUDGET)


def to_and_fro(pipe: dict[str, Any], changes: dict[str, Any] | None = None, **fields: Any) -> Measurement:
    roles = [
        {"who": "even", "steps": [{"timed": [{"send": "ping"}, {"receive": "pong"}]}]},
        {"who": "odd", "measured": False, "steps": [{"receive": "ping"}, {"send": "pong"}]},
    ]
    channels = {name: {"shared_by": 2, "pipe": pipe} for name in ("ping", "pong")}
    return measure(2, changes, channels=channels, roles=roles, **fields)


def test_is_a_round_trip_two_writes_two_reads_and_a_sleep_of_each() -> None:
    """What the calls cost is on the way of the byte; all but the wait for the reader's own look at the
    pipe."""
    paid, free = to_and_fro(CODE), to_and_fro({"system_calls": False})
    assert paid.context_switches_per_op == pytest.approx(4, abs=0.2)
    assert 2 * (100 + 200) <= paid.latency_mean_ns - free.latency_mean_ns <= 2 * (100 + 200 + 4 * 50)


def test_do_two_threads_of_one_cpu_switch_and_never_idle() -> None:
    """Two switches of 1 us, two wake-ups of 0.5 us, the calls, and no cpu to be woken."""
    measured = to_and_fro(CODE, SHARED, cpus=1)
    assert measured.latency_mean_ns == pytest.approx(2 * (1000 + 500 + 100 + 200 + 2 * 50), rel=0.05)
    assert measured.idle_share == pytest.approx(15 / 16, abs=0.01)  # the other cpus of the machine


def test_does_a_yield_let_others_run_and_cost_its_code_where_there_are_none() -> None:
    alone = measure(1, SHARED, thread=[{"sched_yield": "70 ns"}], cpus=1)
    assert alone.latency_mean_ns == pytest.approx(50 + 70 + 2)
    both = measure(2, SHARED, thread=[{"sched_yield": "70 ns"}], cpus=1)
    assert both.context_switches_per_op == pytest.approx(1, abs=0.05)
    assert 1 / both.throughput_ops_per_us == pytest.approx(1 + 0.05, rel=0.05)


def test_has_a_pipe_room_for_sixteen_messages_unless_it_says_otherwise() -> None:
    raw = {"name": "p", "title": "p", "requests": 1, "thread": [{"send": "p"}]}
    spec = WorkloadSpec.model_validate({**raw, "channels": {"p": {"pipe": {}}}}, strict=False)
    assert spec.channels["p"].capacity == 16
    with pytest.raises(ValidationError, match="`tokens` must fit into `capacity`"):
        WorkloadSpec.model_validate({**raw, "channels": {"p": {"pipe": {}, "tokens": 17}}}, strict=False)


@pytest.mark.parametrize("other", [{"pipe": {}}, {"capacity": 4}])
def test_is_a_socket_that_is_something_else_too_refused(other: dict[str, Any]) -> None:
    raw = {"name": "p", "title": "p", "requests": 1, "thread": [{"send": "p"}]}
    with pytest.raises(ValidationError, match="a `socket` is no `pipe` and has no `capacity`"):
        WorkloadSpec.model_validate({**raw, "channels": {"p": {"socket": {}, **other}}}, strict=False)


def test_does_a_byte_go_to_and_fro_through_sockets() -> None:
    roles = [
        {"who": "even", "steps": [{"timed": [{"send": "ping"}, {"receive": "pong"}]}]},
        {"who": "odd", "measured": False, "steps": [{"receive": "ping"}, {"send": "pong"}]},
    ]
    channels = {name: {"shared_by": 2, "socket": CODE} for name in ("ping", "pong")}
    measured = measure(2, channels=channels, roles=roles)
    assert measured.context_switches_per_op == pytest.approx(4, abs=0.2)
    assert measured.latency_mean_ns > to_and_fro(CODE).latency_mean_ns
