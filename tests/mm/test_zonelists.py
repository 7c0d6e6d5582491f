"""To which node does an allocation go on when one is full?

The lists of two machines are what Linux prints since 5.16 (from the discussion of
commit 54d032ced983 on the kernel's mailing list, August 2021).
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from machines import raw_spec

from sim.files import load_spec
from sim.hardware import MachineSpec
from sim.mm import FrameMap, distances, zonelists

TWO_BY_TWO = [[10, 12, 32, 32], [12, 10, 32, 32], [32, 32, 10, 12], [32, 32, 12, 10]]
TWO_BY_FOUR = [
    [10 if a == b else 12 if a // 4 == b // 4 else 32 for b in range(8)] for a in range(8)
]  # fmt: skip
PRINTED = ["01234567", "12305674", "23016745", "30127456", "45670123", "56741230", "67452301", "74563012"]


def lists(rows: list[str]) -> list[list[int]]:
    return [[int(node) for node in row] for row in rows]


def preset(name: str) -> MachineSpec:
    return cast(MachineSpec, load_spec("machine", name).spec)


def test_are_the_lists_those_that_linux_prints() -> None:
    assert zonelists(TWO_BY_TWO) == lists(["0123", "1032", "2301", "3210"])
    assert zonelists(TWO_BY_FOUR) == lists(PRINTED)


def test_do_the_costs_of_an_nps4_machine_give_its_list() -> None:
    """Another node of the socket is farther than the own one and nearer than the other socket."""
    distance = distances(preset("epyc-9965-nps4"), 8)
    assert distance[0] == [10, 11, 11, 11, 19, 19, 19, 19]
    assert zonelists(distance) == lists(PRINTED)


def test_do_eight_sockets_at_one_distance_take_turns() -> None:
    """Whoever is behind in number comes last, and no node is the first choice of two others."""
    orders = zonelists(distances(preset("xeon-e7-8870x8"), 8))
    assert orders == [[*range(node, 8), *range(node)] for node in range(8)]
    assert sorted(order[1] for order in orders) == list(range(8))


def test_is_another_node_never_as_near_as_the_own_one() -> None:
    spec = MachineSpec.model_validate(raw_spec({"memory": {"remote": "80 ns"}}))
    assert distances(spec, 2) == [[10, 11], [11, 10]]


@pytest.mark.parametrize("first", [0, 1])
def test_does_the_host_of_a_guest_go_on_with_the_other_node(first: int) -> None:
    guest: dict[str, Any] = {
        "guest": True, "topology": {"numa_nodes": 1}, "memory": {"size_per_socket": "8 pages"},
    }  # fmt: skip
    frames = FrameMap(MachineSpec.model_validate(raw_spec(guest)))
    assert [frames.node(frame, first) for frame in range(16)] == [first] * 8 + [1 - first] * 8
    assert frames.node(0, 1 - first) == first
