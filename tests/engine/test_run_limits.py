"""Rule 2: a run ends when it is told to, and a run that does not end is bounded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import simpy
from simpy.core import EmptySchedule

from sim.engine import PARKED, Engine, Steps
from sim.errors import BudgetExceeded, Deadlock, ModelError


def ticking(delay: int, times: int = 10**9) -> Iterator[int]:
    for _ in range(times):
        yield delay


def test_does_a_livelock_exhaust_the_budget_of_events() -> None:
    engine = Engine(max_events=1000)
    engine.process(ticking(0))
    with pytest.raises(BudgetExceeded, match="more than 1000 events"):
        engine.run()
    assert engine.events == 1000
    assert engine.active_process is None


@pytest.mark.parametrize("threads", [1, 3])
def test_is_a_budget_that_just_suffices_enough(threads: int) -> None:
    def engine_with(max_events: int) -> Engine:
        engine = Engine(max_events=max_events)
        for _ in range(threads):
            engine.process(ticking(2, times=5))
        return engine

    engine_with(7 * threads).run()  # start, five delays and the end, each
    with pytest.raises(BudgetExceeded):
        engine_with(7 * threads - 1).run()


def test_does_the_budget_of_events_span_several_runs() -> None:
    engine = Engine(max_events=10)
    engine.process(ticking(1))
    engine.run(until=5)
    assert engine.events == 6  # the start, four ticks and the stop
    with pytest.raises(BudgetExceeded):
        engine.run(until=100)
    assert engine.events == 10


def test_does_simulated_time_have_a_budget() -> None:
    engine = Engine(max_time_ps=100)
    engine.process(ticking(20))
    with pytest.raises(BudgetExceeded, match="more than 100 ps of simulated time"):
        engine.run()
    assert engine.now == 100


def test_can_a_run_be_continued_with_a_larger_budget() -> None:
    engine = Engine(max_events=3, max_time_ps=10)
    engine.process(ticking(5, times=4))
    with pytest.raises(BudgetExceeded, match="events"):
        engine.run()
    engine.max_events = 100
    with pytest.raises(BudgetExceeded, match="simulated time"):
        engine.run()
    engine.max_time_ps = 100
    engine.run()
    assert (engine.now, engine.events) == (20, 6)


def test_does_run_until_a_time_stop_before_the_events_of_that_time() -> None:
    engine = Engine()
    seen = []
    engine.call_in(10, lambda: seen.append("a call at 10"))

    def thread() -> Iterator[int]:
        while True:
            yield 5
            seen.append(engine.now)

    engine.process(thread())
    engine.run(until=10)
    assert (engine.now, seen) == (10, [5])
    engine.run(until=11)
    assert (engine.now, seen) == (11, [5, "a call at 10", 10])


@pytest.mark.parametrize("until", [10, 5, -1, 20.0, True, "20"], ids=repr)
def test_is_a_time_that_is_not_ahead_refused(until: object) -> None:
    engine = Engine()
    engine.process(ticking(1))
    engine.run(until=10)
    with pytest.raises(ModelError, match="after 10, not"):
        engine.run(until=until)


def test_does_run_until_an_event_return_its_value() -> None:
    engine = Engine()
    engine.process(ticking(1))
    assert engine.run(until=engine.timeout(7, value="done")) == "done"
    assert engine.now == 7


def test_does_run_until_a_failed_event_raise_its_error() -> None:
    engine = Engine()
    event = engine.event()
    engine.call_in(3, lambda: event.fail(LookupError("lost frame")))
    with pytest.raises(LookupError, match="lost frame"):
        engine.run(until=event)


@pytest.mark.parametrize("awaited", ["thread", "timeout"])
def test_do_others_who_wait_for_the_same_event_go_on_when_the_run_is_continued(awaited: str) -> None:
    engine = Engine()
    seen = []

    def waiter(event: simpy.Event) -> Iterator[object]:
        yield 1
        yield event
        seen.append(engine.now)

    event = engine.process(ticking(10, times=1)) if awaited == "thread" else engine.timeout(10)
    engine.process(waiter(event))
    engine.run(until=event)
    assert (engine.now, seen) == (10, [])
    engine.run()
    assert (engine.now, seen) == (10, [10])


def test_do_they_go_on_before_anything_else_happens_at_that_time() -> None:
    def waiter(event: simpy.Event) -> Iterator[object]:
        yield event
        order.append("waiter")

    order: list[str] = []
    engine = Engine()
    event = engine.timeout(10)
    engine.call_in(1, lambda: engine.process(waiter(event)))
    engine.call_in(10, lambda: order.append("later"))
    engine.run(until=event)
    engine.run()
    assert order == ["waiter", "later"]


def test_is_an_event_that_can_no_longer_happen_an_error() -> None:
    engine = Engine()
    engine.process(ticking(1, times=3))
    with pytest.raises(ModelError, match="can no longer happen"):
        engine.run(until=engine.event())


def test_is_a_deadlock_before_the_awaited_event_reported_as_one() -> None:
    engine = Engine()

    def thread() -> Iterator[object]:
        yield PARKED

    with pytest.raises(Deadlock, match="thread waits for a wake-up"):
        engine.run(until=engine.process(thread()))


def test_is_running_until_an_event_of_the_past_refused() -> None:
    engine = Engine()
    event = engine.timeout(1)
    engine.run()
    with pytest.raises(ModelError, match="already been processed"):
        engine.run(until=event)


def test_does_step_say_when_nothing_is_left() -> None:
    with pytest.raises(EmptySchedule):
        Engine().step()


def test_does_what_goes_on_beside_the_threads_keep_a_run_going() -> None:
    """A timer is called as long as a thread lives, and is dropped with the last one."""
    engine = Engine()
    rung: list[int] = []

    def ring() -> None:
        rung.append(engine._now)
        timers.append(engine.call_in_background(10, ring))

    def thread() -> Steps[None]:
        yield 35

    timers = [engine.call_in_background(10, ring)]
    engine.process(thread(), "thread")
    engine.run()
    assert engine._now == 35
    assert rung == [10, 20, 30]
    assert [timer.dropped for timer in timers] == [False, False, False, True]
