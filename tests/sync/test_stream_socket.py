"""A stream socket: what do a write and a read cost, who sleeps, who is woken?"""

from __future__ import annotations

from machines import ADJACENT, HIT, NS, RMW, SAME_CLUSTER, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import QueueNodes, Scheduler, StreamSocket

US = 1000 * NS
ACTIVITY = Activity("channel: socket")
CODE = 70 * NS, 90 * NS
SYSCALL = 50 * NS


def socket(machine: Machine) -> StreamSocket:
    nodes, scheduler = QueueNodes(machine, "queue"), Scheduler(machine)
    return StreamSocket(machine, "socket", 0, nodes, scheduler, messages=0, code=CODE)


def test_are_a_write_and_a_read_two_system_calls_their_code_and_their_locks() -> None:
    """A lock is taken by an atomic instruction and released by a store."""
    machine, spent = small_machine(), []
    there, lock = socket(machine), RMW + HIT

    def body(cpu: Cpu) -> Steps[None]:
        yield from there.send(cpu)
        spent.append(cpu.spent[ACTIVITY])
        yield from there.receive(cpu)
        spent.append(cpu.spent[ACTIVITY] - spent[0])

    run(machine, {0: body})
    assert spent[0] == SYSCALL + CODE[0] + RMW + 2 * HIT + 2 * lock + HIT
    assert spent[1] == SYSCALL + CODE[1] + 2 * RMW + lock + HIT + HIT + lock + RMW
    assert machine.tally.sleeps == 0


def test_does_a_message_bring_its_buffer_of_four_lines_and_its_bytes_of_two() -> None:
    """Read on another cpu, later: a burst each, and account, state, queue and mutex."""
    machine, spent = small_machine(), []
    there = socket(machine)

    def writer(cpu: Cpu) -> Steps[None]:
        yield from there.send(cpu)

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(10 * US, Activity("user"))
        yield from there.receive(cpu)
        spent.append(cpu.spent[ACTIVITY])

    run(machine, {0: writer, 1: reader})
    lines = 6 * SAME_CLUSTER + (3 + 1) * ADJACENT
    own = HIT + HIT + RMW  # to release the two locks and the mutex
    assert spent == [SYSCALL + CODE[1] + lines + own]


def test_does_a_reader_sleep_until_somebody_writes() -> None:
    machine, read = small_machine(), []
    there = socket(machine)

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(cpu.id * US, Activity("user"))
        yield from there.receive(cpu)
        read.append(cpu.now)

    def writer(cpu: Cpu) -> Steps[None]:
        for _ in range(2):
            cpu.work(100 * US, Activity("user"))
            yield from there.send(cpu)

    run(machine, {0: writer, 1: reader, 2: reader})
    assert read[0] < 200 * US < read[1]
    assert there.messages == 0
    assert machine.tally.sleeps == 3  # both are woken, and one sleeps again
