"""On which page of a cpu's account does time stand when the page is turned in the middle of it?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from machines import NS, Body, run, small_machine

from sim.engine import Activity, Steps
from sim.hardware import Cpu, Machine

Pages = list[dict[str, int]]


def pages(turns: list[int], body: Body, beside: Callable[[Machine], None] | None = None) -> Pages:
    """The pages of cpu 0, turned at *turns* (ns) while it runs *body*, in ns by activity."""
    machine = small_machine(online=2)
    cpu = machine.cpus[0]
    for time in turns:
        machine.engine.call_in(time * NS, cpu.turn_page)
    if beside is not None:
        beside(machine)
    run(machine, {0: body})
    return [{name: time // NS for name, time in page.items() if time} for page in [*cpu.pages, cpu.spent]]


def waiting(length: int) -> Body:
    """100 ns of work, *length* ns of waiting, 50 ns of work."""

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(100 * NS, Activity("user"))
        yield cpu.take_pending()
        cpu.engine.call_in(length * NS, cpu.wake)
        yield from cpu.park("a moment", Activity("lock"))
        cpu.work(50 * NS, Activity("user"))

    return body


def test_is_a_wait_split_where_the_page_is_turned() -> None:
    assert pages([150], waiting(200)) == [{"user": 100, "lock": 50}, {"lock": 150, "user": 50}]


def test_is_a_wait_over_several_pages_split_at_each_turn() -> None:
    found = pages([120, 150, 290], waiting(200))
    assert found == [{"user": 100, "lock": 20}, {"lock": 30}, {"lock": 140}, {"lock": 10, "user": 50}]


def test_does_private_work_stay_on_the_page_where_it_began() -> None:
    """It takes no event to end a piece of private work: nothing knows where its middle is."""
    assert pages([60], waiting(200)) == [{"user": 100}, {"lock": 200, "user": 50}]


def test_is_a_page_closed_between_two_pieces_exact() -> None:
    assert pages([100], waiting(200))[0]["user"] == 100


def test_is_idle_time_after_the_end_split() -> None:
    def beside(machine: Machine) -> None:
        machine.engine.call_in(1000 * NS, lambda: None)

    assert pages([600], waiting(200), beside)[0] == {"user": 150, "lock": 200, "idle": 250}


@pytest.mark.parametrize("turn", [130, 170, 200, 240, 299, 301, 340])
def test_is_a_handler_in_a_wait_split_with_it(turn: int) -> None:
    """The handler runs from 150 to 250 ns, the wait lasts until 300 ns."""

    def beside(machine: Machine) -> None:
        cpu = machine.cpus[0]
        machine.engine.call_in(150 * NS, lambda: cpu.interrupt(lambda _: (100 * NS, lambda _: None)))

    first, second = pages([turn], waiting(200), beside)
    handler = min(100, max(0, turn - 150))
    assert first.get("interrupt", 0) == handler
    assert first.get("lock", 0) == min(turn, 300) - 100 - handler
    total = {name: first.get(name, 0) + second.get(name, 0) for name in first | second}
    assert total == {"user": 150, "lock": 100, "interrupt": 100}
