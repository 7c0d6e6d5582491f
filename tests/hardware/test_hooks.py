"""What do cpus, lines and interrupts tell those who listen, and is it all?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from kernels import BASE, Process
from machines import (
    CROSS_SOCKET,
    HIT,
    LOCAL,
    NS,
    RMW,
    SAME_CLUSTER,
    Body,
    run,
    small_machine,
    with_order,
)

from sim.engine import Activity, Probe, Steps
from sim.engine.probe import Distance
from sim.hardware import MEMORY, Cpu, HeardCpu

FAR = CROSS_SOCKET


class Transfers(Probe):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int, Distance, int, bool]] = []

    def line_transfer(
        self, line: Any, cpu: int, source: int, distance: Distance, cost: int, write: bool
    ) -> None:
        assert line.name == "x"
        self.seen.append((cpu, source, distance, cost, write))


class Charges(Probe):
    def __init__(self) -> None:
        self.of: dict[int, Counter[str]] = {}

    def charge(self, cpu: Any, activity: str, cost: int) -> None:
        self.of.setdefault(cpu.id, Counter())[activity] += cost


def test_is_every_transfer_told_with_where_it_came_from() -> None:
    """Cpus 0-3 and 4-7 are clusters of socket 0, 8-11 of socket 1."""
    listener = Transfers()
    machine = small_machine(listeners=[listener])
    line = machine.line("x")
    program = [(0, "write"), (0, "write"), (0, "read"), (1, "write"), (5, "read"), (6, "read"), (8, "write"),
               (0, "read"), (9, "write"), (0, "read"), (5, "write")]  # fmt: skip

    def body(number: int) -> Body:
        def steps(cpu: Cpu) -> Steps[None]:
            for time, (who, access) in enumerate(program):
                if who == number:
                    cpu.work((time + 1) * 1000 * NS - cpu.now, Activity("until its turn"))
                    yield from getattr(line, access)(cpu)

        return steps

    run(machine, {number: body(number) for number in {who for who, _ in program}})
    assert listener.seen == [
        (0, MEMORY, "memory", LOCAL, True),
        (0, 0, "same cpu", RMW, True),
        # Cpu 0's load finds the line here: no transfer.
        (1, 0, "same cluster", SAME_CLUSTER, True),
        (5, 1, "same socket", 100 * NS, False),
        (6, 5, "same cluster", SAME_CLUSTER, False),  # of 1, 5 the one in its cluster
        (8, 1, "other socket", FAR, True),  # from all of 1, 5, 6
        (0, 8, "other socket", FAR, False),
        (9, 0, "other socket", FAR, True),  # of 0, 8 the farthest
        (0, 9, "other socket", FAR, False),
        (5, 9, "other socket", FAR, True),  # of 0, 9 the farthest
    ]


@pytest.mark.parametrize("rule", ["fifo", "random", "cluster-first"])
@pytest.mark.parametrize("smt", [False, True])
def test_do_the_charges_of_a_cpu_sum_to_its_account(rule: str, smt: bool) -> None:
    """Work, contended lines, IPIs, their handlers, sleeps of the machine and pages turned in between."""
    shape = {"threads_per_core": 2, "smt_slowdown": 1.6} if smt else {}
    listener = Charges()
    machine = small_machine({**with_order(rule), "topology": shape}, listeners=[listener])
    line = machine.line("x")
    assert all(isinstance(cpu, HeardCpu) for cpu in machine.cpus)
    others = machine.cpus[:6]

    def body(cpu: Cpu) -> Steps[None]:
        for turn in range(20):
            cpu.work((cpu.id * 37 + turn * 11) % 200 * NS, Activity("user"))
            yield from line.write(cpu)
            yield from line.read(cpu)
            if turn % 5 == cpu.id % 5:
                targets = [other for other in others if other is not cpu]
                round_ = yield from machine.interrupts.start(cpu, targets, lambda target: 40 * NS)
                yield from machine.interrupts.finish(round_)

    for time in (1, 3, 7):
        for cpu in others:
            machine.engine.call_in(time * 1000 * NS, cpu.turn_page)

    def late(_: Cpu) -> tuple[int, Any]:
        """A handler that outlasts the run, which may be over by then."""
        return 10**6 * NS, lambda end: None

    def at_the_end() -> None:
        if all(cpu.in_kernel_wait for cpu in others[1:]):
            others[1].interrupt(late)
        else:
            machine.engine.call_in(100 * NS, at_the_end)

    at_the_end()
    run(machine, {cpu.id: body for cpu in others})
    for cpu in others:
        account: Counter[str] = Counter()
        for page in (*cpu.pages, cpu.spent):
            account.update(page)
        assert {name: time for name, time in listener.of[cpu.id].items() if time} == {
            name: time for name, time in account.items() if time
        }


def test_is_a_charge_told_when_the_cpu_has_it_behind() -> None:
    """Work and what a line costs lie between `cpu.now - cost` and `cpu.now`."""
    spans = []

    class Spans(Probe):
        def charge(self, cpu: Any, activity: str, cost: int) -> None:
            spans.append((activity, (cpu.now - cost) // NS, cpu.now // NS))

    machine = small_machine(listeners=[Spans()])
    line = machine.line("x", owner=0)

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(100 * NS, Activity("user"))
        yield from line.write(cpu)
        cpu.work(50 * NS, Activity("user"))

    run(machine, {0: body})
    assert spans[:3] == [("user", 0, 100), ("cache line", 100, 102), ("user", 102, 152)]
    assert HIT < RMW  # the write found it


class Ipis(Probe):
    def __init__(self) -> None:
        self.called: list[tuple[int, list[int]]] = []
        self.sent: list[tuple[int, list[int]]] = []
        self.arrived: list[int] = []
        self.handled: list[tuple[int, list[int]]] = []
        self.acked: list[tuple[int, int, int]] = []

    def ipi_call(self, call: Any) -> None:
        self.called.append((call.sender.id, [target.id for target in call.targets]))

    def ipi_send(self, sender: Any, targets: Any) -> None:
        self.sent.append((sender.id, [target.id for target in targets]))

    def ipi_arrive(self, cpu: Any) -> None:
        self.arrived.append(cpu.id)

    def ipi_handle(self, cpu: Any, calls: Any) -> None:
        for call in calls:
            assert (call.sender.id, [target.id for target in call.targets]) in self.called
        self.handled.append((cpu.id, [call.sender.id for call in calls]))

    def ipi_ack(self, cpu: Any, call: Any, at: int) -> None:
        self.acked.append((cpu.id, call.sender.id, at))


def test_is_each_ipi_sent_handled_and_acknowledged() -> None:
    listener = Ipis()
    machine = small_machine(listeners=[listener])

    def body(cpu: Cpu) -> Steps[None]:
        round_ = yield from machine.interrupts.start(cpu, machine.cpus[1:6], lambda target: 0)
        yield from machine.interrupts.finish(round_)

    run(machine, {0: body})
    assert listener.called == [(0, [1, 2, 3, 4, 5])]
    assert listener.sent == [(0, [1, 2, 3]), (0, [4, 5])]  # a write reaches one group of four
    assert listener.arrived == [1, 2, 3, 4, 5]
    assert listener.handled == [(target, [0]) for target in range(1, 6)]
    assert [(cpu, sender) for cpu, sender, _ in listener.acked] == [(target, 0) for target in range(1, 6)]
    assert all(at >= 850 * NS for _, _, at in listener.acked)  # send, deliver, handle


def test_are_calls_that_share_an_interrupt_told_apart() -> None:
    listener = Ipis()
    machine = small_machine(listeners=[listener])

    def deaf(cpu: Cpu) -> Steps[None]:
        cpu.disable_interrupts()
        cpu.work(20_000 * NS, Activity("deaf"))
        yield cpu.take_pending()
        cpu.enable_interrupts()

    def sends(cpu: Cpu) -> Steps[None]:
        cpu.work(cpu.id * 1000 * NS, Activity("user"))
        round_ = yield from machine.interrupts.start(cpu, [machine.cpus[0]], lambda target: 0)
        yield from machine.interrupts.finish(round_)

    run(machine, {0: deaf, 1: sends, 2: sends})
    assert listener.called == [(1, [0]), (2, [0])]
    assert listener.sent == [(1, [0])]  # the second call joins the first one's queue
    assert listener.arrived == [0]
    assert listener.handled == [(0, [1, 2])]
    assert [sender for _, sender, _ in listener.acked] == [1, 2]


def test_is_a_handler_told_with_its_time() -> None:
    """The second arrives during the first; the third while interrupts are off, from 2 to 3 us."""
    told: list[tuple[int, int]] = []

    class Handlers(Probe):
        def interrupt(self, cpu: Any, begins: int, length: int) -> None:
            told.append((begins // NS, length // NS))

    machine = small_machine(listeners=[Handlers()])

    def deaf(cpu: Cpu) -> Steps[None]:
        cpu.work(800 * NS, Activity("user"))  # two handlers make it end at 2000
        yield cpu.take_pending()
        cpu.disable_interrupts()
        cpu.work(1000 * NS, Activity("deaf"))
        yield cpu.take_pending()
        cpu.enable_interrupts()

    for time in (100, 200, 2500):
        machine.engine.call_in(
            time * NS, lambda: machine.cpus[0].interrupt(lambda _: (600 * NS, lambda end: None))
        )
    run(machine, {0: deaf})
    assert told == [(100, 600), (700, 600), (3000, 600)]


def test_are_operations_told_with_their_begin_and_end() -> None:
    """Each operation of each thread begins once and ends once, at the thread's own time, in order."""

    class Told(Probe):
        def __init__(self) -> None:
            self.seen: list[tuple[int, str, str, int]] = []

        def operation_begins(self, cpu: Any, operation: Any) -> None:
            self.seen.append((cpu.id, "begins", operation.name, cpu.now))

        def operation_ends(self, cpu: Any, operation: Any) -> None:
            self.seen.append((cpu.id, "ends", operation.name, cpu.now))

    told = Told()
    process = Process("linux", cpus=2, listeners=[told])
    process.do(("mmap", 4, BASE), ("munmap", BASE, 4), cpu=1)
    words = [(cpu, what, name) for cpu, what, name, _ in told.seen]
    assert words == [(1, what, name) for name in ("mmap", "munmap") for what in ("begins", "ends")]
    times = [time for *_, time in told.seen]
    assert times == sorted(times)
    assert times[0] < times[1]
