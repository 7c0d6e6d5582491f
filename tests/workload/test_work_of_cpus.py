"""Who did how much, how long it took, and where lines went, by arithmetic."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from machines import NS, Body, run, small_machine
from plain import measure, workload

from sim.engine import Activity, Steps
from sim.hardware import Cpu
from sim.profile import CPU_COLUMNS, MEMORY, Requests, Transfers, quantiles
from sim.profile.requests import FEW, GRID

US = 1000 * NS


def test_are_few_latencies_kept_one_by_one_and_many_at_the_grid() -> None:
    assert quantiles([30, 10, 20, 40]) == [(25, 10), (50, 20), (75, 30), (100, 40)]
    many = quantiles(range(1, 100_001))
    assert [percent for percent, _ in many] == list(GRID)
    assert dict(many)[99.9] == 99_900
    assert dict(many)[50] == 50_000
    assert len(quantiles(range(FEW))) == FEW


def rows_of(spec: Any, threads: int) -> tuple[Any, list[dict[str, Any]], list[dict[str, Any]]]:
    requests = Requests()
    point = measure(spec, threads=threads, probe=requests)
    return point, requests.cpu_rows(), requests.latency_rows()


def test_are_the_operations_of_all_cpus_those_of_the_point() -> None:
    """Requests of 3 us: each of the threads does as many in its time, and no time is anything else."""
    point, cpus, latencies = rows_of(workload(thread=[{"compute": {"time": "3 us"}}]), threads=3)
    assert [row["cpu"] for row in cpus] == [0, 1, 2]
    assert sum(row["operations"] for row in cpus) == point.operations
    assert {row["latency_mean_ns"] for row in cpus} == {point.latency_mean_ns}
    parts = [name for name in CPU_COLUMNS if name.endswith("_share") and name != "idle_share"]
    assert [sum(row[name] for name in parts) for row in cpus] == pytest.approx([1] * 3)
    assert {(row["of"], row["name"], row["latency_ns"]) for row in latencies} == {("all", "", 3010)}


def test_is_only_the_window_counted() -> None:
    spec = workload(
        measured=None,
        window={"warm_up": "10 us", "length": "40 us"},
        thread=[{"compute": {"time": "2 us"}}],
        requests=4,
    )
    point, cpus, _ = rows_of(spec, threads=2)
    assert sum(row["operations"] for row in cpus) == point.operations > 20
    assert [row["other_share"] for row in cpus] == pytest.approx([1, 1])


def test_have_roles_and_calls_latencies_of_their_own() -> None:
    spec = workload(
        thread=None,
        setup=[{"mmap": {"at": "layout"}}],
        roles=[
            {"who": "first", "steps": [{"compute": {"time": "5 us"}}]},
            {"who": "others", "steps": [{"touch": {"at": "slot"}}]},
        ],
    )
    point, _, latencies = rows_of(spec, threads=2)
    series = {(row["of"], row["name"]): row["count"] for row in latencies}
    assert set(series) == {("all", ""), ("role", "roles[0]"), ("role", "roles[1]"), ("call", "touch")}
    assert series["role", "roles[0]"] + series["role", "roles[1]"] == series["all", ""] == 4
    assert point.operations == 8  # of all requests, two of four are timed
    first = {row["latency_ns"] for row in latencies if row["name"] == "roles[0]"}
    assert first == {5010}


def writes(line: Any, after: int, times: int = 1) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(times):
            cpu.work(after, Activity("user"))
            yield from line.write(cpu)

    return body


def test_does_a_line_go_from_memory_and_then_from_cluster_to_cluster() -> None:
    """Cpu 0 has it from memory; one of another cluster takes it from there."""
    transfers = Transfers()
    machine = small_machine(listeners=[transfers])
    other = next(cpu for cpu in machine.cpus if cpu.cluster != machine.cpus[0].cluster)
    line = machine.line("x")
    transfers.run_begins(machine.cpus)
    run(machine, {0: writes(line, 1 * US, times=3), other.id: writes(line, 10 * US)})
    transfers.run_ends()
    moved = {(row["from_cluster"], row["to_cluster"]): row["transfers"] for row in transfers.report()}
    assert moved == {(MEMORY, "0"): 1, ("0", str(other.cluster)): 1}
    assert all(row["transfer_ns"] > 0 for row in transfers.report())


def test_is_idle_time_split_where_the_window_begins() -> None:
    """A cpu that idles from 10 us on, in a window from 5 us to 25 us."""
    requests, clock = Requests(), SimpleNamespace(_now=0)
    account = {"user": 10 * US, "idle": 10 * US}
    cpu = cast(Any, SimpleNamespace(id=0, number=7, core=0, cluster=0, node=0, socket=0, pages=[{}, account]))
    requests.attach(cast(Any, clock))
    requests.run_begins([cpu])
    for time, hook in ((5, "turn_page"), (10, "idle_begins"), (25, "turn_page")):
        clock._now = time * US
        getattr(requests, hook)(*([cpu] if hook == "idle_begins" else []))
    clock._now = 30 * US
    requests.run_ends()
    (row,) = requests.cpu_rows()
    assert (row["cpu"], row["idle_share"], row["measured"]) == (7, pytest.approx(15 / 20), 0)
