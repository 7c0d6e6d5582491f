"""Where does a cpu sit, by its number?"""

from __future__ import annotations

from typing import Any

import pytest

from sim.hardware import Topology

PAIRS: dict[str, Any] = {
    "sockets": 2,
    "clusters_per_socket": 1,
    "cores_per_cluster": 2,
    "numa_nodes": 2,
    "threads_per_core": 2,
    "smt_slowdown": 1.5,
}


def seats(**changes: Any) -> list[tuple[int, int, int]]:
    """Socket, core and thread of each cpu."""
    topology = Topology.model_validate(PAIRS | changes)
    return [
        (topology.socket_of(cpu), topology.core_of(cpu), topology.thread_of(cpu))
        for cpu in range(topology.cpus)
    ]


def test_do_second_threads_follow_all_first_ones_unless_the_file_says_otherwise() -> None:
    first = [(0, 0, 0), (0, 1, 0), (1, 2, 0), (1, 3, 0)]
    assert seats() == [*first, *((socket, core, 1) for socket, core, _ in first)]
    assert seats(numbering="siblings-last") == seats()


def test_do_siblings_stand_side_by_side_where_the_file_says_so() -> None:
    assert seats(numbering="siblings-adjacent") == [
        (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 2, 0), (1, 2, 1), (1, 3, 0), (1, 3, 1),
    ]  # fmt: skip


def test_do_whole_cores_alternate_between_sockets_where_both_hold() -> None:
    assert seats(numbering="siblings-adjacent", interleaved=True) == [
        (0, 0, 0), (0, 0, 1), (1, 2, 0), (1, 2, 1), (0, 1, 0), (0, 1, 1), (1, 3, 0), (1, 3, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("interleaved", [False, True])
def test_is_the_numbering_without_effect_where_a_core_has_one_thread(interleaved: bool) -> None:
    single = {"threads_per_core": 1, "smt_slowdown": None, "interleaved": interleaved}
    assert seats(**single, numbering="siblings-adjacent") == seats(**single)


@pytest.mark.parametrize("numbering", ["siblings-last", "siblings-adjacent"])
def test_does_the_number_for_interrupts_follow_the_place_and_not_the_number(numbering: str) -> None:
    """One bit each for socket, core and thread; one cluster needs none."""
    topology = Topology.model_validate(PAIRS | {"numbering": numbering})
    for cpu in range(topology.cpus):
        core = topology.core_of(cpu) % 2
        assert topology.apic_id(cpu) == topology.socket_of(cpu) << 2 | core << 1 | topology.thread_of(cpu)
