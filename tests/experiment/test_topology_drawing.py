"""Does the drawing of a machine say which cpus share a cluster?"""

from __future__ import annotations

from typing import Any

import pytest

from sim.experiment.describe import topology_drawing
from sim.hardware import Topology


@pytest.mark.parametrize(
    ("more", "drawn"),
    [
        ({}, ["[0-3]", "[4-7]"]),
        ({"threads_per_core": 2, "smt_slowdown": 1.5}, ["[ 0- 3, 8-11]", "[ 4- 7,12-15]"]),
        ({"interleaved": True}, ["[0-6:2]", "[1-7:2]"]),
    ],
)
def test_are_siblings_and_interleaved_cores_drawn_where_they_sit(
    more: dict[str, Any], drawn: list[str]
) -> None:
    topology = Topology(sockets=2, clusters_per_socket=1, cores_per_cluster=4, numa_nodes=2, **more)
    text = topology_drawing(topology).plain.splitlines()
    assert [text[1].strip(), text[3].strip()] == drawn
