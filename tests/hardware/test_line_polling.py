"""A cpu that loads a line again and again: when does it hear of a write?"""

from __future__ import annotations

from machines import NS, Body, run, small_machine

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu


class Eye:
    """What a poller waits for."""

    def describe_wait(self) -> str:
        return "a write"


def polls(line: CacheLine, seen: list[int], times: int) -> Body:
    """Load *line*, then wait until it has to be loaded anew, *times* times; *seen* gets when."""

    def body(cpu: Cpu) -> Steps[None]:
        eye = Eye()
        for _ in range(times):
            yield from line.read(cpu)
            if cpu.pending:
                yield cpu.take_pending()
            assert line.held_by(cpu)
            line.watch(cpu, eye)
            yield from cpu.park(eye, "polling")
            seen.append(cpu.now)

    return body


def at(moment: int, *accesses: str, line: CacheLine) -> Body:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(moment, "user")
        for access in accesses:
            yield from getattr(line, access)(cpu)

    return body


def test_does_a_poller_hear_of_each_write_that_takes_its_copy_and_of_no_read() -> None:
    machine = small_machine()
    line = machine.line("polled")
    seen: list[int] = []
    bodies = {
        0: polls(line, seen, 3),
        1: at(1000 * NS, "read", line=line),
        4: at(2000 * NS, "write", line=line),
        5: at(3000 * NS, "store", line=line),
        6: at(4000 * NS, "prefetch_write", line=line),
        8: at(5000 * NS, "write", line=line),  # nobody polls any more
    }
    run(machine, bodies)
    assert seen == [2000 * NS, 3000 * NS, 4000 * NS]


def test_does_a_poller_that_looked_away_hear_nothing() -> None:
    machine = small_machine()
    line, other = machine.line("polled"), machine.line("another")
    woken: list[int] = []

    def body(cpu: Cpu) -> Steps[None]:
        eye = Eye()
        yield from line.read(cpu)
        yield from other.read(cpu)
        yield cpu.take_pending()
        line.watch(cpu, eye)
        line.unwatch(cpu)
        other.watch(cpu, eye)
        yield from cpu.park(eye, "polling")
        woken.append(cpu.now)

    run(
        machine,
        {0: body, 1: at(1000 * NS, "write", line=line), 2: at(2000 * NS, "prefetch_write", line=other)},
    )
    assert woken == [2000 * NS]
