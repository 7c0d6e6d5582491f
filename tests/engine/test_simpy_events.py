"""To SimPy the engine is an environment: its events, resources and interrupts work beside integer delays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import simpy

from sim.engine import PARKED, Engine, Thread
from sim.errors import ModelError

Log = list[tuple[object, int]]


@pytest.fixture
def engine() -> Engine:
    return Engine()


def test_do_timeouts_and_delays_share_one_clock(engine: Engine) -> None:
    log: Log = []

    def thread() -> Iterator[object]:
        yield 3
        log.append(("delay", engine.now))
        value = yield engine.timeout(4, value="payload")
        log.append((value, engine.now))
        yield 5
        log.append(("delay", engine.now))

    engine.process(thread())
    engine.run()
    assert log == [("delay", 3), ("payload", 7), ("delay", 12)]


def test_does_a_resource_serve_threads_that_hold_it_for_integer_delays(engine: Engine) -> None:
    lock = simpy.Resource(engine)
    log: Log = []

    def thread(name: str) -> Iterator[object]:
        with lock.request() as request:
            yield request
            log.append((name, engine.now))
            yield 10

    for name in "abc":
        engine.process(thread(name))
    engine.run()
    assert log == [("a", 0), ("b", 10), ("c", 20)]


def test_does_a_store_hand_items_between_threads(engine: Engine) -> None:
    store = simpy.Store(engine, capacity=1)
    log: Log = []

    def producer() -> Iterator[object]:
        for item in range(3):
            yield 5
            yield store.put(item)

    def consumer() -> Iterator[object]:
        for _ in range(3):
            item = yield store.get()
            log.append((item, engine.now))
            yield 7

    engine.process(producer())
    engine.process(consumer())
    engine.run()
    assert log == [(0, 5), (1, 12), (2, 19)]


@pytest.mark.parametrize(("combine", "end"), [("all_of", 9), ("any_of", 2)])
def test_when_is_a_thread_done_that_waits_for_all_or_any_of_several(
    engine: Engine, combine: str, end: int
) -> None:
    def worker(delay: int) -> Iterator[int]:
        yield delay

    def parent() -> Iterator[object]:
        workers = [engine.process(worker(delay)) for delay in (9, 2)]
        yield getattr(engine, combine)([*workers, engine.timeout(5)])
        assert engine.now == end

    engine.run(engine.process(parent()))
    assert engine.now == end


def test_does_a_thread_get_what_another_thread_returns(engine: Engine) -> None:
    def worker() -> Iterator[int]:
        yield 4
        return "frame"

    def parent() -> Iterator[object]:
        child = engine.process(worker())
        assert (yield child) == "frame"
        yield 1
        assert (yield child) == "frame"  # over long ago: no waiting
        return engine.now

    assert engine.run(engine.process(parent())) == 5


def test_do_plain_simpy_processes_and_threads_wait_for_each_other(engine: Engine) -> None:
    def thread() -> Iterator[object]:
        yield 4
        assert (yield process) == "from the process"
        yield 3
        return "from the thread"

    def plain() -> Iterator[simpy.Event]:
        yield engine.timeout(6)
        return "from the process"

    def last() -> Iterator[simpy.Event]:
        return (yield handle)

    process = simpy.Process(engine, plain())
    handle = engine.process(thread())
    assert engine.run(simpy.Process(engine, last())) == "from the thread"
    assert engine.now == 9


def test_can_a_thread_join_hundreds_that_have_ended(engine: Engine) -> None:
    def worker(delay: int) -> Iterator[int]:
        yield delay

    def parent() -> Iterator[Thread]:
        yield from [engine.process(worker(1000 - i)) for i in range(1000)]

    engine.run(engine.process(parent()))
    assert engine.now == 1000


@pytest.mark.parametrize("before", [None, 5, "timeout"], ids=["at once", "after a delay", "after a timeout"])
def test_does_simpy_know_which_thread_is_active(engine: Engine, before: object) -> None:
    def thread() -> Iterator[object]:
        if before is not None:
            yield before if before == 5 else engine.timeout(5)
        assert engine.active_process is handle

    handle = engine.process(thread())
    engine.run()
    assert engine.active_process is None


def test_who_is_active_inside_and_after_a_thread_that_was_resumed(engine: Engine) -> None:
    def sleeper() -> Iterator[object]:
        yield PARKED
        assert engine.active_process is asleep

    def waker() -> Iterator[object]:
        yield 5
        engine.resume(asleep)
        assert engine.active_process is awake
        engine.call_in(1, lambda: seen.append(engine.active_process))

    seen: list[object] = []
    asleep = engine.process(sleeper())
    awake = engine.process(waker())
    engine.run()
    assert seen == [None]


@pytest.mark.parametrize("target", ["timeout", "event", "process", "resource"])
def test_does_an_interrupt_reach_a_thread_that_waits_for_an_event(engine: Engine, target: str) -> None:
    def ticks() -> Iterator[int]:
        yield 100

    taken = simpy.Resource(engine)
    taken.request()
    waits: dict[str, Callable[[], simpy.Event]] = {
        "timeout": lambda: engine.timeout(100),
        "event": engine.event,
        "process": lambda: engine.process(ticks()),
        "resource": taken.request,
    }

    def victim() -> Iterator[object]:
        yield 1
        try:
            yield waits[target]()
        except simpy.Interrupt as interrupt:
            yield 5
            return interrupt.cause, engine.now
        return "not interrupted"

    def interrupter() -> Iterator[int]:
        yield 10
        thread.interrupt("why")

    thread = engine.process(victim())
    engine.process(interrupter())
    assert engine.run(thread) == ("why", 15)


@pytest.mark.parametrize("what", [50, PARKED], ids=repr)
@pytest.mark.parametrize("first", [None, 1, "timeout"], ids=["at once", "after a delay", "after a timeout"])
def test_is_the_interrupt_of_a_delayed_or_parked_thread_refused_clearly(
    engine: Engine, what: object, first: object
) -> None:
    def victim() -> Iterator[object]:
        if first is not None:
            yield first if first == 1 else engine.timeout(1)
        yield what

    def interrupter() -> Iterator[int]:
        yield 10
        thread.interrupt()

    thread = engine.process(victim(), name="cpu 3")
    engine.process(interrupter())
    with pytest.raises(ModelError, match="cpu 3 cannot be interrupted while it is delayed or parked"):
        engine.run()


def test_is_a_second_interrupt_refused_if_the_first_led_to_a_delay(engine: Engine) -> None:
    def victim() -> Iterator[object]:
        try:
            yield engine.event()
        except simpy.Interrupt:
            yield 5

    def interrupter() -> Iterator[int]:
        yield 1
        thread.interrupt()
        thread.interrupt()

    thread = engine.process(victim())
    engine.process(interrupter())
    with pytest.raises(ModelError, match="cannot be interrupted"):
        engine.run()


def test_does_preemption_work_on_threads(engine: Engine) -> None:
    cpu = simpy.PreemptiveResource(engine)
    log: Log = []

    def thread(name: str, start: int, priority: int) -> Iterator[object]:
        yield start
        with cpu.request(priority=priority) as request:
            yield request
            try:
                yield engine.timeout(10)
                log.append((name, engine.now))
            except simpy.Interrupt as interrupt:
                log.append((f"{name} preempted by {interrupt.cause.by.name}", engine.now))

    engine.process(thread("low", 1, 9), name="low")
    engine.process(thread("high", 5, 0), name="high")
    engine.run()
    assert log == [("low preempted by high", 5), ("high", 15)]


def test_can_a_thread_not_interrupt_itself_or_the_dead(engine: Engine) -> None:
    def thread() -> Iterator[int]:
        yield engine.timeout(1)
        with pytest.raises(RuntimeError, match="not allowed to interrupt itself"):
            handle.interrupt()

    handle = engine.process(thread())
    engine.run()
    assert handle.target is None
    with pytest.raises(RuntimeError, match="has terminated"):
        handle.interrupt()


def test_are_functions_called_in_order_of_time_and_creation(engine: Engine) -> None:
    log: list[str] = []
    for name, delay in (("late", 5), ("first", 1), ("second", 1)):
        engine.call_in(delay, lambda name=name: log.append(name))
    engine.run()
    assert log == ["first", "second", "late"]
