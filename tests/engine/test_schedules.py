"""Is the order of a run a rule of its own, that is asked only where there is a choice, kept and repeated?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
from test_ties_and_streams import order_of_threads

from sim.engine import PARKED, Decisions, Engine, Entry, InjectedDelays, Recorder, Replayer, Schedule, Thread
from sim.engine.schedule import Fifo, Priority, Shuffle, actor_of, created
from sim.errors import BudgetExceeded, Deadlock, ReplayError

ORDER_OF_SEED_7 = [2, 3, 5, 7, 1, 0, 6, 4, 6, 3, 7, 5, 4, 2, 0, 1]
"""What `shuffle` has always made of eight threads at their first two instants."""


class Watchful(Fifo):
    """Keeps what it was asked, and takes the last."""

    asked = True

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.seen: list[tuple[int, set[object]]] = []

    def choose(self, event: int, ready: Sequence[Entry]) -> int:
        assert len(ready) > 1
        assert {entry[:2] for entry in ready} == {ready[0][:2]}
        assert list(ready) == sorted(ready, key=created)
        self.seen.append((ready[0][0], {actor_of(entry[3]) for entry in ready}))
        return len(ready) - 1


def test_is_shuffle_the_order_that_it_always_was() -> None:
    assert [thread for _, thread in order_of_threads("shuffle", seed=7)][:16] == ORDER_OF_SEED_7


def test_is_a_schedule_asked_only_where_several_are_ready() -> None:
    engine = Engine(schedule=Watchful)
    order: list[str] = []

    def thread(name: str, *delays: int) -> Iterator[int]:
        for delay in delays:
            yield delay
            order.append(name)

    a, b = engine.process(thread("a", 1, 2, 4), "a"), engine.process(thread("b", 2, 1, 5), "b")
    engine.run()
    assert engine._decider.seen == [(0, {a, b}), (3, {a, b})]  # type: ignore[attr-defined]
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_are_the_limits_those_of_the_fast_loop() -> None:
    def ticks() -> Iterator[int]:
        while True:
            yield 10

    for limits, message in (({"max_events": 5}, "events"), ({"max_time_ps": 35}, "simulated time")):
        ends = []
        for schedule in (Fifo, Recorder(Fifo)):
            engine = Engine(schedule=schedule, **limits)
            engine.process(ticks())
            with pytest.raises(BudgetExceeded, match=message):
                engine.run()
            ends.append((engine.now, engine.events))
        assert ends[0] == ends[1]


@pytest.mark.parametrize("schedule", [Fifo, Shuffle, Priority, InjectedDelays(Fifo, 1.0, 5)])
def test_is_a_deadlock_reported_under_every_schedule(schedule: Schedule) -> None:
    engine = Engine(schedule=Recorder(schedule))

    def sleeper() -> Iterator[object]:
        yield 5
        yield PARKED

    engine.process(sleeper(), "the sleeper")
    with pytest.raises(Deadlock) as caught:
        engine.run()
    assert str(caught.value) == (
        "nothing left to happen, but threads wait:\n  the sleeper waits for a wake-up"
    )


# -- priorities ---------------------------------------------------------------------------------------------


def lost_update(schedule: Schedule, seed: int) -> tuple[bool, int]:
    """Whether one of two increments is lost, and how many decisions there were. A bug of depth 2.

    Each thread reads, works on for eight steps, and writes; only a switch between read and write loses.
    """
    recorder = Recorder(schedule)
    asked = 0

    def counting(engine: Engine) -> Watchful:
        inner = recorder(engine)

        def choose(event: int, ready: Sequence[Entry]) -> int:
            nonlocal asked
            asked += 1
            return inner.choose(event, ready)

        decider = Watchful(engine)
        decider.key, decider.choose, decider.delay = inner.key, choose, inner.delay  # type: ignore[method-assign]
        return decider

    engine = Engine(seed=seed, schedule=counting)
    counter = 0

    def increment() -> Iterator[int]:
        nonlocal counter
        for _ in range(8):
            yield 0
        read = counter
        yield 0
        counter = read + 1

    engine.process(increment(), "a")
    engine.process(increment(), "b")
    engine.run()
    return counter == 1, asked


def test_does_priority_find_a_bug_of_depth_2_as_often_as_its_bound_says() -> None:
    runs = 2000
    actors, decisions = 2, 20
    priority = partial(Priority, depth=2, decisions=decisions)
    results = [lost_update(priority, seed) for seed in range(runs)]
    assert max(asked for _, asked in results) <= decisions  # else the bound says nothing
    bound = 1 / (actors * decisions)
    found = sum(lost for lost, _ in results)
    spread = (runs * bound * (1 - bound)) ** 0.5
    assert found >= runs * bound - 4 * spread


def test_does_priority_never_find_a_bug_deeper_than_it_looks() -> None:
    """Without a change one thread runs to its end before the other starts."""
    assert not any(lost_update(partial(Priority, depth=1), seed)[0] for seed in range(200))


def test_does_priority_find_what_a_shuffle_hardly_ever_finds() -> None:
    """One thread does 30 steps before four others do one: a chance of 1/5, and at random of 1/46376."""

    def overtaken(schedule: Schedule, seed: int) -> bool:
        engine = Engine(seed=seed, schedule=schedule)
        begun: list[int] = []
        found = False

        def long() -> Iterator[int]:
            nonlocal found
            for _ in range(30):
                yield 0
            found = not begun

        def short(number: int) -> Iterator[int]:
            yield 0
            begun.append(number)

        engine.process(long())
        for number in range(4):
            engine.process(short(number))
        engine.run()
        return found

    assert 17 <= sum(overtaken(partial(Priority, depth=1), seed) for seed in range(200)) <= 63  # 40, sd 5.7
    assert not any(overtaken(Shuffle, seed) for seed in range(200))


def test_are_all_timers_of_a_kind_one_actor() -> None:
    def timer() -> Callable[[], None]:
        return lambda: None

    class Line:
        def grant(self) -> None:
            pass

    line = Line()
    assert actor_of(timer()) == actor_of(timer())
    assert actor_of(line.grant) is actor_of(partial(line.grant)) is line
    assert actor_of(Line().grant) is not line


# -- injected delays ----------------------------------------------------------------------------------------


def test_are_injected_delays_within_their_bound_and_all_kept() -> None:
    recorder = Recorder(InjectedDelays(Fifo, chance=0.3, up_to=9))
    engine = Engine(seed=4, schedule=recorder)
    told: list[int] = []
    engine.on_injected_delay = lambda thread, length: told.append(length)
    late: list[int] = []

    def thread() -> Iterator[int]:
        for _ in range(1000):
            before = engine.now
            yield 100
            late.append(engine.now - before - 100)

    engine.process(thread())
    engine.run()
    assert set(late) == set(range(10))
    assert 250 <= sum(length > 0 for length in late) <= 350
    (kept,) = recorder.decisions()
    assert [length for _, length in kept.delays] == told == [length for length in late if length]


def test_is_a_wake_up_put_off_too_and_stolen_time_paid_on_top() -> None:
    def always(event: int, thread: Thread) -> int:
        return 10

    def schedule(engine: Engine) -> Watchful:
        decider = Watchful(engine)
        decider.delay = always  # type: ignore[method-assign]
        return decider

    engine = Engine(schedule=schedule)
    times: list[int] = []

    def sleeper() -> Iterator[object]:
        yield PARKED
        times.append(engine.now)
        yield 100
        times.append(engine.now)

    def steal() -> None:
        thread.stolen += 7

    thread = engine.process(sleeper())
    engine.call_in(20, lambda: engine.wake(thread, 5))
    engine.call_in(27, steal)  # while the wake-up, due at 25, is delayed to 35
    engine.call_in(50, steal)
    engine.run()
    assert times == [42, 42 + 100 + 7 + 10]


# -- stored decisions ---------------------------------------------------------------------------------------


def shuffled(schedule: Schedule) -> list[int]:
    """The order of four threads at three instants."""
    engine = Engine(seed=3, schedule=schedule)
    order: list[int] = []

    def thread(number: int) -> Iterator[int]:
        for _ in range(3):
            order.append(number)
            yield 10

    for number in range(4):
        engine.process(thread(number))
    engine.run()
    return order


def replay(stored: Decisions) -> list[int]:
    replayer = Replayer([stored])
    order = shuffled(replayer)
    replayer.check_ends()
    return order


def recorded() -> Decisions:
    recorder = Recorder(Shuffle)
    shuffled(recorder)
    return recorder.decisions()[0]


def test_does_a_stored_schedule_hold_only_what_fifo_would_not_do() -> None:
    recorder = Recorder(Fifo)
    shuffled(recorder)
    assert recorder.decisions() == [Decisions([], [], events=20, time=30)]
    kept = recorded()
    assert (kept.events, kept.time) == (20, 30)
    assert all(1 <= chosen < of for _, of, chosen in kept.choices)
    assert 0 < len(kept.choices) < 20


def test_can_a_schedule_be_cut_down_by_hand() -> None:
    """Only the first decision is left: the last of four threads starts first, the rest is `fifo`."""
    assert replay(Decisions([(1, 4, 3)]))[:4] == [3, 0, 1, 2]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([(1, 5, 2)], "does not fit run 0: event 1 is chosen among 5, but 4 are ready"),
        ([(20, 2, 1)], "at event 20 there was nothing to decide"),
        ([(999, 2, 1)], "at event 999 there was nothing to decide"),
    ],
)
def test_is_a_schedule_that_does_not_fit_refused(choices: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        replay(Decisions(choices))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"events": 21}, "it ended after 21 events, this one after 20"),
        ({"time": 29}, "29 ps, this one after 30"),
    ],
)
def test_is_a_run_that_ends_elsewhere_refused(change: dict[str, int], message: str) -> None:
    kept = recorded()
    for key, value in change.items():
        setattr(kept, key, value)
    with pytest.raises(ReplayError, match=message):
        replay(kept)


def test_are_runs_too_many_or_too_few_refused() -> None:
    kept = recorded()
    replayer = Replayer([kept])
    shuffled(replayer)
    with pytest.raises(ReplayError, match="of 1 runs, and another one begins"):
        shuffled(replayer)
    replayer = Replayer([kept, kept])
    shuffled(replayer)
    with pytest.raises(ReplayError, match="of 2 runs, and there were 1"):
        replayer.check_ends()
