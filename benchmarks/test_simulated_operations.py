"""How many simulated memory-management operations a second, for each design from one cpu to 384."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import sim
from sim.workload import Budget, Measurement, simulate


@pytest.mark.parametrize("cpus", [1, 8, 64, 384])
@pytest.mark.parametrize("design", ["linux-6.13", "cortenmm-rw", "cortenmm-adv"])
@pytest.mark.parametrize("workload", ["mmap-pf", "unmap"])
def test_operations(
    benchmark: BenchmarkFixture,
    report: Callable[[str, str, str], None],
    workload: str,
    design: str,
    cpus: int,
) -> None:
    """One point from its specs to its measurement: the set-up of machine and address space counts."""
    values = {"workloads": [workload], "designs": [design], "placements": ["high"], "threads": [cpus]}
    (point,) = sim.load("paper-micro", values).points

    def run() -> Measurement:
        return simulate(
            point.machine_spec,
            point.design_spec,
            point.workload_spec,
            placement=point.placement,
            threads=point.threads,
            seed=point.seed,
            budget=Budget(events=point.budget.events, simulated_ps=point.budget.simulated_time),
        )

    benchmark.group = f"simulated operations, {workload}, {design}"
    operations = benchmark.pedantic(run, rounds=3, warmup_rounds=1).operations
    report(benchmark.group, f"cpus: {cpus}", f"{operations / benchmark.stats['min']:,.0f}/s")
