"""A pipe: what do a write and a read cost, who sleeps, who is woken?"""

from __future__ import annotations

from machines import HIT, NS, RMW, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import Pipe, QueueNodes, Scheduler

US = 1000 * NS
ACTIVITY = Activity("channel: pipe")
CODE = 70 * NS, 90 * NS


def pipe(
    machine: Machine,
    capacity: int = 16,
    code: tuple[int, int] | None = CODE,
    scheduler: Scheduler | None = None,
) -> Pipe:
    nodes = QueueNodes(machine, "queue")
    scheduler = scheduler or Scheduler(machine)
    return Pipe(machine, "pipe", 0, nodes, scheduler, messages=0, capacity=capacity, code=code)


def both(there: Pipe, spent: list[int]) -> Steps[None]:
    """A body that writes and reads one message."""

    def body(cpu: Cpu) -> Steps[None]:
        yield from there.send(cpu)
        spent.append(cpu.spent[ACTIVITY])
        yield from there.receive(cpu)
        spent.append(cpu.spent[ACTIVITY] - spent[0])

    return body  # type: ignore[return-value]


def test_are_a_write_and_a_read_two_system_calls_their_code_and_a_mutex_each() -> None:
    spent: list[int] = []
    machine = small_machine()
    run(machine, {0: both(pipe(machine), spent)})  # type: ignore[dict-item]
    syscall, mutex, wait_lock = 50 * NS, 2 * RMW, RMW + HIT
    assert spent == [
        syscall + CODE[0] + mutex + 3 * HIT + wait_lock,
        syscall + CODE[1] + mutex + 3 * HIT,
    ]
    assert machine.tally.sleeps == 0


def test_can_the_calls_be_left_out_as_benchmarks_subtract_them() -> None:
    spent: list[int] = []
    machine = small_machine()
    run(machine, {0: both(pipe(machine, code=None), spent)})  # type: ignore[dict-item]
    assert sum(spent) == 4 * RMW + 6 * HIT + RMW + HIT


def test_does_a_reader_sleep_until_somebody_writes_and_the_first_one_is_woken() -> None:
    machine = small_machine()
    there = pipe(machine)
    read = []

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(cpu.id * US, Activity("user"))
        yield from there.receive(cpu)
        read.append((cpu.id, cpu.now))

    def writer(cpu: Cpu) -> Steps[None]:
        for _ in range(2):
            cpu.work(100 * US, Activity("user"))
            yield from there.send(cpu)

    run(machine, {0: writer, 1: reader, 2: reader})
    assert [cpu for cpu, _ in read] == [1, 2]
    assert read[0][1] < 200 * US < read[1][1]
    assert machine.tally.sleeps == 2
    assert there.messages == 0


def test_does_a_writer_sleep_while_the_pipe_is_full() -> None:
    machine = small_machine()
    there = pipe(machine, capacity=2)
    wrote = []

    def writer(cpu: Cpu) -> Steps[None]:
        for _ in range(3):
            yield from there.send(cpu)
            wrote.append(cpu.now)

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(100 * US, Activity("user"))
        for _ in range(3):
            yield from there.receive(cpu)

    run(machine, {0: writer, 1: reader})
    assert wrote[1] < 10 * US
    assert wrote[2] > 100 * US
    assert there.messages == 0
    assert machine.tally.sleeps >= 1
