"""Do the shipped workloads of an antagonist, of shared cpus and of two processes come out as by hand?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from sim.engine import Probe, listen
from sim.engine.probe import CallView, CpuView
from sim.files import load_spec
from sim.mm import Munmap, Touch
from sim.workload import Budget, Measurement, simulate

BUDGET = Budget(events=20_000_000, simulated_ps=10**12)


def run(workload: str, threads: int, *listeners: Probe, **changes: Any) -> Measurement:
    """Linux 6.13 on the machine of 384 cpus."""
    spec: Any = load_spec("workload", workload).spec.model_copy(update=changes)
    machine: Any = load_spec("machine", "epyc-9965").spec
    design: Any = load_spec("design", "linux-6.13").spec
    probe = listen(*listeners)
    return simulate(machine, design, spec, placement="", threads=threads, seed=1, budget=BUDGET, probe=probe)


class Tally(Probe):
    """How often each cpu unmapped and touched, whom it interrupted, and how often each changed threads."""

    def __init__(self) -> None:
        self.unmaps: Counter[int] = Counter()
        self.pages: Counter[int] = Counter()
        self.calls: list[tuple[int, int]] = []
        self.switches: Counter[int] = Counter()

    def operation_begins(self, cpu: CpuView, operation: object) -> None:
        self.unmaps[cpu.id] += isinstance(operation, Munmap)
        if isinstance(operation, Touch):
            self.pages[cpu.id] += len(operation.pages)

    def ipi_call(self, call: CallView) -> None:
        self.calls.append((call.sender.id, len(call.targets)))

    def context_switch(self, cpu: CpuView) -> None:
        self.switches[cpu.id] += 1


def test_does_each_unmap_of_the_antagonist_interrupt_all_others_once() -> None:
    """Three of four threads are measured. Those that have ended are not asked any more."""
    tally = Tally()
    point = run("fault-beside-unmap", 4, tally)
    asked = [targets for sender, targets in tally.calls if sender == 0]
    assert 20 < tally.unmaps[0] - 2 <= asked.count(3) <= len(asked) <= tally.unmaps[0]
    assert sum(tally.pages[cpu] for cpu in (1, 2, 3)) > point.operations > 0
    window = 3 * 1_000_000  # ns, of three cpus
    assert sum(point.breakdown_ns_per_op.values()) * point.operations == pytest.approx(window)


def test_have_144_of_200_threads_on_128_cpus_half_a_cpu_each() -> None:
    """200 on 128 cpus: 72 cpus have two. Each has a slice of 3 ms, which a tick of 4 ms ends.

    A cpu with two changes threads at each tick, 8 times in 32 ms, and pays 1 us or so for it; the others
    compute all the time: 10 operations of 100 us in 1 ms.
    """
    tally = Tally()
    point = run("shared-cpus", 200, tally)
    assert point.throughput_ops_per_us == pytest.approx(128 / 100, rel=0.002)
    shared = [cpu for cpu, switches in tally.switches.items() if switches > 2]
    assert len(shared) == 72
    assert all(8 <= tally.switches[cpu] <= 10 for cpu in shared)


def test_is_more_than_a_cpu_for_each_thread_no_faster() -> None:
    """128 threads fill the cpus; 200 do as much as they do, less the switches."""
    full, more = (run("shared-cpus", threads).throughput_ops_per_us for threads in (128, 200))
    assert 0.995 * full < more <= full


def test_does_a_second_process_cost_only_what_processes_share() -> None:
    """Two threads in two processes take mmap_lock as often as one thread alone, and never wait for it.

    What they share, memory and the zone's lists, makes the rest at most a tenth longer; in one process the
    same two threads wait for each other, and each munmap interrupts the other.
    """
    alone, apart = run("two-processes", 1), run("two-processes", 2)
    lock = "lock: mmap_lock"
    assert apart.breakdown_ns_per_op[lock] == pytest.approx(alone.breakdown_ns_per_op[lock], rel=0.01)
    assert alone.latency_mean_ns <= apart.latency_mean_ns < 1.1 * alone.latency_mean_ns
    together: Any = load_spec("workload", "two-processes").spec
    roles = tuple({**role, "process": 0} for role in together.roles)
    shared = run("two-processes", 2, roles=roles)
    assert shared.breakdown_ns_per_op[lock] > 1.5 * alone.breakdown_ns_per_op[lock]
    assert shared.breakdown_ns_per_op["ipi wait"] > 0
    assert "ipi wait" not in apart.breakdown_ns_per_op
