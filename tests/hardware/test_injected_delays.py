"""Who pays for the time that a schedule takes from a thread, and what becomes of interrupts meanwhile?"""

from __future__ import annotations

import pytest
from machines import NS, small_machine, start
from simpy.events import Process

from sim.engine import Activity, Schedule, Steps
from sim.engine.schedule import Decider, Fifo, Timeline
from sim.hardware import Cpu
from sim.hardware.cpu import IDLE, INJECTED_DELAY, INTERRUPT


def delay_at(time: int, length: int) -> Schedule:
    """Delays the step of whichever thread is next at *time* by *length*, both in ns."""

    class Delay(Fifo):
        asked = True

        def __init__(self, engine: Timeline) -> None:
            super().__init__(engine)
            self._engine = engine

        def delay(self, event: int, thread: Process) -> int:
            return length * NS if self._engine.now == time * NS else 0

    def schedule(engine: Timeline) -> Decider:
        return Delay(engine)

    return schedule


def at_work(cpu: Cpu) -> Steps[None]:
    cpu.work(1000 * NS, Activity("user"))
    yield cpu.take_pending()


def asleep(cpu: Cpu) -> Steps[None]:
    cpu.engine.call_in(1000 * NS, lambda: cpu.poke("news"))
    yield from cpu.park("news", Activity("sleep"))


@pytest.mark.parametrize(
    ("body", "interrupt", "ends", "spent"),
    [
        (at_work, None, 1500, {"user": 1000, INJECTED_DELAY: 500}),
        (at_work, 1100, 1700, {"user": 1000, INJECTED_DELAY: 500, INTERRUPT: 200}),
        (asleep, None, 1500, {"sleep": 1500}),
        (asleep, 1100, 1500, {"sleep": 1300, INTERRUPT: 200}),  # over before the wait is
        (asleep, 1400, 1600, {"sleep": 1400, INTERRUPT: 200}),
    ],
)
def test_is_the_delay_of_a_thread_at_work_an_activity_and_that_of_a_wait_a_part_of_it(
    body: object, interrupt: int | None, ends: int, spent: dict[str, int]
) -> None:
    machine = small_machine(ties=delay_at(1000, 500))
    cpu, engine = machine.cpus[0], machine.engine
    start(cpu, body)  # type: ignore[arg-type]
    if interrupt is not None:
        engine.call_in(interrupt * NS, lambda: cpu.interrupt(lambda _: (200 * NS, lambda _: None)))
    engine.run()
    cpu.close_account()
    assert engine.now == ends * NS
    assert {activity: time for activity, time in cpu.spent.items() if time and activity != IDLE} == {
        activity: time * NS for activity, time in spent.items()
    }
