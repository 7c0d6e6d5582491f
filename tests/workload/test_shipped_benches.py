"""Do the shipped benches of memory and pinning come out at what the machine files say?"""

from __future__ import annotations

from typing import Any

import pytest

from sim.files import load_spec
from sim.workload import Budget, simulate

PAGE_A_MICROSECOND = 4096e6
"""Bytes a second."""


def operations_per_us(
    machine: str, workload: str, threads: int, placement: str = "", **changes: Any
) -> float:
    bench: Any = load_spec("workload", workload).spec.model_copy(update=changes)
    budget = Budget(events=5_000_000, simulated_ps=10**12)
    hardware: Any = load_spec("machine", machine).spec
    design: Any = load_spec("design", "hardware").spec
    point = simulate(hardware, design, bench, placement=placement, threads=threads, seed=1, budget=budget)
    return point.throughput_ops_per_us


@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "workload", "threads", "narrowest", "passes"),
    [
        ("epyc-9965", "page-clear", 16, 30e9, 1),  # the write link of one cluster
        ("epyc-9965", "page-clear-remote", 192, 150e9, 1),  # the links between the sockets, once each way
        ("epyc-9965-nps4", "page-clear", 48, 480e9 / 4, 2),  # a quarter of the socket: in and out
        ("epyc-9965-nps4", "page-copy", 48, 480e9 / 4, 3),  # the source, too
        ("xeon-6252x2", "page-clear", 24, 51e9, 1),
        ("xeon-6252x2", "page-clear-remote", 24, 34.3e9, 1),
        ("xeon-6252x2", "page-copy", 4, 4 * 11e9, 2),  # what four cores can read
    ],
)
def test_is_it_the_narrowest_place_on_the_way(
    machine: str, workload: str, threads: int, narrowest: float, passes: int
) -> None:
    expected = narrowest / passes / PAGE_A_MICROSECOND
    assert operations_per_us(machine, workload, threads) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("machine", "node", "ns"),
    [("epyc-9965-nps4", "local", 125), ("epyc-9965-nps4", "node-1", 138),
     ("epyc-9965-nps4", "remote", 235), ("epyc-9965", "node-1", 235)],
)  # fmt: skip
def test_is_memory_as_far_as_the_machine_file_says(machine: str, node: str, ns: float) -> None:
    assert 1000 / operations_per_us(machine, "dram-latency", 1, node) == pytest.approx(ns)


@pytest.mark.parametrize(
    ("pinning", "threads", "cores"),
    [
        ("cores-first", 72, 72),
        ("siblings-first", 72, 45),
        ("fill-socket", 36, 22.5),
        ("cores-first", 144, 90),
    ],
)
def test_is_private_work_that_of_so_many_cores(pinning: str, threads: int, cores: float) -> None:
    """500 ns a piece; two threads of a core do 2 / 1.6 of one."""
    assert operations_per_us("xeon-e7-8895v3x4", "private-work", threads, pinning=pinning) == pytest.approx(
        cores * 2, rel=0.02
    )
