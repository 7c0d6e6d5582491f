"""What does an interrupt do to the thread it interrupts, and where does the time go?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from machines import CROSS_SOCKET, NS, run, small_machine

from sim.engine import Activity, Steps
from sim.errors import AccountingError
from sim.hardware import IDLE, INTERRUPT, LINE, Cpu, Machine

HANDLER = 600 * NS


def interrupt_at(machine: Machine, cpu: int, *times: int, length: int = HANDLER) -> list[int]:
    """Interrupt *cpu* at these times (ns); returns the list that the ends (ps) will be in."""
    ends: list[int] = []
    target = machine.cpus[cpu]

    def handler(on: Cpu) -> tuple[int, Callable[[int], None]]:
        assert on is target
        return length, ends.append

    for time in times:
        machine.engine.call_in(time * NS, lambda: target.interrupt(handler))
    return ends


def work(ns: int, ends: list[int]) -> Callable[[Cpu], Steps[None]]:
    def body(cpu: Cpu) -> Steps[None]:
        cpu.work(ns * NS, Activity("user"))
        yield cpu.take_pending()
        ends.append(cpu.now)

    return body


@pytest.mark.parametrize(
    ("works", "ends"),
    [
        (1000, 1900),  # at work all the time
        (200, 200),  # over before the handler begins
        (400, 1300),  # the handler begins before its end, and so does what is added
    ],
)
def test_does_a_handler_that_goes_on_steal_that_time_too(works: int, ends: int) -> None:
    """From 300 to 900 ns, and in another step to 1200."""
    machine = small_machine()
    target, thread, added = machine.cpus[0], [], []  # type: ignore[var-annotated]

    def handler(on: Cpu) -> tuple[int, Callable[[int], None]]:
        def goes_on() -> None:
            added.append(on.prolong_interrupt(300 * NS))

        return HANDLER, lambda end: machine.engine.call_in(end - machine.engine.now, goes_on)

    machine.engine.call_in(300 * NS, lambda: target.interrupt(handler))
    run(machine, {0: work(works, thread), 1: work(5000, [])})
    assert (thread, added) == ([ends * NS], [1200 * NS])
    assert target.spent[INTERRUPT] == HANDLER + 300 * NS
    assert machine.tally.interrupts[0] == 1


@pytest.mark.parametrize(
    ("arrivals", "thread_ends", "handlers_end"),
    [
        ([300], 1600, [900]),
        ([300, 950], 2200, [900, 1550]),
        ([300, 500], 2200, [900, 1500]),  # the second waits for the first
        ([300, 1500], 2200, [900, 2100]),  # arrives in the time that the first one added
        ([300, 1700], 1600, [900, 2300]),  # too late to matter
    ],
)
def test_does_a_handler_steal_its_time_and_no_more(
    arrivals: list[int], thread_ends: int, handlers_end: list[int]
) -> None:
    machine = small_machine()
    thread: list[int] = []
    handlers = interrupt_at(machine, 0, *arrivals)
    run(machine, {0: work(1000, thread)})
    assert thread == [thread_ends * NS]
    assert handlers == [end * NS for end in handlers_end]
    assert machine.cpus[0].spent["user"] == 1000 * NS
    assert machine.tally.interrupts[0] == len(arrivals)


def test_does_a_cpu_without_a_thread_take_interrupts() -> None:
    machine = small_machine()
    ends = interrupt_at(machine, 5, 10, 20)
    machine.engine.run()
    assert ends == [610 * NS, 1210 * NS]


@pytest.mark.parametrize(
    ("arrives", "thread_ends"),
    [
        (100, 1000),  # over before the wait is
        (399, 1000),
        (700, 1300),  # outlasts it
        (1001, 1000),
    ],
)
def test_is_a_waiting_thread_delayed_only_if_the_handler_outlasts_the_wait(
    arrives: int, thread_ends: int
) -> None:
    machine = small_machine()
    cpu = machine.cpus[0]
    ends = []
    machine.engine.call_in(1000 * NS, lambda: cpu.poke("news"))
    interrupt_at(machine, 0, arrives)

    def body(cpu: Cpu) -> Steps[None]:
        yield from cpu.park("news", Activity("wait"))
        ends.append(cpu.now)

    run(machine, {0: body})
    assert ends == [thread_ends * NS]
    assert cpu.spent["wait"] == ends[0] - (HANDLER if arrives < 1000 else 0)


@pytest.mark.parametrize(
    ("arrivals", "thread_ends"),
    [([150], 1000), ([500], 1100), ([150, 200], 1350), ([500, 1050], 1700)],
)
def test_does_a_handler_overlap_with_the_rest_of_a_wait_that_is_already_decided(
    arrivals: list[int], thread_ends: int
) -> None:
    """The poke comes at 100 ns and says that the thread goes on at 1000 ns."""
    machine = small_machine()
    cpu = machine.cpus[0]
    ends = []
    machine.engine.call_in(100 * NS, lambda: cpu.poke("news", delay=900 * NS))
    interrupt_at(machine, 0, *arrivals)

    def body(cpu: Cpu) -> Steps[None]:
        yield from cpu.park("news", Activity("wait"))
        ends.append(cpu.now)

    run(machine, {0: body})
    assert ends == [thread_ends * NS]
    assert cpu.spent[INTERRUPT] == HANDLER * len(arrivals)


def test_does_a_thread_that_waits_for_a_line_overlap_with_the_handler() -> None:
    machine = small_machine()
    line = machine.line("line", owner=0)
    interrupt_at(machine, 1, 50, length=100 * NS)
    ends = {}

    def body(cpu: Cpu) -> Steps[None]:
        yield from line.write(cpu)
        ends[cpu.id] = cpu.now

    run(machine, {8: body, 1: body})
    assert ends == {8: CROSS_SOCKET, 1: 2 * CROSS_SOCKET}
    assert machine.cpus[1].spent == {LINE: 2 * CROSS_SOCKET - 100 * NS, INTERRUPT: 100 * NS}


def test_do_interrupts_wait_for_the_end_of_a_section_without_them() -> None:
    machine = small_machine()
    handlers = interrupt_at(machine, 0, 100, 200)
    ends = []

    def body(cpu: Cpu) -> Steps[None]:
        cpu.disable_interrupts()
        cpu.disable_interrupts()
        cpu.work(500 * NS, Activity("section"))
        yield cpu.take_pending()
        cpu.enable_interrupts()
        cpu.work(300 * NS, Activity("section"))
        yield cpu.take_pending()
        assert cpu.now == 800 * NS  # still inside the outer section
        cpu.enable_interrupts()
        cpu.work(50 * NS, Activity("user"))
        yield cpu.take_pending()
        ends.append(cpu.now)

    run(machine, {0: body})
    assert handlers == [800 * NS + HANDLER, 800 * NS + 2 * HANDLER]
    assert ends == [850 * NS + 2 * HANDLER]


def test_does_an_idle_cpu_charge_what_interrupts_leave_of_its_time() -> None:
    machine = small_machine()
    interrupt_at(machine, 0, 400, 900)
    run(machine, {0: work(100, []), 1: work(1200, [])})
    assert machine.cpus[0].spent == {"user": 100 * NS, INTERRUPT: 800 * NS, IDLE: 300 * NS}


def test_is_an_unpaid_cost_noticed() -> None:
    machine = small_machine()

    def body(cpu: Cpu) -> Steps[None]:
        cpu.charge(1, Activity("nothing"))
        cpu.work(5, Activity("user"))
        yield cpu.take_pending()

    with pytest.raises(AccountingError, match="cpu 0: 6 ps are accounted for, 5 ps passed"):
        run(machine, {0: body})


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["work", "write", "read", "off", "park"]), st.integers(0, 900_000), st.integers(0, 1)
    ),
    max_size=8,
)


@pytest.mark.parametrize("rule", ["fifo", "cluster-first"])
@given(
    plans=st.lists(ACTIONS, min_size=1, max_size=6),
    arrivals=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3000), st.integers(1, 700)), max_size=12),
)
def test_does_every_picosecond_belong_to_one_activity(
    rule: str, plans: list[list[tuple[str, int, int]]], arrivals: list[tuple[int, int, int]]
) -> None:
    """Any mix of work, accesses, waits and interrupts, also held back; `run` checks the sums."""
    machine = small_machine({"coherence": {"order": {"rule": rule}}})
    lines = [machine.line(f"line {number}") for number in range(2)]
    for cpu, when, length in arrivals:
        interrupt_at(machine, cpu, when, length=length * NS)

    def body(cpu: Cpu) -> Steps[None]:
        for action, amount, which in plans[cpu.id]:
            if action == "work":
                cpu.work(amount, Activity("user"))
            elif action == "write":
                yield from lines[which].write(cpu)
            elif action == "read":
                yield from lines[which].read(cpu)
            elif action == "off":
                cpu.disable_interrupts()
                yield from lines[which].write(cpu, Activity("section"))
                cpu.work(amount, Activity("section"))
                if which and cpu.pending:
                    yield cpu.take_pending()
                cpu.enable_interrupts()
            else:
                if cpu.pending:
                    yield cpu.take_pending()
                machine.engine.call_in(amount, partial(cpu.poke, "alarm", delay=which * amount))
                yield from cpu.park("alarm", Activity("wait"))

    run(machine, dict.fromkeys(range(len(plans)), body))
