"""What may a machine file not say?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import raw_spec, small_machine
from pydantic import ValidationError

from sim.hardware import MachineSpec

DRAM_OF_3 = {
    "memory": {"dram": {"channels": 3, "channel_bandwidth": "20 GB/s", "banks": 4, "bank_cycle": "30 ns"}}
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coherence": {"same_cluster": "101 ns"}}, "cross_cluster must not be cheaper than same_cluster"),
        ({"coherence": {"cross_socket": "99 ns"}}, "cross_socket must not be cheaper than cross_cluster"),
        ({"coherence": {"via_home": "199 ns"}}, "via_home must not be cheaper than cross_socket"),
        ({"memory": {"remote": "79 ns"}}, "remote memory must not be nearer"),
        ({"memory": {"local_other_node": "79 ns"}}, "local_other_node must lie between local and remote"),
        ({"memory": {"local_other_node": "141 ns"}}, "local_other_node must lie between local and remote"),
        ({"memory": {"core_read": "0 GB/s"}}, "core_read"),
        ({"topology": {"threads_per_core": 2}}, "smt_slowdown is needed"),
        ({"topology": {"smt_slowdown": 0.9}}, "greater than or equal to 1"),
        ({"turbo": [{"cores": 8, "clock": "2 GHz"}]}, "and then all cores at `clock`"),
        ({"turbo": [{"cores": 1, "clock": "0.9 GHz"}]}, "and then all cores at `clock`"),
        (
            {"turbo": [{"cores": 1, "clock": "2 GHz"}, {"cores": 2, "clock": "3 GHz"}]},
            "more cores and slower clocks from one entry to the next",
        ),
        ({"topology": {"numa_nodes": 3}}, "cannot be shared out evenly to NUMA nodes"),
        ({"topology": {"numa_nodes": 6}}, "cannot be shared out evenly to NUMA nodes"),
        ({"topology": {"numa_nodes": 1}}, "only a guest sees fewer nodes than sockets"),
        (
            {"topology": {"clusters_per_socket": 3, "numa_nodes": 4}},
            "2 x 3 x 4 cores cannot be shared out evenly to NUMA nodes",
        ),
        (
            {**DRAM_OF_3, "topology": {"numa_nodes": 4}},
            "the 3 channels of a socket cannot be dealt out to its 2",
        ),
        ({"coherence": {"order": {"rule": "lifo"}}}, "fifo"),
        ({"coherence": {"order": {"streak": 0}}}, "greater than 0"),
        ({"topology": {"sockets": 0}}, "greater than 0"),
        ({"topology": {"hyperthreads": 2}}, "hyperthreads"),
        ({"interrupts": {"targets_per_icr": 0}}, "greater than 0"),
        ({"interrupts": {"mode": "cluster"}}, "cluster x2apic"),
        ({"interrupts": {"mode": "cluster x2apic"}}, "`targets_per_icr` is for `mode: paravirtual`"),
        ({"interrupts": {"mode": "flat", "targets_per_icr": None}}, "at most 8 cpus"),
        (
            {
                "topology": {"clusters_per_socket": 32},
                "interrupts": {"mode": "physical flat", "targets_per_icr": None},
            },
            "8 bits, and these cpus have 256 ids",
        ),
        ({"interrupts": {"ack_overlap": 1.5}}, "less than or equal to 1"),
        ({"clock": "2.25"}, "not a frequency"),
        ({"coherence": {"hit": 4}}, "not a cost"),
        ({"memory": {"llc": "32 ns"}}, "not a size"),
        ({"guest": "yes"}, "boolean"),
    ],
)
def test_is_it_refused_with_a_reason(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MachineSpec.model_validate(raw_spec(changes))


def test_do_cycles_follow_the_clock_and_nanoseconds_not() -> None:
    cost = {"coherence": {"cross_cluster": "90 cycles + 50 ns"}}
    assert small_machine(cost).fabric.cross_cluster == 140_000
    assert small_machine({**cost, "clock": "3 GHz"}).fabric.cross_cluster == 80_000


def test_do_clusters_and_sockets_hold_consecutive_cpus() -> None:
    machine = small_machine()
    assert machine.spec.cpus == 16
    assert [cpu.cluster for cpu in machine.cpus] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert [cpu.socket for cpu in machine.cpus] == [0] * 8 + [1] * 8
    assert machine.fabric.cluster_mask[5] == 0b1111_0000
    assert machine.fabric.socket_mask[5] == 0b1111_1111


def test_do_the_nodes_of_a_socket_share_its_cores() -> None:
    """Two nodes a socket take a cluster each; eight take half of one."""
    clusters = small_machine({"topology": {"numa_nodes": 4}})
    assert [cpu.node for cpu in clusters.cpus] == [cpu.cluster for cpu in clusters.cpus]
    halves = small_machine({"topology": {"numa_nodes": 8}})
    assert [cpu.node for cpu in halves.cpus] == [cpu // 2 for cpu in range(16)]
    assert [halves.spec.topology.socket_of_node(node) for node in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]


def test_does_a_guests_kernel_take_several_nodes_for_one() -> None:
    guest = small_machine({"guest": True, "topology": {"sockets": 4, "numa_nodes": 2}}).spec.topology
    assert guest.nodes == 4
    assert [guest.visible_node(node) for node in range(4)] == [0, 0, 1, 1]


def test_do_cpus_sit_where_the_order_says() -> None:
    machine = small_machine(order=[9, 0, 4], online=2)
    assert [(cpu.id, cpu.number, cpu.core, cpu.cluster, cpu.socket) for cpu in machine.cpus] == [
        (0, 9, 9, 2, 1),
        (1, 0, 0, 0, 0),
    ]
    assert repr(machine.cpus[0]) == "cpu 9"
    assert machine.fabric.socket_mask[1] == 0b110  # the third is not online, but has its place


def test_do_only_the_first_cpus_exist_when_fewer_are_online() -> None:
    assert [cpu.id for cpu in small_machine(online=3).cpus] == [0, 1, 2]


@pytest.mark.parametrize(
    ("seats", "clock"),
    [
        ([0], 3.0),
        ([0, 1], 3.0),
        ([0, 1, 2], 2.0),  # half way from two busy cores to all four
        ([0, 1, 2, 3], 1.0),
        ([4, 5], 3.0),
        ([0, 1, 2, 3, 4], (4 * 1.0 + 3.0) / 5),
    ],
)
def test_how_fast_are_so_many_busy_cores(seats: list[int], clock: float) -> None:
    """Two sockets of four cores; one or two busy cores of a socket have three times its clock."""
    spec = MachineSpec.model_validate(
        raw_spec({"topology": {"clusters_per_socket": 1}, "turbo": [{"cores": 2, "clock": "3 GHz"}]})
    )
    assert spec.under_load(map(spec.topology.seat, seats)).clock == pytest.approx(clock * 1e9)


def test_is_the_clock_that_of_the_file_without_turbo() -> None:
    spec = MachineSpec.model_validate(raw_spec({}))
    assert spec.under_load([spec.topology.seat(0)]) is spec
