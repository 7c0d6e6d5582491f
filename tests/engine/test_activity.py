"""Is an activity one row of every account, whoever names it and when?"""

from __future__ import annotations

import pytest
from machines import run, small_machine

from sim.engine import PARKED, Activity, Steps
from sim.engine.activity import SPARE, blank_account, by_name
from sim.hardware import Cpu


def test_are_two_of_one_name_one_row() -> None:
    one, again, other = Activity("one row"), Activity("one row"), Activity("another row")
    assert one.slot == again.slot != other.slot
    assert one == again != other
    assert one is not again


def test_is_an_activity_as_good_a_key_as_its_name() -> None:
    activity = Activity("a key")
    assert {"a key": 1}[activity] == {activity: 1}["a key"] == 1  # type: ignore[index]
    assert activity == "a key"
    assert activity not in ("a", "another key", None, 1)
    assert f"{activity}" == "a key"


def test_does_an_account_read_in_the_order_of_names_without_its_empty_rows() -> None:
    """Whatever was named first: what is written must not depend on which module was imported first."""
    later, empty, earlier = Activity("rows: z"), Activity("rows: m"), Activity("rows: a")
    account = blank_account()
    account[later.slot], account[earlier.slot] = 7, -2
    found = by_name(account)
    assert list(found.items()) == [("rows: a", -2), ("rows: z", 7)]
    assert found[empty] == 0  # type: ignore[index]


def test_has_an_open_account_a_row_for_what_the_workload_names() -> None:
    """More of them than an account has spare rows, named while it is open and has a page behind it."""
    machine = small_machine(online=2)
    cpu = machine.cpus[0]
    names = [f"row {number}" for number in range(2 * SPARE)]
    last_late = f"late {2 * SPARE - 1}"

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(100, Activity("user"))
        yield cpu.take_pending()
        cpu.turn_page()
        for number, name in enumerate(names):
            cpu.work(1 + number, machine.activity(name))
        yield cpu.take_pending()
        since = cpu.begin_wait("the turn of a page")
        machine.engine.call_in(50, cpu.turn_page)
        yield PARKED
        late = [machine.activity(f"late {number}") for number in range(2 * SPARE)][-1]
        cpu.end_wait(since, late)

    machine.engine.call_in(100 + sum(range(1, 2 * SPARE + 1)) + 80, lambda: cpu.wake())
    run(machine, {0: body})  # which holds the accounts against the clock
    first, second, last = *cpu.pages, cpu.spent
    assert first == {"user": 100}
    assert second == {name: 1 + number for number, name in enumerate(names)} | {last_late: 50}
    assert last == {last_late: 30}


def test_is_a_bare_string_refused() -> None:
    cpu = small_machine().cpus[0]
    with pytest.raises((AttributeError, TypeError)):
        cpu.work(1, "user")  # type: ignore[arg-type]
    assert not cpu.spent
