"""Are the tables of a topology those that its own answers make, and made once?"""

from __future__ import annotations

import numpy as np
import pytest
from machines import raw_spec

from sim.engine import Engine
from sim.files import load_spec
from sim.hardware import Machine, MachineSpec, Topology
from sim.hardware.places import Places, places_of
from sim.hardware.spec import _on_the_line


def bits(cpus: list[int]) -> int:
    return sum(1 << cpu for cpu in cpus)


@pytest.mark.parametrize("name", ["epyc-9965-guest", "milan-72", "desktop-8"])
def test_are_they_what_the_topology_says_of_each_cpu(name: str) -> None:
    topology: Topology = load_spec("machine", name).spec.topology  # type: ignore[attr-defined]
    order = [*range(1, topology.cpus, 3), 0, topology.cpus - 1]
    places = Places(topology, order)
    for cpu in {0, 1, len(order) // 2, len(order) - 2, len(order) - 1}:
        number = order[cpu]
        assert places.seats[cpu] == topology.seat(number)
        for mask, of in (
            (places.core_mask, topology.core_of),
            (places.cluster_mask, topology.cluster_of),
            (places.socket_mask, topology.socket_of),
        ):
            together = [other for other, its in enumerate(order) if of(its) == of(number)]
            assert mask[cpu] == bits(together)
        assert places.core_of[cpu] == topology.core_of(number)
        assert places.cluster_of[cpu] == topology.cluster_of(number)
        assert places.socket_of[cpu] == topology.socket_of(number)
    assert places.siblings == (len({topology.core_of(number) for number in order}) < len(order))


def test_do_machines_that_are_alike_share_them_and_nothing_that_changes() -> None:
    spec = MachineSpec.model_validate(raw_spec())
    again = MachineSpec.model_validate(raw_spec())
    one, other = Machine(Engine(), spec), Machine(Engine(), again)
    assert one.fabric.core_mask is other.fabric.core_mask
    assert not {id(cpu) for cpu in one.cpus} & {id(cpu) for cpu in other.cpus}
    topology = spec.topology
    assert places_of(topology, [0, 1]) is places_of(topology, (0, 1))
    assert places_of(topology, [1, 0]) is not places_of(topology, [0, 1])
    narrow = topology.model_copy(update={"sockets": 1, "clusters_per_socket": 4})
    assert places_of(narrow, range(16)).socket_mask != places_of(topology, range(16)).socket_mask


@pytest.mark.parametrize("steps", [[(1, 5_700_000_000), (4, 5_100_000_001), (16, 4_300_000_000)], [(3, 7)]])
def test_is_the_clock_between_two_steps_of_turbo_numpys(steps: list[tuple[int, int]]) -> None:
    cores, clocks = zip(*steps, strict=True)
    for number in range(1, 20):
        assert _on_the_line(number, steps) == float(np.interp(number, cores, clocks))


@pytest.mark.parametrize("name", ["xeon-5418yx2"])
def test_is_it_so_on_a_machine_that_is_on_board(name: str) -> None:
    """To the last bit: the clock is rounded afterwards, and could fall on the other side."""
    spec: MachineSpec = load_spec("machine", name).spec  # type: ignore[assignment]
    steps = spec._turbo_steps()
    cores, clocks = zip(*steps, strict=True)
    assert len(steps) > 1
    for number in range(1, steps[-1][0] + 2):
        assert _on_the_line(number, steps) == float(np.interp(number, cores, clocks))
