"""When may a deferred callback run, and who pays for it?"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import NS, Body, run, small_machine, start

from sim.engine import Activity, ScheduleName, Steps
from sim.errors import ModelError
from sim.hardware import INTERRUPT, Cpu, Machine
from sim.sync import RCU, Rcu

US = 1000 * NS
FLAVOURS: dict[str, Callable[[Machine], Rcu]] = {
    "artifact": lambda machine: Rcu(machine, global_list=True),
    "linux": lambda machine: Rcu(machine, global_list=False),
    "preemptible": lambda machine: Rcu(machine, global_list=False, preemptible_exit=True),
}
EVERY_FLAVOUR = pytest.mark.parametrize("flavour", FLAVOURS)


def defer(rcu: Rcu, ran: list[int], at: int = 0, cost: int = 0) -> Body:
    """Defer a callback and pass quiescent states until it has run."""

    def callback(cpu: Cpu) -> int:
        ran.append(cpu.now)
        return cost

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(at, Activity("user"))
        yield from rcu.defer(cpu, callback)
        for _ in range(50):
            cpu.work(1 * US, Activity("user"))
            yield from rcu.quiescent(cpu)

    return body


def read(rcu: Rcu, begin: int, end: int, switch: int) -> Body:
    """A read section, and a context switch later (ps)."""

    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(begin, Activity("user"))
        yield cpu.take_pending()
        rcu.read_lock(cpu)
        cpu.work(end - begin, Activity("reading"))
        yield cpu.take_pending()
        rcu.read_unlock(cpu)
        cpu.work(switch - end, Activity("user"))
        yield cpu.take_pending()
        yield from rcu.quiescent(cpu)

    return body


@pytest.mark.parametrize(("flavour", "last"), [("artifact", 9), ("linux", 9), ("preemptible", 6)])
def test_does_a_callback_wait_until_every_cpu_has_been_quiescent(flavour: str, last: int) -> None:
    machine = small_machine()
    rcu = FLAVOURS[flavour](machine)
    ran: list[int] = []
    run(
        machine,
        {0: defer(rcu, ran, at=2 * US), 1: read(rcu, 0, 6 * US, 9 * US), 2: read(rcu, 0, 3 * US, 4 * US)},
    )
    assert len(ran) == 1
    assert last * US <= ran[0] < (last + 2) * US


@EVERY_FLAVOUR
def test_does_a_section_that_begins_after_defer_hold_nothing_up_for_good(flavour: str) -> None:
    """It holds up the period only until its cpu's first quiescent state after `defer`."""
    machine = small_machine()
    rcu = FLAVOURS[flavour](machine)
    ran: list[int] = []

    def reader(cpu: Cpu) -> Steps[None]:
        cpu.work(3 * US, Activity("user"))
        yield from rcu.quiescent(cpu)
        rcu.read_lock(cpu)
        cpu.work(40 * US, Activity("reading"))
        yield cpu.take_pending()
        rcu.read_unlock(cpu)

    run(machine, {0: defer(rcu, ran, at=1 * US), 1: reader})
    assert ran[0] < 6 * US


@EVERY_FLAVOUR
def test_does_a_later_callback_wait_for_the_next_period(flavour: str) -> None:
    machine = small_machine()
    rcu = FLAVOURS[flavour](machine)
    first: list[int] = []
    second: list[int] = []

    def switcher(cpu: Cpu) -> Steps[None]:
        for _ in range(4):
            cpu.work(10 * US, Activity("user"))
            yield from rcu.quiescent(cpu)

    run(machine, {0: defer(rcu, first), 1: defer(rcu, second, at=5 * US), 2: switcher})
    assert 10 * US <= first[0] < 12 * US  # cpu 2 passes after 10, 20, 30, 40 us
    assert 20 * US <= second[0] < 22 * US
    assert rcu.periods == 2
    assert rcu.deferred == 0


@EVERY_FLAVOUR
def test_does_reading_cost_nothing(flavour: str) -> None:
    machine = small_machine()
    rcu = FLAVOURS[flavour](machine)

    def body(cpu: Cpu) -> Steps[None]:
        rcu.read_lock(cpu)
        rcu.read_lock(cpu)
        rcu.read_unlock(cpu)
        assert rcu.is_reading(cpu)
        rcu.read_unlock(cpu)
        assert not rcu.is_reading(cpu)
        assert cpu.pending == 0
        yield 0

    run(machine, {0: body})


@pytest.mark.parametrize(("idle_counts", "ends"), [(True, True), (False, False)])
def test_do_cpus_without_a_thread_hold_up_a_period(idle_counts: bool, ends: bool) -> None:
    """In the artifact an idle cpu passes no context switch."""
    machine = small_machine()
    rcu = Rcu(machine, global_list=True, idle_counts=idle_counts)
    ran: list[int] = []
    run(machine, {0: defer(rcu, ran)})
    assert bool(ran) is ends
    assert rcu.deferred == (0 if ends else 1)


