"""One point: enough runs to average over, and what they measured."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.engine.units import PS_PER_NS
from sim.errors import ModelError
from sim.workload.run import run_once

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.workload.spec import WorkloadSpec


@dataclass(frozen=True)
class Limits:
    """What a point may use before it counts as failed; the simulated time is each run's."""

    events: int
    simulated_ps: int


@dataclass(frozen=True)
class Measurement:
    """What one point gave. Latencies and throughput are of the measured requests, the breakdown of all.

    Throughput is defined as the CortenMM evaluation does: threads / mean latency of a measured request.
    """

    operations: int
    throughput_ops_per_us: float
    latency_mean_ns: float
    latency_p50_ns: float
    latency_p95_ns: float
    latency_p99_ns: float
    simulated_ns: float
    events: int
    breakdown_ns_per_op: dict[str, float]


def simulate(
    machine: MachineSpec,
    design: DesignSpec,
    workload: WorkloadSpec,
    *,
    placement: str,
    threads: int,
    seed: int,
    limits: Limits,
) -> Measurement:
    """Run *workload* with *threads* threads; runs are repeated until `pooled_threads` have been measured.

    Raises `BudgetExceeded` where the limits are passed and `ModelError` where the model breaks a rule.
    """
    if not 1 <= threads <= machine.cpus:
        raise ModelError(f"{threads} threads on a machine of {machine.cpus} cpus")
    plan = workload.plan(placement)
    latencies: list[int] = []
    spent: dict[str, int] = {}
    elapsed = events = 0
    runs = -(-plan.pooled_threads // threads)
    for number in range(runs):
        run = run_once(
            machine,
            design,
            plan,
            threads=threads,
            seed=f"{seed}/{number}",
            max_events=limits.events - events,
            max_time_ps=limits.simulated_ps,
        )
        latencies += run.latencies
        elapsed += run.elapsed
        events += run.events
        for activity, time in run.spent.items():
            spent[activity] = spent.get(activity, 0) + time

    operations = runs * threads * plan.requests
    mean = statistics.fmean(latencies) / PS_PER_NS
    ranked = sorted(latencies)
    return Measurement(
        operations=operations,
        throughput_ops_per_us=threads * 1000 / mean,
        latency_mean_ns=mean,
        latency_p50_ns=_percentile(ranked, 50),
        latency_p95_ns=_percentile(ranked, 95),
        latency_p99_ns=_percentile(ranked, 99),
        simulated_ns=elapsed / PS_PER_NS,
        events=events,
        breakdown_ns_per_op={
            activity: time / operations / PS_PER_NS for activity, time in sorted(spent.items()) if time
        },
    )


def _percentile(ranked: list[int], percent: int) -> float:
    """Nearest-rank percentile in ns."""
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)] / PS_PER_NS
