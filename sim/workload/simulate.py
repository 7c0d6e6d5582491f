"""One point: enough runs to average over, and what they measured."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.engine.units import PS_PER_NS, PS_PER_US
from sim.errors import InputError, ModelError
from sim.workload.bench import BenchSpec, run_bench
from sim.workload.demands import misfit
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
    workload: WorkloadSpec | BenchSpec,
    *,
    placement: str,
    threads: int,
    seed: int,
    limits: Limits,
) -> Measurement:
    """Run *workload* with *threads* threads; runs are repeated until `pooled_threads` have been measured.

    Raises `InputError` where the workload cannot run on this machine, `BudgetExceeded` where the limits are
    passed and `ModelError` where the model breaks a rule.
    """
    if not 1 <= threads <= machine.cpus:
        raise ModelError(f"{threads} threads on a machine of {machine.cpus} cpus")
    if (fault := misfit(machine, workload, placement, threads)) is not None:
        raise InputError(fault)
    if isinstance(workload, BenchSpec):
        return _simulate_bench(machine, design, workload, threads, seed, limits)
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

    throughput = threads * 1000 / (statistics.fmean(latencies) / PS_PER_NS)
    return _measurement(latencies, spent, elapsed, events, runs * threads * plan.requests, throughput)


def _simulate_bench(
    machine: MachineSpec, design: DesignSpec, bench: BenchSpec, threads: int, seed: int, limits: Limits
) -> Measurement:
    """Throughput is the operations that ended in the window over its length; latency is that of the timed."""
    run = run_bench(
        machine,
        design,
        bench,
        threads=threads,
        seed=seed,
        max_events=limits.events,
        max_time_ps=limits.simulated_ps,
    )
    record = run.record
    if not record.latencies:
        raise ModelError(f"{bench.name} measured nothing: its window is too short for {threads} threads")
    throughput = record.operations * PS_PER_US / run.length
    return _measurement(record.latencies, run.spent, run.elapsed, run.events, record.operations, throughput)


def _measurement(
    latencies: list[int], spent: dict[str, int], elapsed: int, events: int, operations: int, throughput: float
) -> Measurement:
    """*latencies*, *spent* and *elapsed* in ps; the breakdown is over *operations*."""
    mean = statistics.fmean(latencies) / PS_PER_NS
    ranked = sorted(latencies)
    return Measurement(
        operations=operations,
        throughput_ops_per_us=throughput,
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
