"""On which cpus do threads run, and which lists of cpus are refused?"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from plain import workload
from pydantic import ValidationError
from test_bench import bench, loop, measure

from sim.errors import InputError
from sim.experiment import load
from sim.files import load_spec, presets
from sim.hardware import MachineSpec, Topology
from sim.workload import order_of
from sim.workload.pinning import POLICIES, PerSocket

PAIRS = Topology(
    sockets=2, clusters_per_socket=1, cores_per_cluster=2, numa_nodes=2, threads_per_core=2, smt_slowdown=1.5
)
SIDE_BY_SIDE = PAIRS.model_copy(update={"numbering": "siblings-adjacent"})
ADD = {"add": "x"}


def topology_of(machine: str) -> Topology:
    spec = load_spec("machine", machine).spec
    assert isinstance(spec, MachineSpec)
    return spec.topology


machines = pytest.mark.parametrize("machine", presets.names("machine"))


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("cores-first", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("hwloc-cores", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("fill-socket", [0, 1, 4, 5, 2, 3, 6, 7]),
        ("siblings-first", [0, 4, 1, 5, 2, 6, 3, 7]),
        ("alternate-nodes", [0, 2, 1, 3, 4, 6, 5, 7]),
        (PerSocket(per_socket=1), [0, 2]),
        (PerSocket(per_socket=3), [0, 1, 4, 2, 3, 6]),
        (PerSocket(per_socket=9), [0, 1, 4, 5, 2, 3, 6, 7]),
        ((7, 0), [7, 0]),
    ],
)
def test_which_order_is_it_on_two_sockets_of_two_cores_of_two_siblings(policy: Any, order: list[int]) -> None:
    assert order_of(policy, PAIRS) == order


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("cores-first", [0, 2, 4, 6, 1, 3, 5, 7]),
        ("hwloc-cores", [0, 2, 4, 6, 1, 3, 5, 7]),
        ("fill-socket", [0, 2, 1, 3, 4, 6, 5, 7]),
        ("siblings-first", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("alternate-nodes", [0, 4, 2, 6, 1, 5, 3, 7]),
        (PerSocket(per_socket=3), [0, 2, 1, 4, 6, 5]),
        ((7, 0), [7, 0]),
    ],
)
def test_which_order_is_it_where_siblings_stand_side_by_side(policy: Any, order: list[int]) -> None:
    """Cpus 0 and 1 are one core: by number alone two threads would share it."""
    assert order_of(policy, SIDE_BY_SIDE) == order


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_does_a_policy_name_the_same_places_however_they_are_numbered(policy: Any, interleaved: bool) -> None:
    def places(topology: Topology) -> list[tuple[int, int]]:
        topology = topology.model_copy(update={"interleaved": interleaved})
        return [(topology.core_of(cpu), topology.thread_of(cpu)) for cpu in order_of(policy, topology)]

    assert places(PAIRS) == places(SIDE_BY_SIDE)


def test_do_cores_that_the_firmware_interleaves_count_where_they_sit() -> None:
    """Even cpus sit on socket 0, odd ones on socket 1; the plain order is the firmware's, hwloc's is not."""
    topology = PAIRS.model_copy(update={"interleaved": True})
    assert order_of("cores-first", topology) == list(range(8))
    assert order_of("hwloc-cores", topology) == [0, 2, 1, 3, 4, 6, 5, 7]
    assert order_of("fill-socket", topology) == [0, 2, 4, 6, 1, 3, 5, 7]
    assert order_of("alternate-nodes", topology) == [0, 1, 2, 3, 4, 5, 6, 7]


@machines
@pytest.mark.parametrize("policy", POLICIES)
def test_does_every_machine_have_each_cpu_once(machine: str, policy: Any) -> None:
    topology = topology_of(machine)
    assert sorted(order_of(policy, topology)) == list(range(topology.cpus))


@machines
@pytest.mark.parametrize("policy", ["cores-first", "hwloc-cores"])
def test_does_every_core_get_a_thread_before_any_gets_a_second(machine: str, policy: Any) -> None:
    topology = topology_of(machine)
    order = order_of(policy, topology)
    for start in range(0, topology.cpus, topology.cores):
        assert len({topology.core_of(cpu) for cpu in order[start : start + topology.cores]}) == topology.cores


@machines
def test_is_the_plain_order_the_machines_own_within_a_round(machine: str) -> None:
    topology = topology_of(machine)
    order = order_of("cores-first", topology)
    rounds = [order[start : start + topology.cores] for start in range(0, topology.cpus, topology.cores)]
    assert all(numbers == sorted(numbers) for numbers in rounds)


@machines
def test_does_fill_socket_end_one_socket_before_the_next(machine: str) -> None:
    topology = topology_of(machine)
    order = order_of("fill-socket", topology)
    keys = [(topology.socket_of(cpu), topology.thread_of(cpu), topology.core_of(cpu)) for cpu in order]
    assert all(one < other for one, other in pairwise(keys))


@machines
def test_does_siblings_first_end_one_core_before_the_next(machine: str) -> None:
    topology = topology_of(machine)
    order = order_of("siblings-first", topology)
    assert [topology.core_of(cpu) for cpu in order] == [
        core for core in range(topology.cores) for _ in range(topology.threads_per_core)
    ]


@machines
def test_does_alternate_nodes_keep_the_nodes_even(machine: str) -> None:
    topology = topology_of(machine)
    order = order_of("alternate-nodes", topology)
    for threads in range(1, topology.cpus + 1, 5):
        used = Counter(topology.node_of(cpu) for cpu in order[:threads])
        counts = [used[node] for node in range(topology.nodes)]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("pinning", "transfer"),
    [("cores-first", 30), ("alternate-nodes", 200), ([0, 4], 100), ([15, 0], 200), ([8, 9, 0], 30)],
)
def test_does_a_line_between_two_threads_travel_as_far_as_they_are_apart(pinning: Any, transfer: int) -> None:
    spec = loop(ADD, lines={"x": {}}, pinning=pinning)
    assert measure(spec, 2).throughput_ops_per_us == pytest.approx(1000 / transfer, rel=0.02)


def test_does_a_kernel_run_wherever_its_threads_sit() -> None:
    """Two threads on one socket fault as they do on the other, and slower across both."""
    from plain import measure as measure_kernel

    def latency(pinning: Any) -> float:
        return measure_kernel(workload(pinning=pinning), "linux", threads=2).latency_mean_ns

    assert latency([0, 1]) == latency("cores-first")
    assert latency([0, 8]) > latency([0, 1])


@pytest.mark.parametrize(
    ("pinning", "message"),
    [
        ("cores-frist", "cores-first"),
        ([0, 1, 0], "cpu 0 is listed twice"),
        ([0, -1], "a whole number from 0 on, not -1"),
        ([0, 1.5], "a whole number from 0 on, not 1.5"),
        ([0, True], "not True"),
        ([], "the name of a policy, per_socket with a number, or a list of cpu numbers"),
        (3, "the name of a policy, per_socket with a number, or a list of cpu numbers"),
        ({"per_socket": 0}, "greater than 0"),
        ({"per_node": 2}, "per_node"),
    ],
)
def test_which_pinnings_does_no_file_get_through(pinning: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        bench(requests=1, pinning=pinning, roles=[{"who": "all", "steps": [{"compute": "1 ns"}]}])
    with pytest.raises(ValidationError, match=message):
        workload(pinning=pinning)


@pytest.mark.parametrize(
    ("pinning", "message"),
    [([0, 16], "small has no such cpu"), ([0], "1 cpus are listed for 2 threads")],
)
def test_is_a_list_that_does_not_fit_the_machine_a_failed_point(pinning: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure(loop(ADD, lines={"x": {}}, pinning=pinning), 2)


def experiment(folder: Path, pinning: str, *more: str, threads: str = "[1, 2]") -> Path:
    (folder / "w.yaml").write_text(
        "name: w\ntitle: w\nrequests: 1\n"
        f"pinning: {pinning}\nroles:\n  - {{who: all, steps: [{{compute: 1 ns}}]}}\n"
    )
    lines = ["name: e", "machine: i5-6500t", "designs: [hardware]", "workloads: [./w.yaml]", *more]
    path = folder / "e.yaml"
    path.write_text("\n".join([*lines, f"threads: {threads}"]) + "\n")
    return path


@pytest.mark.parametrize(
    ("pinning", "message"),
    [
        ("[0, 4]", "w.yaml:4:10: pinning: i5-6500t has no such cpu (got 4; allowed: 0 to 3)"),
        (
            "[3]",
            "w.yaml:4:10: pinning: 1 cpus are listed for 2 threads (got [3]; "
            "allowed: at least 2 different cpu numbers)",
        ),
        (
            "{per_socket: 1}",
            "w.yaml:4:10: pinning: 1 cpus are listed for 2 threads (got 'per_socket=1'; "
            "allowed: at least 2 different cpu numbers)",
        ),
        ("[1, 1]", "w.yaml:4:10: pinning: cpu 1 is listed twice: a cpu takes one thread (got [1, 1])"),
        ("core-first", "w.yaml:4:10: pinning: unknown value (got 'core-first'; "),
    ],
)
def test_is_a_list_that_does_not_fit_told_before_anything_runs(
    tmp_path: Path, pinning: str, message: str
) -> None:
    with pytest.raises(InputError) as refused:
        load(experiment(tmp_path, pinning))
    (fault,) = refused.value.faults
    assert message in str(fault)


def test_is_a_short_list_told_once_with_what_the_largest_point_needs(tmp_path: Path) -> None:
    path = experiment(tmp_path, "cores-first", threads="[1, 2, 3, 4]")
    with pytest.raises(InputError) as refused:
        load(path, {"workload.pinning": [3, 2]})
    (fault,) = refused.value.faults
    assert (fault.message, fault.allowed) == (
        "2 cpus are listed for 4 threads", "at least 4 different cpu numbers",
    )  # fmt: skip


def test_can_pinning_be_swept(tmp_path: Path) -> None:
    path = experiment(
        tmp_path, "cores-first", "sweep: {workload.pinning: [cores-first, siblings-first, [3, 2]]}"
    )
    points = load(path).points
    assert [point.workload_spec.pinning for point in points[::2]] == [
        "cores-first", "siblings-first", (3, 2),
    ]  # fmt: skip
