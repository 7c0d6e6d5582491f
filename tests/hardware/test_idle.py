"""Idle states: which one does a cpu choose, and what does it pay for it?"""

from __future__ import annotations

from typing import Any

import pytest
from machines import NS, raw_spec, run, small_machine
from pydantic import ValidationError

from sim.engine import Activity, Steps
from sim.hardware import Cpu, MachineSpec
from sim.hardware.idle import IdleCpu
from sim.sync import SCHED, Scheduler, Sleeper

US = 1000 * NS
STATES: dict[str, Any] = {
    "kernel": {
        "wake_halted": None,
        "halt_after": None,
        "idle_states": [
            {"name": "light", "exit": "3 us", "residency": "20 us"},
            {"name": "deep", "exit": "40 us", "residency": "200 us"},
        ],
    }
}
WAKE = 2 * US
"""`wake_idle` of the small machine."""


def latencies(naps: list[int], changes: dict[str, Any] = STATES) -> list[int]:
    """How long a cpu takes to run again, for naps of these lengths one after the other (us)."""
    machine = small_machine(changes)
    scheduler = Scheduler(machine)
    found = []

    def body(cpu: Cpu) -> Steps[None]:
        for nap in naps:
            due = cpu.now + nap * US
            yield from scheduler.nap(cpu, nap * US, Activity("asleep"))
            found.append(cpu.engine._now - due - 500 * NS)  # less what the interrupt's handler takes
            yield 1 * NS
            cpu.charge(1 * NS, Activity("user"))

    run(machine, {0: body})
    return found


def test_does_a_cpu_learn_how_long_it_idles() -> None:
    """One that has no past is taken to idle shortly."""
    assert latencies([300, 300, 300]) == [WAKE, WAKE + 40 * US, WAKE + 40 * US]
    assert latencies([30, 30]) == [WAKE, WAKE + 3 * US]


@pytest.mark.parametrize(("called_after", "extra"), [(900, 0), (1500, 40 * US)])
def test_does_a_cpu_that_is_called_while_it_switches_enter_no_state(called_after: int, extra: int) -> None:
    """It expects a long idle period. The switch to the idle task takes 1 us: the idle loop finds a wake-up
    that comes before its end, and chooses none."""
    machine = small_machine(STATES)
    scheduler = Scheduler(machine)
    sleeper = Sleeper(machine.cpus[0], "a test")
    woken: list[int] = []

    def sleeping(cpu: Cpu) -> Steps[None]:
        for _ in range(3):
            yield from scheduler.nap(cpu, 300 * US, Activity("asleep"))
        cpu.work(2000 * US - cpu.now, Activity("user"))
        yield cpu.take_pending()
        yield from scheduler.sleep(cpu, sleeper, Activity("asleep"))
        woken.append(cpu.now)

    def waking(cpu: Cpu) -> Steps[None]:
        cpu.work(2000 * US + called_after * NS, Activity("user"))
        yield cpu.take_pending()
        scheduler.wake(cpu, sleeper)

    run(machine, {0: sleeping, 4: waking})
    plain = 2000 * US + called_after * NS + WAKE
    assert plain + extra <= woken[0] < plain + extra + 3 * US


def test_does_a_cpu_that_was_wrong_once_stay_as_it_was() -> None:
    """Eight short periods, a long one among them: the seven that are alike count."""
    assert latencies([5] * 7 + [900, 5, 5])[-3:] == [WAKE] * 3


@pytest.mark.parametrize(
    ("periods", "expected"),
    [([], 0), ([7], 7), ([10] * 6 + [5000, 9000], 10), ([100, 5000, 100, 5000, 100, 5000], 2550)],
)
def test_is_the_mean_of_like_periods_expected_else_that_of_all(periods: list[int], expected: int) -> None:
    cpu = IdleCpu()
    for period in periods:
        cpu.note(period * US)
    assert cpu.expected() == expected * US


def test_does_a_tick_find_a_cpu_that_idles_longer_than_it_thought() -> None:
    ticks = {"kernel": STATES["kernel"] | {"slice": "3 ms", "tick": "4 ms"}}
    assert latencies([5, 5, 3_900, 5], ticks)[2] == WAKE
    assert latencies([5, 5, 4_100, 5], ticks)[2] == WAKE + 40 * US


def test_does_a_hypervisor_take_cpus_away_that_idle_long_whatever_they_expected() -> None:
    assert latencies([5, 150, 5], {}) == [WAKE, 20 * US, WAKE]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel": {"halt_after": None}}, "`wake_halted` and `halt_after` go together"),
        (
            {"kernel": {"idle_states": list(reversed(STATES["kernel"]["idle_states"]))}},
            "`idle_states` begins with the lightest",
        ),
    ],
)
def test_are_states_that_make_no_sense_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MachineSpec.model_validate(raw_spec(changes))


def test_does_a_cpu_that_halts_cost_its_waker_an_interrupt() -> None:
    """The write of the register, 100 ns, and 40 that a hypervisor takes to send it; a busy cpu, or one that
    watches a flag, needs none."""
    spent = {}
    for wake_by in ("flag", "interrupt"):
        machine = small_machine({"kernel": {"wake_by": wake_by}, "interrupts": {"icr_target": "40 ns"}})
        scheduler, sleepers = Scheduler(machine), [Sleeper(machine.cpus[1], "somebody")]

        def sleeper(
            cpu: Cpu, scheduler: Scheduler = scheduler, sleepers: list[Sleeper] = sleepers
        ) -> Steps[None]:
            yield from scheduler.sleep(cpu, sleepers[0], Activity("asleep"))

        def waker(
            cpu: Cpu, scheduler: Scheduler = scheduler, sleepers: list[Sleeper] = sleepers
        ) -> Steps[None]:
            yield 50 * US
            cpu.charge(50 * US, Activity("user"))
            scheduler.wake(cpu, sleepers[0])

        run(machine, {0: waker, 1: sleeper})
        spent[wake_by] = machine.cpus[0].spent[SCHED]
    assert spent["interrupt"] - spent["flag"] == 140 * NS
