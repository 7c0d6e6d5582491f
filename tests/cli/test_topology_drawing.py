"""Does the drawing of a machine say which cpus share a cluster?"""

from __future__ import annotations

import pytest

from sim.cli.topology_drawing import topology_drawing
from sim.hardware import Topology


def drawn(**changes: object) -> list[str]:
    two_sockets = {"sockets": 2, "clusters_per_socket": 1, "cores_per_cluster": 4, "numa_nodes": 2}
    return topology_drawing(Topology.model_validate(two_sockets | changes)).plain.splitlines()


@pytest.mark.parametrize(
    ("changes", "sockets", "product"),
    [
        ({}, ["[0-3]", "[4-7]"], "8 cpus = 2 sockets x 1 cluster x 4 cores"),
        (
            {"threads_per_core": 2, "smt_slowdown": 1.5},
            ["[ 0- 3| 8-11]", "[ 4- 7|12-15]"],
            "16 cpus = 2 sockets x 1 cluster x 4 cores x 2 threads",
        ),
        (
            {"threads_per_core": 2, "smt_slowdown": 1.5, "numbering": "siblings-adjacent"},
            ["[ 0- 6:2| 1- 7:2]", "[ 8-14:2| 9-15:2]"],
            "16 cpus = 2 sockets x 1 cluster x 4 cores x 2 threads",
        ),
        (
            {
                "threads_per_core": 2,
                "smt_slowdown": 1.5,
                "numbering": "siblings-adjacent",
                "interleaved": True,
            },
            ["[ 0-12:4| 1-13:4]", "[ 2-14:4| 3-15:4]"],
            "16 cpus = 2 sockets x 1 cluster x 4 cores x 2 threads",
        ),
        ({"interleaved": True}, ["[0-6:2]", "[1-7:2]"], "8 cpus = 2 sockets x 1 cluster x 4 cores"),
        (
            {"clusters_per_socket": 2, "cores_per_cluster": 2},
            ["[0-1] [2-3]", "[4-5] [6-7]"],
            "8 cpus = 2 sockets x 2 clusters x 2 cores",
        ),
        ({"cores_per_cluster": 1}, ["[0]", "[1]"], "2 cpus = 2 sockets x 1 cluster x 1 core"),
    ],
)
def test_are_siblings_dies_and_interleaved_cores_drawn_where_they_sit(
    changes: dict[str, object], sockets: list[str], product: str
) -> None:
    lines = drawn(**changes)
    assert lines[:2] == [f"socket {number}  {cpus}" for number, cpus in enumerate(sockets)]
    assert lines[2] == product


def test_does_a_socket_of_many_clusters_go_on_below_its_first_ones() -> None:
    lines = drawn(sockets=1, clusters_per_socket=7, numa_nodes=1)
    assert lines[0] == "socket 0  [ 0- 3] [ 4- 7] [ 8-11] [12-15] [16-19] [20-23]"
    assert lines[1] == "          [24-27]"


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (1, "the kernel sees 1 NUMA node, though the memory lies on 2 sockets"),
        (2, "the kernel sees 2 NUMA nodes"),
        (4, "the kernel sees 4 NUMA nodes, 2 a socket"),
    ],
)
def test_does_it_say_what_the_kernel_sees_of_the_nodes(nodes: int, said: str) -> None:
    assert drawn(numa_nodes=nodes)[-1] == said


@pytest.mark.parametrize(
    ("changes", "legend"),
    [
        ({"threads_per_core": 2, "smt_slowdown": 1.5}, "| parts"),
        ({"interleaved": True}, ":n stands for every n-th cpu: neighbours in number sit"),
        (
            {"threads_per_core": 2, "smt_slowdown": 1.5, "numbering": "siblings-adjacent"},
            ":n stands for every n-th cpu: the threads of a core are neighbours in number",
        ),
    ],
)
def test_is_only_that_explained_which_is_there(changes: dict[str, object], legend: str) -> None:
    assert any(line.startswith(legend) for line in drawn(**changes))
    assert not any(line.startswith(legend) for line in drawn())
