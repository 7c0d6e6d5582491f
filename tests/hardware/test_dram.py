"""How much slower does DRAM get under load?"""

from __future__ import annotations

from random import Random

import pytest
from machines import NS, small_machine

from sim.errors import ModelError
from sim.hardware.memory import Channels
from sim.hardware.spec import Dram
from sim.quantities import LINE_BYTES, parse_bandwidth, parse_duration

BANKS, CYCLE = 16, 40 * NS


def mean_wait(use_of_banks: float, bus: str, channels: int = 4) -> float:
    """ns that a line waits, where random reads keep the banks busy for that share of the time."""
    spec = Dram(
        channels=channels,
        channel_bandwidth=bus,  # type: ignore[arg-type]
        banks=BANKS,
        bank_cycle="40 ns",  # type: ignore[arg-type]
    )
    random = Random(1)
    server = Channels(spec, channels, random.random)
    now, total, lines = 0.0, 0, 100_000
    for _ in range(lines):
        now += random.expovariate(1) * CYCLE / use_of_banks / (channels * BANKS)
        total += server.read_line(int(now))
    return total / lines / NS


@pytest.mark.parametrize("use", [0.1, 0.4, 0.7])
def test_is_a_bank_an_md1_queue(use: float) -> None:
    """With a bus that costs nothing: W = cycle * use / (2 * (1 - use))."""
    assert mean_wait(use, "100000 GB/s") == pytest.approx(40 * use / (2 * (1 - use)), rel=0.05)


def test_does_a_narrow_bus_make_lines_wait_longer() -> None:
    assert parse_duration("40 ns") == CYCLE
    per_line = LINE_BYTES * 1e9 / parse_bandwidth("40 GB/s")
    assert mean_wait(0.5, "40 GB/s") > mean_wait(0.5, "100000 GB/s") + per_line / 10


def test_is_another_node_farther_and_another_socket_farthest() -> None:
    dram = {"channels": 2, "channel_bandwidth": "20 GB/s", "banks": 4, "bank_cycle": "30 ns"}
    changes = {"topology": {"numa_nodes": 4}, "memory": {"local_other_node": "95 ns", "dram": dram}}
    machine = small_machine(changes)
    assert [machine.memory.read_line(machine.cpus[8], node) / NS for node in (2, 3, 0, 1)] == [
        80,
        95,
        140,
        140,
    ]
    near = small_machine({**changes, "memory": {"dram": dram}})
    assert near.memory.read_line(near.cpus[8], 3) == 80 * NS


def test_do_the_nodes_of_a_socket_split_its_channels() -> None:
    """One bank a node: the second line at the same instant waits for a whole row cycle."""
    dram = {"channels": 2, "channel_bandwidth": "100000 GB/s", "banks": 1, "bank_cycle": "30 ns"}
    machine = small_machine({"topology": {"numa_nodes": 4}, "memory": {"dram": dram}})
    cpu = machine.cpus[0]
    assert [machine.memory.read_line(cpu, 0) / NS for _ in range(3)] == [80, 110, 140]
    assert machine.memory.read_line(machine.cpus[4], 1) == 80 * NS


def test_is_latency_under_load_refused_where_the_channels_are_unknown() -> None:
    with pytest.raises(ModelError, match=r"memory\.dram"):
        small_machine().memory.read_line(small_machine().cpus[0], 0)
