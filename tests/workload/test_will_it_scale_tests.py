"""Do the workloads named after will-it-scale's tests do, and count, what the tests do and count?"""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import pytest

from sim.designs import DesignSpec
from sim.engine import Probe
from sim.files import from_mapping, load_spec, presets
from sim.hardware import MachineSpec
from sim.workload import Budget, Measurement, WorkloadSpec, foresee, simulate

NAMES = [
    "context_switch1",
    "fallocate1",
    "fallocate2",
    "malloc1",
    "malloc2",
    "mmap1",
    "mmap2",
    "page_fault1",
    "page_fault2",
    "page_fault3",
    "pft-one-vma",
    "pthread_mutex1",
    "pthread_mutex2",
    "tlb_flush1",
    "tlb_flush2",
    "tlb_flush3",
]
SHORT = {
    "workload.window.warm_up": "8 requests",
    "workload.window.length": "32 requests",
    "workload.window.skew": "0 ns",
}
SOMEWHERE: dict[str, Any] = {
    "workload.window.pilot": None,
    "workload.window.staggered": True,
    "workload.window.whole_rounds": 0,
}
"""For page_fault1 to 3: few operations, all from requests of the middle of a round."""


class Calls(Probe):
    """What is asked of the kernel from the start of the threads on, and how often it flushes."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def run_begins(self, cpus: object) -> None:
        self.counted.clear()

    def operation_begins(self, cpu: object, operation: Any) -> None:
        self.counted[operation.name] += 1

    def flush(self, cpu: object, pages: int) -> None:
        self.counted["flush"] += 1


def spec(name: str, changes: dict[str, Any] | None = None) -> WorkloadSpec:
    return cast("WorkloadSpec", load_spec("workload", name, from_mapping(changes or {})).spec)


def run(
    name: str,
    placement: str = "threads",
    tasks: int = 1,
    changes: dict[str, Any] | None = None,
    *,
    machine: str = "skylake-104",
    **options: Any,
) -> Measurement:
    shorter = SOMEWHERE if name.startswith("page_fault") else {}
    window = spec(name).window_of(placement)
    if window is not None and window.grace_periods is not None:
        periods = f"workload.placements.{placement}.window.grace_periods"
        shorter = {f"{periods}.at_most": "40 requests", f"{periods}.of_all": "1 requests"}
    workload = spec(name, shorter | (changes or {}))
    return simulate(
        cast("MachineSpec", load_spec("machine", machine).spec),
        cast("DesignSpec", load_spec("design", "linux-6.13").spec),
        workload,
        placement=placement,
        threads=tasks * workload.threads_per_task,
        seed=1,
        budget=Budget(10**7, 10**12),
        **options,
    )


def test_is_each_of_them_on_board() -> None:
    assert set(NAMES) <= set(presets.names("workload"))


PER_SOCKET = "processes-12-per-socket"


@pytest.mark.parametrize("name", ["getppid1", "mmap1", "page_fault1"])
@pytest.mark.ci
def test_do_24_tasks_fit_where_12_run_on_each_socket_and_one_more_does_not(name: str) -> None:
    machine = cast("MachineSpec", load_spec("machine", "skylake-104").spec)
    assert foresee(machine, spec(name), PER_SOCKET, [1, 24]) is None
    fault = foresee(machine, spec(name), PER_SOCKET, [25])
    assert fault is not None
    assert fault.message == "24 cpus are listed for 25 threads"


@pytest.mark.parametrize(
    ("name", "placement"),
    [
        (name, placement)
        for name in NAMES
        for placement in spec(name).placement_names
        if placement != PER_SOCKET
    ],
)
@pytest.mark.slow
def test_does_each_run_with_one_task_and_with_two(name: str, placement: str) -> None:
    workload = spec(name)
    machine = cast("MachineSpec", load_spec("machine", "skylake-104").spec)
    counts = [tasks * workload.threads_per_task for tasks in (1, 2, 52)]
    assert foresee(machine, workload, placement, counts) is None
    one, two = (run(name, placement, tasks, SHORT) for tasks in (1, 2))
    assert one.operations >= 32
    assert two.operations >= 64
    if placement == "processes":
        assert two.throughput_ops_per_us == pytest.approx(2 * one.throughput_ops_per_us, rel=0.1)


@pytest.mark.parametrize(
    ("name", "call", "per_operation"),
    [
        ("mmap1", "mmap", 1),
        ("mmap1", "munmap", 1),
        ("malloc1", "mmap", 1),
        ("malloc1", "touch", 1),
        ("mmap2", "mmap of a file", 1),
        ("mmap2", "munmap", 1),
        ("page_fault1", "touch", 1),
        ("page_fault2", "touch", 1),
        ("page_fault3", "touch", 1),
        ("tlb_flush1", "madvise", 1),
        ("tlb_flush1", "touch", 2),
        ("tlb_flush2", "madvise", 1),
        ("tlb_flush2", "touch", 2),
        ("tlb_flush3", "madvise", 1),
        ("tlb_flush3", "touch", 2),
        ("fallocate1", "fallocate", 1),
        ("fallocate2", "fallocate", 1),
        ("pft-one-vma", "touch", 1),
    ],
)
@pytest.mark.parametrize("tasks", [1, 2])
def test_what_counts_as_an_operation(name: str, call: str, per_operation: int, tasks: int) -> None:
    """As the test's source increments its counter; a task may be in the middle of one at the end."""
    calls = Calls()
    changes = {"workload.window.warm_up": "0 requests", "workload.window.length": "64 requests"}
    found = run(name, tasks=tasks, changes=changes, probe=calls)
    assert found.operations == 64 * tasks
    assert per_operation * 64 * tasks <= calls.counted[call] <= per_operation * (64 * tasks + tasks)


