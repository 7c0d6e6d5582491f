"""Do lines side by side come in one burst, and yet move and wait each by itself?"""

from __future__ import annotations

from machines import ADJACENT, HIT, NS, SAME_CLUSTER, SmallMachine, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, LineSpan


def span_of(machine: SmallMachine, *owners: int) -> LineSpan:
    return LineSpan([machine.line(f"line {number}", owner=owner) for number, owner in enumerate(owners)])


def time_of(owners: tuple[int, ...], *, write: bool) -> tuple[int, LineSpan]:
    """What cpu 0 pays for an access to lines of these owners."""
    machine = small_machine(online=4)
    span, spent = span_of(machine, *owners), []

    def body(cpu: Cpu) -> Steps[None]:
        yield from (span.store if write else span.read)(cpu)
        spent.append(cpu.now)

    run(machine, {0: body})
    return spent[0], span


def test_what_does_an_access_to_several_lines_cost() -> None:
    for write in (False, True):
        assert time_of((0, 0, 0), write=write)[0] == HIT
        assert time_of((0, 1, 0), write=write)[0] == SAME_CLUSTER
        assert time_of((1, 1, 2), write=write)[0] == SAME_CLUSTER + 2 * ADJACENT


def test_whose_are_the_lines_afterwards() -> None:
    _, stored = time_of((1, 2, 0), write=True)
    assert [line.owner for line in stored.lines] == [0, 0, 0]
    _, read = time_of((1, 2, 0), write=False)
    assert [line.sharers for line in read.lines] == [0b011, 0b101, 0]


def test_does_a_busy_line_beside_make_the_access_wait() -> None:
    """Cpu 1 is taking the second line from cpu 2, until 30 ns: cpu 0 gets it after that."""
    machine = small_machine(online=4)
    span, spent = span_of(machine, 3, 2), []

    def first(cpu: Cpu) -> Steps[None]:
        cpu.work(1 * NS, Activity("work"))
        yield from span.store(cpu)
        spent.append(cpu.now)

    run(machine, {0: first, 1: lambda cpu: span.lines[1].write(cpu)})
    assert spent == [1 * NS + 2 * SAME_CLUSTER]
