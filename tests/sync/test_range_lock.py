"""Does a range lock keep apart those whose ranges overlap, and nobody else?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from machines import NS, RMW, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine
from sim.sync import RangeLock
from sim.verify.machines import run

LOCK = Activity("lock")
INSIDE = Activity("inside")
STAY = 5_000 * NS
Held = tuple[int, int]


def ranges(machine: Machine) -> RangeLock:
    return RangeLock(machine, "ranges", machine.line("ranges"), LOCK)


def holder(
    lock: RangeLock, start: int, end: int, write: bool, inside: list[Held], think: int = 0
) -> Callable[[Cpu], Steps[None]]:
    """Holds a range for a while, and notes from when to when."""

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(think, INSIDE)
        yield from lock.acquire(cpu, start, end, write=write)
        since = cpu.now
        cpu.work(STAY, INSIDE)
        yield cpu.take_pending()
        inside.append((since, cpu.now))
        yield from lock.release(cpu)

    return body


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ((0, 8, True), (8, 16, True), True),
        ((0, 9, True), (8, 16, True), False),
        ((0, 9, False), (8, 16, True), False),
        ((0, 9, False), (8, 16, False), True),
        ((0, 9, True), (8, 16, False), False),
        ((8, 16, True), (0, 9, True), False),
        ((0, 100, False), (10, 11, True), False),
    ],
)
def test_who_is_inside_beside_whom(
    one: tuple[int, int, bool], other: tuple[int, int, bool], together: bool
) -> None:
    machine = small_machine()
    lock, inside = ranges(machine), list[Held]()
    run(machine, {0: holder(lock, *one, inside), 2: holder(lock, *other, inside, 50 * NS)})
    (_, first_ends), (second_begins, _) = sorted(inside)
    assert (second_begins < first_ends) == together


def test_do_a_reader_and_a_writer_that_come_in_at_different_places_meet() -> None:
    """A third range lies between the places, so neither sees the other on its way in."""
    for think in range(0, 600 * NS, 10 * NS):
        machine = small_machine()
        lock, inside, between = ranges(machine), list[Held](), list[Held]()
        bodies = {
            0: holder(lock, 10, 20, False, between),
            1: holder(lock, 0, 50, False, inside, 300 * NS),
            2: holder(lock, 30, 40, True, inside, think),
        }
        run(machine, bodies)
        (_, first_ends), (second_begins, _) = sorted(inside)
        assert second_begins >= first_ends, think


def test_what_does_an_empty_list_cost() -> None:
    """The fast path: the own node and two exchanges of the head, whatever was held before."""
    machine = small_machine()
    lock, inside = ranges(machine), list[Held]()
    body = holder(lock, 0, 8, True, inside)
    run(machine, {0: body})
    began = machine.engine.now
    run(machine, {0: body})
    assert machine.engine.now - began - STAY < 4 * RMW


def test_does_it_cost_more_the_more_hold_ranges() -> None:
    def time_beside(others: int) -> int:
        machine = small_machine()
        lock, inside, took = ranges(machine), list[Held](), list[int]()

        def comes_late(cpu: Cpu) -> Steps[None]:
            cpu.work(2_000 * NS, INSIDE)
            yield cpu.take_pending()
            began = cpu.now
            yield from lock.acquire(cpu, 1000, 1001, write=True)
            took.append(cpu.now - began)
            yield from lock.release(cpu)

        bodies = {each + 1: holder(lock, 10 * each, 10 * each + 1, True, inside) for each in range(others)}
        run(machine, {0: comes_late, **bodies})
        return took[0]

    times = [time_beside(others) for others in (0, 2, 4, 6)]
    assert times == sorted(set(times))


def test_is_a_writer_of_everything_a_reader_of_it_from_then_on() -> None:
    machine = small_machine()
    lock, inside = ranges(machine), list[Held]()

    def downgrades(cpu: Cpu) -> Steps[None]:
        yield from lock.write_lock(cpu)
        yield from lock.write_downgrade(cpu)
        cpu.work(STAY, INSIDE)
        yield cpu.take_pending()
        inside.append((0, cpu.now))
        yield from lock.read_unlock(cpu)

    run(machine, {0: downgrades, 2: holder(lock, 4, 5, False, inside, 50 * NS)})
    (_, first_ends), (second_begins, _) = sorted(inside)
    assert second_begins < first_ends
