"""What do a request's way to the owner, the home between two sockets and a cluster's own copies cost?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import NS, RMW, SAME_CLUSTER, run, small_machine

from sim.engine import Steps
from sim.hardware import Cpu


def tight_loop(probe: float, threads: int, length: int = 20_000 * NS) -> int:
    """RMWs of all threads together in *length*."""
    machine = small_machine({"coherence": {"probe": probe}})
    line = machine.line("counter", owner=0)
    done = 0

    def body(cpu: Cpu) -> Steps[None]:
        nonlocal done
        while cpu.now < length:
            yield from line.write(cpu)
            done += 1

    run(machine, dict.fromkeys(range(threads), body))
    return done


def test_does_the_owner_go_on_until_the_probe_arrives() -> None:
    """Of the 30 ns of a transfer 9 are the probe's: the owner begins RMWs of 2 ns at 0, 2, 4, 6, 8."""
    turn = 10 * NS + SAME_CLUSTER - 9 * NS
    assert tight_loop(0.3, 2) == pytest.approx(20_000 * NS / turn * 6, rel=0.02)
    assert tight_loop(0, 2) == pytest.approx(20_000 * NS / SAME_CLUSTER, rel=0.02)


def test_can_the_owner_keep_the_others_out() -> None:
    """However short its loop, the line moves on once the request is there."""
    machine = small_machine({"coherence": {"probe": 0.5}})
    line = machine.line("counter", owner=0)
    waited = []

    def body(cpu: Cpu) -> Steps[None]:
        for _ in range(50):
            before = cpu.now
            yield from line.write(cpu)
            waited.append(cpu.now - before)

    run(machine, dict.fromkeys(range(4), body))
    assert max(waited) < 4 * (SAME_CLUSTER + RMW)


@pytest.mark.parametrize(("probe", "expected"), [(0, 30 * NS), (0.3, 30 * NS)])
def test_is_an_idle_transfer_as_long_with_a_probe(probe: float, expected: int) -> None:
    machine = small_machine({"coherence": {"probe": probe}})
    line = machine.line("line", owner=0)
    took = []

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)
        took.append(cpu.now)

    run(machine, {1: body})
    assert took == [expected]


FOUR_SOCKETS: dict[str, Any] = {
    "topology": {"sockets": 4, "numa_nodes": 4},
    "coherence": {"via_home": "350 ns"},
}


@pytest.mark.parametrize(
    ("owner", "home", "cost"),
    [(8, 0, 200), (8, 1, 200), (8, 2, 350), (8, 3, 350), (1, 3, 30), (4, 3, 100)],
)
def test_does_a_transfer_between_two_sockets_visit_the_home(owner: int, home: int, cost: int) -> None:
    """cpu 0 of socket 0 takes the line: from socket 1 by way of the home, unless it is one of the two."""
    machine = small_machine(FOUR_SOCKETS)
    line = machine.line("line", home, owner=owner)

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)

    run(machine, {0: body})
    assert machine.cpus[0].spent["cache line"] == cost * NS


def test_is_only_a_transfer_between_sockets_dearer_while_others_wait() -> None:
    """cpus 1, 8 and 9 want a line of cpu 0's. 1 and 9 get it from near, 8 from far while 9 still waits."""
    machine = small_machine({"coherence": {"contended": 1.5}})
    took: dict[int, int] = {}

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)
        took[cpu.id] = cpu.now

    line = machine.line("line", owner=0)
    run(machine, {1: body, 8: body, 9: body})
    assert took == {1: 30 * NS, 8: (30 + 300) * NS, 9: (30 + 300 + 30) * NS}
    machine, took = small_machine({"coherence": {"contended": 1.5}}), {}
    line = machine.line("line", owner=0)
    run(machine, {8: body})
    assert took == {8: 200 * NS}


def test_does_a_cluster_serve_its_readers_one_after_another() -> None:
    """The first copy takes a transfer, each further one 12 ns more, in two clusters side by side."""
    machine = small_machine({"coherence": {"shared_read_inside": "12 ns"}})
    line = machine.line("line", owner=15)
    took: dict[int, int] = {}

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.read(cpu)
        took[cpu.id] = cpu.now

    run(machine, {0: body, 1: body, 2: body, 3: body})
    assert [took[cpu] for cpu in range(4)] == [200 * NS, 212 * NS, 224 * NS, 236 * NS]


def test_where_do_siblings_and_interleaved_cores_sit() -> None:
    blocks = small_machine({"topology": {"threads_per_core": 2, "smt_slowdown": 1.5}})
    assert [cpu.socket for cpu in blocks.cpus[::4]] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert blocks.cpus[0].cluster == blocks.cpus[16].cluster
    turns = small_machine({"topology": {"interleaved": True}})
    assert [cpu.socket for cpu in turns.cpus] == [0, 1] * 8
    assert [cpu.cluster for cpu in turns.cpus[:10]] == [0, 2, 0, 2, 0, 2, 0, 2, 1, 3]
