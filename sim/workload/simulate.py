"""One point: enough runs to average over, and what they measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sim.engine import QUIET, Probe, listen
from sim.errors import InputError, ModelError
from sim.mm import STRUCTURES, Footprint, ProcessStatus
from sim.quantities import PS_PER_NS, PS_PER_US
from sim.sync import NOTHING, Without
from sim.workload.demands import misfit
from sim.workload.parts import Parts
from sim.workload.result import Run
from sim.workload.run import run_once
from sim.workload.tally import SWITCHES, Tally

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.engine import Schedule, ScheduleName
    from sim.hardware import MachineSpec
    from sim.workload.spec import WorkloadSpec


@dataclass(frozen=True)
class Budget:
    """What a point may use before it counts as failed; the simulated time is each run's."""

    events: int
    simulated_ps: int


@dataclass(frozen=True)
class Measurement:
    """What one point gave.

    `throughput_ops_per_us` is work done: the operations of all measured threads that ended in the window over
    its length; without a window, all operations over the time from the start to the end of the last thread.
    `throughput_from_latency_ops_per_us` is threads over the mean latency of a measured operation, as the
    CortenMM evaluation computes it: what a thread waits outside of measured operations is not in it. The
    breakdown is the measured threads' time in that window over the same operations.

    The rest is of all cpus. `idle_share` is over the whole machine, cpus that no thread runs on included.
    `interrupts_per_flush` is how many cpus were interrupted, for whatever call, by TLB flush that a thread
    began; None without a flush. `memory` is None where no kernel manages any.
    """

    operations: int
    throughput_ops_per_us: float
    throughput_from_latency_ops_per_us: float
    latency_mean_ns: float
    latency_p50_ns: float
    latency_p95_ns: float
    latency_p99_ns: float
    simulated_ns: float
    events: int
    idle_share: float | None
    interrupts_per_flush: float | None
    context_switches_per_op: float
    breakdown_ns_per_op: dict[str, float]
    memory: Memory | None = None
    status: ProcessStatus | None = None
    """The mean of what was read of processes (`read_status`); None where nobody did."""
    parts_ns: dict[str, float] = field(default_factory=dict)
    """Mean of each kind of operation inside the requests; empty unless the workload asks for it."""


@dataclass(frozen=True)
class Memory:
    """What memory management had of memory itself, in bytes by structure (`Footprint`), from boot on.

    *peak* is the most that each structure had in any of the point's runs, *end* the most at the end of one.
    """

    peak: dict[str, int]
    end: dict[str, int]
    frame_descriptors: int


def simulate(
    machine: MachineSpec,
    design: DesignSpec,
    workload: WorkloadSpec,
    *,
    placement: str,
    threads: int,
    seed: int,
    budget: Budget,
    schedule: Schedule | ScheduleName = "fifo",
    probe: Probe = QUIET,
    without: Without = NOTHING,
) -> Measurement:
    """Run *workload* with *threads* threads; runs are repeated until `pooled_threads` have been measured.

    *schedule* is the rule for what happens at the same instant. *probe* is told of all runs, one after the
    other. Some locks and lines are not what they were where it is *without* them.

    Raises `InputError` where the workload cannot run on this machine, `BudgetExceeded` where *budget* is
    passed and `ModelError` where the model breaks a rule or nothing was measured.
    """
    plan = workload.plan(placement)
    if threads < 1 or (plan.cpus is None and threads > machine.cpus):
        raise ModelError(f"{threads} threads on a machine of {machine.cpus} cpus")
    if (fault := misfit(machine, workload, placement, threads)) is not None:
        raise InputError(fault)
    runs: list[Run] = []
    tally = Tally()
    parts = Parts(of_all=plan.part_latencies == "all") if plan.part_latencies else None
    probe = listen(tally, probe) if parts is None else listen(tally, parts, probe)
    for number in range(plan.runs(threads)):
        run = run_once(
            machine,
            design,
            plan,
            threads=threads,
            seed=seed if plan.pooled_threads is None else f"{seed}/{number}",
            schedule=schedule,
            max_events=budget.events - sum(run.events for run in runs),
            max_time_ps=budget.simulated_ps,
            probe=probe,
            without=without,
        )
        runs.append(run)
    if not all(run.latencies and run.operations for run in runs):
        raise ModelError(f"{workload.name} measured nothing: its window is too short for {threads} threads")
    return _measurement(runs, tally, machine.cpus, {} if parts is None else parts.means())


def _measurement(runs: Sequence[Run], tally: Tally, cpus: int, parts_ns: dict[str, float]) -> Measurement:
    """The runs of a point taken together, on a machine of so many *cpus*; *parts_ns* are of requests."""
    latencies = sorted(latency for run in runs for latency in run.latencies)
    operations = sum(run.operations for run in runs)
    spent: dict[str, float] = {}
    for run in runs:
        for activity, time in run.spent.items():
            spent[activity] = spent.get(activity, 0) + time
    mean = statistics.fmean(latencies) / PS_PER_NS
    return Measurement(
        operations=operations,
        throughput_ops_per_us=operations * PS_PER_US / sum(run.span for run in runs),
        throughput_from_latency_ops_per_us=runs[0].threads * 1000 / mean,
        latency_mean_ns=mean,
        latency_p50_ns=_percentile(latencies, 50),
        latency_p95_ns=_percentile(latencies, 95),
        latency_p99_ns=_percentile(latencies, 99),
        simulated_ns=sum(run.elapsed for run in runs) / PS_PER_NS,
        events=sum(run.events for run in runs),
        idle_share=tally.idle_share(cpus),
        interrupts_per_flush=tally.interrupts_per_flush(),
        context_switches_per_op=tally.totals[SWITCHES] / operations,
        breakdown_ns_per_op={
            activity: time / operations / PS_PER_NS for activity, time in sorted(spent.items()) if time
        },
        memory=_memory([run.footprint for run in runs if run.footprint is not None]),
        status=_status([each for run in runs for each in run.statuses]),
        parts_ns=parts_ns,
    )


def _status(read: Sequence[ProcessStatus]) -> ProcessStatus | None:
    if not read:
        return None
    resident, tables = (round(statistics.fmean(each)) for each in zip(*read, strict=True))
    return ProcessStatus(resident, tables)


def _memory(footprints: Sequence[Footprint]) -> Memory | None:
    if not footprints:
        return None
    return Memory(
        {each: max(footprint.peak[each] for footprint in footprints) for each in STRUCTURES},
        {each: max(footprint.now[each] for footprint in footprints) for each in STRUCTURES},
        footprints[0].frame_descriptors,
    )


def _percentile(ranked: list[int], percent: int) -> float:
    """Nearest-rank percentile in ns."""
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)] / PS_PER_NS
