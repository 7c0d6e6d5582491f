"""What may a machine file not say?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import raw_spec, small_machine
from pydantic import ValidationError

from sim.hardware import MachineSpec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coherence": {"same_cluster": "101 ns"}}, "cross_cluster must not be cheaper than same_cluster"),
        ({"coherence": {"cross_socket": "99 ns"}}, "cross_socket must not be cheaper than cross_cluster"),
        ({"coherence": {"via_home": "199 ns"}}, "via_home must not be cheaper than cross_socket"),
        ({"memory": {"remote": "79 ns"}}, "remote memory must not be nearer"),
        ({"coherence": {"order": {"rule": "lifo"}}}, "fifo"),
        ({"coherence": {"order": {"streak": 0}}}, "greater than 0"),
        ({"topology": {"sockets": 0}}, "greater than 0"),
        ({"topology": {"hyperthreads": 2}}, "hyperthreads"),
        ({"interrupts": {"handler_lines": 0}}, "greater than 0"),
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


def test_do_only_the_first_cpus_exist_when_fewer_are_online() -> None:
    assert [cpu.id for cpu in small_machine(online=3).cpus] == [0, 1, 2]
