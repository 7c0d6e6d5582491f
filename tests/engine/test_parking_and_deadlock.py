"""Rule 2: threads park and are woken; when nothing is left to happen, the engine says who waits for what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import simpy

from sim.engine import PARKED, Engine
from sim.errors import Deadlock, ModelError


class Mutex:
    """A lock as the model writes them: a queue of parked threads."""

    def describe_wait(self) -> str:
        return "the mutex"


def test_does_a_parked_thread_go_on_when_it_is_woken() -> None:
    engine = Engine()
    seen = []

    def sleeper() -> Iterator[object]:
        for _ in range(2):
            yield PARKED
            seen.append(engine.now)

    def waker() -> Iterator[int]:
        yield 5
        engine.wake(thread, delay=2)
        yield 10
        engine.wake(thread)

    thread = engine.process(sleeper())
    engine.process(waker())
    engine.run()
    assert seen == [7, 15]


def test_does_resume_run_the_thread_within_the_callers_event() -> None:
    engine = Engine()
    log = []

    def sleeper() -> Iterator[object]:
        thread.waiting_for = "the waker"
        yield PARKED
        assert thread.waiting_for is None
        log.append(("resumed", engine.now))
        yield 3
        log.append(("after its delay", engine.now))

    def waker() -> Iterator[int]:
        yield 5
        engine.resume(thread)
        log.append(("caller goes on", engine.now))

    thread = engine.process(sleeper())
    engine.process(waker())
    engine.run()
    assert log == [("resumed", 5), ("caller goes on", 5), ("after its delay", 8)]


def test_is_a_thread_that_was_woken_before_it_parked_still_seen_as_waiting() -> None:
    """A round of acknowledgements may be complete before its sender sleeps: `wake(delay)`, then `PARKED`."""
    engine = Engine()

    def sender() -> Iterator[object]:
        thread.waiting_for = "acks"
        engine.wake(thread, delay=5)
        yield PARKED
        assert engine.now == 5
        assert thread.waiting_for is None

    thread = engine.process(sender())
    engine.run()


def test_does_the_deadlock_report_name_who_waits_for_what() -> None:
    engine = Engine()

    def parked(reason: object) -> Iterator[object]:
        yield engine.timeout(1)
        thread = engine.active_process
        thread.waiting_for = reason
        yield PARKED

    def joins(other: simpy.Event) -> Iterator[object]:
        yield 1
        yield other

    def ends() -> Iterator[int]:
        yield 1

    first = engine.process(parked(Mutex()), name="a")
    engine.process(parked("its frame"), name="b")
    engine.process(parked(None), name="c")
    engine.process(joins(first), name="d")
    engine.process(joins(engine.event()), name="e")
    engine.process(joins(first & engine.timeout(5)), name="f")
    engine.process(joins(simpy.Store(engine).get()), name="g")
    engine.process(ends(), name="ended")
    with pytest.raises(Deadlock) as caught:
        engine.run()
    assert str(caught.value).splitlines() == [
        "nothing left to happen, but threads wait:",
        "  a waits for the mutex",
        "  b waits for 'its frame'",
        "  c waits for a wake-up",
        "  d waits for the end of a",
        "  e waits for Event()",
        "  f waits for the end of a and Timeout(5)",
        "  g waits for StoreGet()",
    ]


def test_does_the_report_of_an_abba_deadlock_name_the_holders() -> None:
    engine = Engine()
    a, b = simpy.Resource(engine), simpy.PriorityResource(engine)

    def thread(first: simpy.Resource, second: simpy.Resource) -> Iterator[object]:
        with first.request() as one:
            yield one
            yield 10
            with second.request() as two:
                yield two

    engine.process(thread(a, b), name="cpu 0")
    engine.process(thread(b, a), name="cpu 1")
    with pytest.raises(Deadlock) as caught:
        engine.run()
    assert str(caught.value).splitlines()[1:] == [
        "  cpu 0 waits for a PriorityResource held by cpu 1",
        "  cpu 1 waits for a Resource held by cpu 0",
    ]


def test_is_the_same_deadlock_reported_in_the_same_words() -> None:
    """The report becomes a row of the results: it must not show memory addresses."""

    def report() -> str:
        engine = Engine()
        lock = simpy.Resource(engine)
        lock.request()

        def thread() -> Iterator[object]:
            yield engine.any_of([lock.request(), engine.event() | engine.event()])

        engine.process(thread())
        with pytest.raises(Deadlock) as caught:
            engine.run()
        return str(caught.value)

    assert report() == report()
    assert report().endswith("thread waits for a Resource held by no process or Event() or Event()")


def test_is_an_empty_run_no_deadlock() -> None:
    engine = Engine()
    assert engine.run() is None

    def thread() -> Iterator[int]:
        yield 1

    engine.process(thread())
    assert engine.run() is None


def test_who_is_in_the_wait_graph_while_the_run_is_under_way() -> None:
    engine = Engine()

    def thread() -> Iterator[object]:
        yield PARKED

    def other() -> Iterator[object]:
        yield 10
        assert engine.wait_graph([sleeper]) == "  sleeper waits for a wake-up"
        engine.wake(sleeper)

    sleeper = engine.process(thread(), name="sleeper")
    engine.process(other())
    engine.run()
    assert engine.wait_graph() == ""


def test_is_waking_a_thread_after_its_end_refused() -> None:
    engine = Engine()

    def thread() -> Iterator[int]:
        yield 1

    handle = engine.process(thread(), name="gone")
    engine.run()
    engine.wake(handle)
    with pytest.raises(ModelError, match="gone was woken after its end"):
        engine.run()