def test_does_a_thread_that_ends_no_longer_hold_up_a_period() -> None:
    machine = small_machine()
    rcu = FLAVOURS["linux"](machine)
    ran: list[int] = []

    def ends_early(cpu: Cpu) -> Steps[None]:
        cpu.work(5 * US, Activity("user"))
        yield cpu.take_pending()

    run(machine, {0: defer(rcu, ran), 1: ends_early})
    assert 5 * US <= ran[0] < 7 * US


@EVERY_FLAVOUR
def test_is_a_switch_inside_a_section_our_bug(flavour: str) -> None:
    machine = small_machine()
    rcu = FLAVOURS[flavour](machine)

    def body(cpu: Cpu) -> Steps[None]:
        rcu.read_lock(cpu)
        yield from rcu.quiescent(cpu)

    with pytest.raises(ModelError, match="cpu 0 switches context inside an RCU read section"):
        run(machine, {0: body})


def test_is_leaving_a_section_twice_our_bug() -> None:
    machine = small_machine()
    rcu = FLAVOURS["linux"](machine)
    with pytest.raises(ModelError, match="cpu 0 leaves an RCU read section that it is not in"):
        rcu.read_unlock(machine.cpus[0])


def test_does_the_completing_cpu_pay_for_callbacks_of_a_global_list() -> None:
    machine = small_machine()
    rcu = FLAVOURS["artifact"](machine)
    run(machine, {0: defer(rcu, [], cost=7 * US), 1: read(rcu, 0, 10 * US, 20 * US)})
    assert machine.cpus[1].spent[RCU] > 7 * US > machine.cpus[0].spent[RCU]


def test_does_the_deferring_cpu_pay_for_callbacks_of_its_own_list() -> None:
    machine = small_machine()
    rcu = FLAVOURS["linux"](machine)
    run(machine, {0: defer(rcu, [], cost=7 * US), 1: read(rcu, 0, 10 * US, 20 * US)})
    assert machine.cpus[0].spent[INTERRUPT] == 7 * US
    assert machine.cpus[1].spent[INTERRUPT] == 0


# -- any schedule ---------------------------------------------------------------------------------------


class Section(NamedTuple):
    begin: int
    end: int


STEPS = st.lists(
    st.tuples(st.sampled_from(["read", "nested", "defer", "switch", "write"]), st.integers(0, 5_000_000)),
    max_size=8,
)


@EVERY_FLAVOUR
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
@given(plans=st.lists(STEPS, min_size=1, max_size=6))
def test_does_no_callback_run_inside_a_section_that_began_before_its_defer(
    flavour: str, ties: ScheduleName, plans: list[list[tuple[str, int]]]
) -> None:
    check_invariant(small_machine(ties=ties), flavour, plans)


@pytest.mark.slow
@EVERY_FLAVOUR
@pytest.mark.parametrize("ties", ["fifo", "shuffle"])
def test_does_the_invariant_hold_in_ten_thousand_schedules(flavour: str, ties: ScheduleName) -> None:
    kinds = ["read", "nested", "defer", "switch", "write"]
    for seed in range(10_000):
        machine = small_machine(seed=seed, ties=ties)
        draw = machine.engine.stream("plans")
        plans = [
            [(draw.choice(kinds), draw.randrange(3_000_000)) for _ in range(draw.randrange(12))]
            for _ in range(draw.randrange(2, 9))
        ]
        check_invariant(machine, flavour, plans)


def check_invariant(machine: Machine, flavour: str, plans: list[list[tuple[str, int]]]) -> None:
    rcu = FLAVOURS[flavour](machine)
    line = machine.line("shared")
    sections: list[Section] = []
    callbacks: list[Section] = []  # from its defer until it ran

    def body(cpu: Cpu) -> Steps[None]:
        for step, amount in plans[cpu.id]:
            if step in ("read", "nested"):
                rcu.read_lock(cpu)
                begin = cpu.now
                cpu.work(amount, Activity("reading"))
                if step == "nested":
                    rcu.read_lock(cpu)
                    yield from line.read(cpu)
                    rcu.read_unlock(cpu)
                    yield from line.write(cpu)
                sections.append(Section(begin, cpu.now))
                rcu.read_unlock(cpu)
            elif step == "defer":
                cpu.work(amount, Activity("user"))
                called = cpu.now

                def note(there: Cpu, called: int = called) -> int:
                    callbacks.append(Section(called, there.engine.now))
                    return 500 * NS

                yield from rcu.defer(cpu, note)
            elif step == "switch":
                yield from rcu.quiescent(cpu)
                cpu.work(amount, Activity("user"))
            else:
                yield from line.write(cpu)
        yield from rcu.quiescent(cpu)

    for number in range(len(plans)):
        start(machine.cpus[number], body)
    machine.engine.run()
    for number in range(len(plans)):
        machine.cpus[number].close_account()

    deferred = sum(step == "defer" for plan in plans for step, _ in plan)
    assert len(callbacks) + rcu.deferred == deferred
    for called, ran in callbacks:
        assert not [section for section in sections if section.begin < called and ran < section.end]
