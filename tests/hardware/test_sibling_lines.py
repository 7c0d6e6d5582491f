"""What does a cache line cost between the two threads of one core?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import (
    CROSS_CLUSTER,
    HIT,
    NS,
    RMW,
    SAME_CLUSTER,
    SHARED_READ,
    SIBLING,
    SIBLINGS,
    run,
    small_machine,
)
from test_line_costs import latency

from sim.engine import Probe, Steps
from sim.engine.probe import Distance
from sim.hardware import MEMORY, Cpu

OTHER = 16
"""The sibling of cpu 0; 1 is another core of their cluster, 4 one of another cluster."""


@pytest.mark.parametrize("write", [True, False])
def test_does_a_line_stay_in_the_core(write: bool) -> None:
    machine = small_machine(SIBLINGS)
    line = machine.line("line", owner=OTHER)
    assert latency(machine, line, 0, write=write) == SIBLING


@pytest.mark.parametrize("write", [True, False])
def test_is_it_the_access_alone_where_the_file_gives_no_cost(write: bool) -> None:
    machine = small_machine({"topology": SIBLINGS["topology"]})
    assert latency(machine, machine.line("line", owner=OTHER), 0, write=write) == RMW


def test_do_adjacent_lines_of_the_core_come_without_a_burst() -> None:
    machine = small_machine(SIBLINGS)
    assert latency(machine, machine.line("object", owner=OTHER, lines=4), 0) == SIBLING


@pytest.mark.parametrize(
    ("readers", "writer", "cost"),
    [
        ([OTHER], 0, RMW),  # both threads have it: nothing leaves the core
        ([OTHER], OTHER, RMW),
        ([OTHER, 1], 0, SAME_CLUSTER),
        ([OTHER, 4], 0, CROSS_CLUSTER),
        ([OTHER], 1, SAME_CLUSTER),  # two copies of one core are fetched as one
    ],
)
def test_does_a_write_take_nothing_away_from_its_own_core(readers: list[int], writer: int, cost: int) -> None:
    machine = small_machine(SIBLINGS)
    line = machine.line("line", owner=0)
    for reader in readers:
        latency(machine, line, reader, write=False)
    assert latency(machine, line, writer) == cost
    assert (line.owner, line.sharers) == (writer, 0)


def test_does_a_writer_find_the_copy_that_only_its_sibling_has() -> None:
    machine = small_machine(SIBLINGS)
    line = machine.line("line", owner=MEMORY)
    latency(machine, line, 0, write=False)
    assert latency(machine, line, OTHER) == SIBLING


def test_is_a_copy_of_the_core_read_as_ones_own_and_by_both_at_once() -> None:
    machine = small_machine(SIBLINGS)
    line = machine.line("line", owner=4)
    assert latency(machine, line, 0, write=False) == CROSS_CLUSTER
    assert latency(machine, line, OTHER, write=False) == HIT
    assert line.busy_until <= machine.engine.now
    assert latency(machine, line, 0, write=False) == HIT


def test_does_a_sibling_wait_for_a_copy_that_is_on_its_way() -> None:
    """Cpu 8 has a copy, 0 asks for one, and its sibling asks while the copy travels."""
    machine = small_machine(SIBLINGS)
    line = machine.line("line", home=0, owner=4)
    latency(machine, line, 8, write=False)
    began = machine.engine.now
    done = {}

    def reading(cpu: Cpu) -> Steps[None]:
        yield 1 + (cpu.id == OTHER) * 40 * NS  # when the line is free again
        yield from line.read(cpu)
        if cpu.pending:
            yield cpu.take_pending()
        done[cpu.id] = cpu.now - began

    for number in (0, OTHER):
        machine.cpus[number].thread = machine.engine.process(reading(machine.cpus[number]))
    machine.engine.run()
    assert SHARED_READ < 40 * NS < CROSS_CLUSTER
    assert done == {0: 1 + CROSS_CLUSTER, OTHER: 1 + CROSS_CLUSTER}


def test_do_two_siblings_pass_a_line_on_faster_than_two_cores() -> None:
    def time(pair: tuple[int, int], probe: float) -> int:
        machine = small_machine({**SIBLINGS, "coherence": {"sibling": "3 ns", "probe": probe}})
        line = machine.line("line", owner=0)

        def adding(cpu: Cpu) -> Steps[None]:
            for _ in range(100):
                yield from line.write(cpu)

        run(machine, dict.fromkeys(pair, adding))
        return machine.engine.now

    assert time((0, OTHER), 0) == RMW + 199 * SIBLING  # in turns, but for the first one
    assert time((0, 1), 0) == RMW + 199 * SAME_CLUSTER
    assert time((0, OTHER), 0.5) < time((0, 1), 0.5)


def test_is_a_transfer_between_siblings_told_as_one_inside_the_core() -> None:
    class Transfers(Probe):
        def __init__(self) -> None:
            self.seen: list[tuple[int, int, Distance]] = []

        def line_transfer(
            self, line: Any, cpu: int, source: int, distance: Distance, cost: int, write: bool
        ) -> None:
            self.seen.append((cpu, source, distance))

    told = Transfers()
    machine = small_machine(SIBLINGS, listeners=[told])
    line = machine.line("line", owner=0)
    latency(machine, line, OTHER)
    latency(machine, line, 0, write=False)
    latency(machine, line, 0)  # its own copy; the sibling's counts for nothing
    latency(machine, line, 1, write=False)
    latency(machine, line, OTHER, write=False)
    assert told.seen == [
        (OTHER, 0, "same core"),
        (0, OTHER, "same core"),
        (0, 0, "same cpu"),
        (1, 0, "same cluster"),
        (OTHER, 0, "same core"),
    ]
