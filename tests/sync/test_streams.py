"""What holds for pipes and stream sockets alike: no message is lost, and nobody waits for what is closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from machines import NS, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import Pipe, QueueNodes, Scheduler, StreamSocket

US = 1000 * NS
CODE = 70 * NS, 90 * NS

Stream = Pipe | StreamSocket


def pipe(machine: Machine) -> Stream:
    nodes, scheduler = QueueNodes(machine, "queue"), Scheduler(machine)
    return Pipe(machine, "pipe", 0, nodes, scheduler, messages=0, capacity=3, code=CODE)


def socket(machine: Machine) -> Stream:
    nodes, scheduler = QueueNodes(machine, "queue"), Scheduler(machine)
    return StreamSocket(machine, "socket", 0, nodes, scheduler, messages=0, code=CODE)


each = pytest.mark.parametrize("make", [pipe, socket])


@each
@pytest.mark.parametrize("seed", range(5))
def test_are_no_messages_lost_where_many_write_and_read(make: Callable[[Machine], Stream], seed: int) -> None:
    """Each reader gets its share, whoever sleeps; a message that comes between check and sleep is seen."""
    machine = small_machine(seed=seed, ties="shuffle")
    there, got = make(machine), []

    def reader(cpu: Cpu) -> Steps[None]:
        for _ in range(20):
            yield from there.receive(cpu)
            got.append(cpu.id)

    def writer(cpu: Cpu) -> Steps[None]:
        for _ in range(20):
            yield from there.send(cpu)

    run(machine, {0: writer, 1: reader, 4: writer, 5: reader, 8: writer, 9: reader})
    assert sorted(got) == [1] * 20 + [5] * 20 + [9] * 20
    assert there.messages == 0


@each
def test_does_nobody_wait_for_what_is_closed(make: Callable[[Machine], Stream]) -> None:
    machine = small_machine()
    there = make(machine)

    def reader(cpu: Cpu) -> Steps[None]:
        yield from there.receive(cpu)

    def closing(cpu: Cpu) -> Steps[None]:
        cpu.work(50 * US, Activity("user"))
        yield from there.close(cpu)

    run(machine, {0: closing, 1: reader, 2: reader})
    assert there.messages == 0