def test_is_a_round_trip_of_context_switch1_two_operations_and_four_switches() -> None:
    assert run("context_switch1").context_switches_per_op == pytest.approx(2, abs=0.05)


def test_is_half_a_task_of_context_switch1_refused() -> None:
    machine = cast("MachineSpec", load_spec("machine", "skylake-104").spec)
    fault = foresee(machine, spec("context_switch1"), "threads", [3])
    assert fault is not None
    assert "a task is 2 threads, and 3 are no whole tasks" in str(fault)


def test_are_tasks_of_threads_one_process_and_tasks_of_processes_several() -> None:
    """Two threads flush each other's TLB, two processes do not."""
    assert run("tlb_flush2", "threads", 2).interrupts_per_flush == pytest.approx(1, abs=0.1)
    assert run("tlb_flush2", "processes", 2).interrupts_per_flush == 0


def test_do_flushes_of_many_threads_share_interrupts() -> None:
    found = run("tlb_flush2", "threads", 16, {"workload.window.length": "64 requests"})
    assert found.interrupts_per_flush is not None
    assert 2 < found.interrupts_per_flush < 9


@pytest.mark.ci
def test_are_mappings_of_all_tasks_of_mmap1_one_after_the_other_in_their_process() -> None:
    """Threads wait for one mmap_lock, processes each have their own."""
    threads, processes = (
        run("mmap1", placement, 8).breakdown_ns_per_op for placement in ("threads", "processes")
    )
    assert threads["lock: mmap_lock"] > 20 * processes["lock: mmap_lock"]


def test_does_page_fault2_copy_what_page_fault3_maps() -> None:
    private, shared = (
        run(name, changes=SHORT).breakdown_ns_per_op for name in ("page_fault2", "page_fault3")
    )
    assert private["copy"] > 0 < private["allocate"]
    assert shared.get("copy", 0) == 0 == shared.get("allocate", 0)
    assert private["page cache"] > 0 < shared["page cache"]


@pytest.mark.parametrize("name", ["page_fault2", "page_fault3", "tlb_flush1", "tlb_flush3"])
def test_is_the_file_in_memory_before_the_first_round(name: str) -> None:
    """Nothing is zeroed: neither new pages of the file nor those that a write copies to."""
    assert run(name, changes=SHORT).breakdown_ns_per_op.get("zero", 0) == 0


@pytest.mark.parametrize(
    ("name", "flushes", "faults"), [("tlb_flush1", 31 / 16, 2), ("tlb_flush3", 1, 17 / 16)]
)
def test_what_a_page_of_tlb_flush_takes_where_reads_map_16_pages(
    name: str, flushes: float, faults: float
) -> None:
    """Each page is given back and read, which is a fault.

    15 of 16 pages were mapped by the read before: a private write copies such a page and flushes the old
    one, a shared write goes through. The first of the 16 has nothing to flush, and faults in either case.
    """
    calls = Calls()
    changes = {"workload.window.warm_up": "0 requests", "workload.window.staggered": False}
    found = run(name, changes=changes, probe=calls)
    assert calls.counted["flush"] == pytest.approx(flushes * 256, abs=2)
    one = run("page_fault3", changes={"workload.window.length": "256 requests"})
    entry, of_one_fault = (point.breakdown_ns_per_op["fault entry"] for point in (found, one))
    assert entry / of_one_fault == pytest.approx(faults, rel=0.02)
    assert found.operations == 256


def test_is_the_file_of_fallocate1_cut_off_after_128_calls() -> None:
    calls = Calls()
    changes = {"workload.window.warm_up": "0 requests", "workload.window.length": "512 requests"}
    run("fallocate1", changes=changes | {"workload.window.staggered": False}, probe=calls)
    assert calls.counted["fallocate"] // 128 == calls.counted["ftruncate"] == 4


def test_has_each_task_a_file_of_its_own() -> None:
    """Threads fault side by side: no line of a file goes from one to the other."""
    one, two = (run("page_fault3", "threads", tasks, SHORT) for tasks in (1, 2))
    for activity in ("page cache", "lock: page"):
        assert two.breakdown_ns_per_op[activity] == pytest.approx(one.breakdown_ns_per_op[activity], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("placement", "tasks"), [("threads", 8), ("processes", 8)])
def test_is_the_rate_of_page_fault1_that_of_a_long_run(placement: str, tasks: int) -> None:
    """In rounds of 8 MiB: one a task after a pilot of an eighth of one, and two after two others."""
    size = {"workload.requests": 2048, "workload.layout.stride": "8 MiB"}
    short = {
        "workload.window.pilot.requests": 256,
        "workload.window.staggered": False,
        "workload.window.whole_rounds": 1,
        "workload.window.length": "2048 requests",
    }
    long = {
        "workload.window.pilot": None,
        "workload.window.staggered": True,
        "workload.window.warm_up": "4096 requests",
        "workload.window.length": "4096 requests",
    }
    rates = [run("page_fault1", placement, tasks, size | window) for window in (short, long)]
    assert rates[0].throughput_ops_per_us == pytest.approx(rates[1].throughput_ops_per_us, rel=0.05)
