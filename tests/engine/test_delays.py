"""Rule 1: time is a whole number of picoseconds, and nothing else gets into the clock."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from sim.engine import PARKED, Engine
from sim.errors import ModelError

NOT_A_DELAY = [-1, math.nan, math.inf, 1.0, 0.5, True, "5", None, np.int64(5)]


def test_does_a_thread_go_on_exactly_when_its_delay_is_over() -> None:
    engine = Engine()
    seen = []

    def thread() -> Iterator[int]:
        for delay in (5, 0, 10**15, 1):
            yield delay
            seen.append(engine.now)

    engine.process(thread())
    engine.run()
    assert seen == [5, 5, 5 + 10**15, 6 + 10**15]
    assert type(engine.now) is int


def test_is_time_exact_where_floats_drift() -> None:
    engine = Engine()

    def thread() -> Iterator[int]:
        for _ in range(100):
            yield 2**53 + 1

    engine.process(thread())
    engine.run()
    assert engine.now == 100 * (2**53 + 1)


@pytest.mark.parametrize("delay", NOT_A_DELAY, ids=repr)
@pytest.mark.parametrize("after", ["the start", "a delay", "a timeout"])
def test_is_a_bad_delay_refused_as_a_yield(delay: object, after: str) -> None:
    engine = Engine()

    def thread() -> Iterator[object]:
        if after == "a delay":
            yield 1
        elif after == "a timeout":
            yield engine.timeout(1)
        yield delay

    engine.process(thread(), name="cpu 7")
    with pytest.raises(ModelError, match="cpu 7 yielded"):
        engine.run()


def test_does_the_traceback_of_a_bad_yield_show_the_line_that_yielded() -> None:
    engine = Engine()

    def inner() -> Iterator[object]:
        yield 1.5  # the culprit

    def thread() -> Iterator[object]:
        yield from inner()

    engine.process(thread())
    with pytest.raises(ModelError) as caught:
        engine.run()
    assert caught.traceback[-1].name == "inner"


@pytest.mark.parametrize("answer", ["return", "yield"])
def test_can_a_thread_swallow_the_refusal_of_its_yield(answer: str) -> None:
    engine = Engine()

    def thread() -> Iterator[object]:
        try:
            yield -1
        except ModelError:
            if answer == "yield":
                yield 1

    engine.process(thread())
    with pytest.raises(ModelError, match="negative"):
        engine.run()


@pytest.mark.parametrize("delay", [math.nan, math.inf, 1.0, 0.5, True, np.int64(5)], ids=repr)
def test_is_a_bad_delay_refused_in_a_timeout(delay: float) -> None:
    with pytest.raises(ModelError, match="whole number of picoseconds"):
        Engine().timeout(delay)


def test_is_a_negative_timeout_refused() -> None:
    with pytest.raises(ValueError, match="Negative delay"):  # SimPy's own check comes first
        Engine().timeout(-1)


@pytest.mark.parametrize("delay", [-1, math.nan, 1.0, True], ids=repr)
@pytest.mark.parametrize("entrance", ["wake", "call_in", "schedule", "stolen"])
def test_is_a_bad_delay_refused_at_every_other_entrance(entrance: str, delay: int) -> None:
    engine = Engine()

    def thread() -> Iterator[object]:
        yield 1
        yield PARKED

    sleeper = engine.process(thread())

    def enter() -> None:
        match entrance:
            case "wake":
                engine.wake(sleeper, delay)
            case "call_in":
                engine.call_in(delay, enter)
            case "schedule":
                engine.schedule(engine.event(), delay=delay)
            case "stolen":
                sleeper.stolen = delay
                engine.run()

    with pytest.raises(ModelError, match="whole number of picoseconds"):
        enter()


def test_is_something_that_is_no_generator_refused() -> None:
    engine = Engine()
    with pytest.raises(ValueError, match="is not a generator"):
        engine.process(42)  # type: ignore[arg-type]
    engine.run()
    assert engine.events == 0


def test_when_is_stolen_time_paid_back() -> None:
    """Time stolen from a delayed thread makes the delay longer, also if stolen while it is paid back."""
    engine = Engine()
    seen = []

    def victim() -> Iterator[int]:
        yield 10
        seen.append(engine.now)
        yield 10
        seen.append(engine.now)

    def interrupts() -> Iterator[int]:
        yield 3
        thread.stolen += 5  # handler from 3 to 8: the delay ends at 15
        yield 4
        thread.stolen += 2  # a second one before that: at 17
        yield 9
        thread.stolen += 1  # a third one at 16, while the first two are paid back: at 18

    thread = engine.process(victim())
    engine.process(interrupts())
    engine.run()
    assert seen == [18, 28]
    assert thread.stolen == 0


@pytest.mark.parametrize("how", ["wake", "resume"])
def test_is_time_stolen_from_a_parked_thread_paid_when_it_is_woken(how: str) -> None:
    engine = Engine()
    seen = []

    def victim() -> Iterator[object]:
        yield PARKED
        seen.append(engine.now)

    def waker() -> Iterator[int]:
        yield 10
        thread.stolen += 4
        getattr(engine, how)(thread)

    thread = engine.process(victim())
    engine.process(waker())
    engine.run()
    assert seen == [14]
