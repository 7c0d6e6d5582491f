"""A simple reference beside each fast path: random programs must do the same whichever way they are run.

The reference is plain SimPy: a delay is a timeout, parking is an event, stolen time is one more timeout. The
engine's loop, a loop of `step` and a run in slices do the same things at the same times in the same order. So
do a recorded run and its replay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st
from simpy.core import EmptySchedule
from simpy.events import NORMAL

from sim.engine import PARKED, Call, Engine, InjectedDelays, Recorder, Replayer, Schedule, ScheduleName, core
from sim.engine.schedule import Fifo, Priority, Shuffle
from sim.errors import Deadlock

Step = tuple[Any, ...]
Program = list[list[Step]]
"""What each thread does, step by step."""
Trace = list[tuple[int, int, int]]
"""(time, thread, step) for each step that was completed."""

SHORT = st.integers(0, 5)
"""Short delays, so that ties are common."""


def steps(threads: int) -> st.SearchStrategy[Step]:
    other = st.integers(0, threads - 1)
    return st.one_of(
        st.tuples(st.just("delay"), SHORT),
        st.tuples(st.just("timeout"), SHORT),
        st.tuples(st.just("hold"), st.integers(0, 1), SHORT),
        st.tuples(st.just("any of"), SHORT, SHORT),
        st.tuples(st.just("join"), other),
        st.tuples(st.just("park")),
        st.tuples(st.just("wake"), other, SHORT),
        st.tuples(st.just("steal"), other, SHORT),
    )


PROGRAMS: st.SearchStrategy[Program] = st.integers(1, 6).flatmap(
    lambda threads: st.lists(st.lists(steps(threads), max_size=8), min_size=threads, max_size=threads)
)


class OnEngine:
    """The program's steps in the engine's own words."""

    def __init__(self, env: Engine) -> None:
        self.env = env
        self.threads: list[Any] = []

    def delay(self, thread: int, delay: int) -> Iterator[object]:
        yield delay

    def park(self, thread: int) -> Iterator[object]:
        yield PARKED

    def wake(self, thread: int, delay: int) -> None:
        self.env.wake(self.threads[thread], delay)

    def steal(self, thread: int, time: int) -> None:
        self.threads[thread].stolen += time


class ByCalls(OnEngine):
    """The same, each step inside two calls."""

    def delay(self, thread: int, delay: int) -> Iterator[object]:
        yield Call(self._within(super().delay(thread, delay)))

    def park(self, thread: int) -> Iterator[object]:
        yield Call(self._within(super().park(thread)))

    def _within(self, steps: Any) -> Iterator[object]:
        yield Call(steps)


class OnSimpy:
    """The same steps in plain SimPy."""

    def __init__(self, env: simpy.Environment) -> None:
        self.env = env
        self.threads: list[Any] = []
        self.stolen: defaultdict[int, int] = defaultdict(int)
        self.wake_ups: dict[int, simpy.Event] = {}

    def delay(self, thread: int, delay: int) -> Iterator[object]:
        yield self.env.timeout(delay)
        while stolen := self.stolen.pop(thread, 0):
            yield self.env.timeout(stolen)

    def park(self, thread: int) -> Iterator[object]:
        self.wake_ups[thread] = self.env.event()
        yield self.wake_ups[thread]
        while stolen := self.stolen.pop(thread, 0):
            yield self.env.timeout(stolen)

    def wake(self, thread: int, delay: int) -> None:
        event = self.wake_ups[thread]
        event._ok, event._value = True, None
        self.env.schedule(event, NORMAL, delay)

    def steal(self, thread: int, time: int) -> None:
        self.stolen[thread] += time


def start(program: Program, on: OnEngine | OnSimpy) -> Trace:
    """Start the threads of *program*; the trace grows while they run."""
    env = on.env
    locks = [simpy.Resource(env), simpy.Resource(env, capacity=2)]
    parked: set[int] = set()
    trace: Trace = []

    def body(me: int) -> Iterator[Any]:
        for number, step in enumerate(program[me]):
            match step:
                case "delay", delay:
                    yield from on.delay(me, delay)
                case "timeout", delay:
                    yield env.timeout(delay)
                case "hold", lock, delay:
                    with locks[lock].request() as request:
                        yield request
                        yield from on.delay(me, delay)
                case "any of", one, other:
                    yield env.timeout(one) | env.timeout(other)
                case "join", other if other != me:
                    yield on.threads[other]
                case ("park",):
                    parked.add(me)
                    yield from on.park(me)
                case "wake", other, delay if other in parked:
                    parked.remove(other)
                    on.wake(other, delay)
                case "steal", other, time:
                    on.steal(other, time)
            trace.append((int(env.now), me, number))

    on.threads.extend(env.process(body(me)) for me in range(len(program)))
    return trace


def step_to_the_end(env: simpy.Environment) -> int:
    """How many steps it took."""
    taken = 0
    while True:
        try:
            env.step()
        except EmptySchedule:
            return taken
        taken += 1


SCHEDULES: dict[str, Schedule] = {
    "fifo": Fifo,
    "shuffle": Shuffle,
    "priority": partial(Priority, depth=3, decisions=20),
    "delays": InjectedDelays(Shuffle, chance=0.5, up_to=7),
}
SCHEDULED = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=list(SCHEDULES))


def outcome(
    program: Program,
    schedule: Schedule | ScheduleName,
    *,
    loop: bool = False,
    nodes: bool = False,
    kind: type[OnEngine] = OnEngine,
) -> tuple[Trace, int, int, bool]:
    """What happened, when the last event was, how many there were and whether all threads ended.

    *nodes*: with the queue of a compiled engine.
    """
    with patch.object(core, "NATIVE", nodes):
        engine = Engine(seed=1, schedule=schedule)
    on = kind(engine)
    trace = start(program, on)
    if loop:
        step_to_the_end(engine)
    else:
        with suppress(Deadlock):
            engine.run()
    return trace, engine.now, engine.events, not any(thread.is_alive for thread in on.threads)


@given(PROGRAMS)
@SCHEDULED
def test_does_run_equal_a_loop_of_step(schedule: Schedule, program: Program) -> None:
    assert outcome(program, schedule) == outcome(program, schedule, loop=True)


@given(PROGRAMS)
def test_does_a_compiled_engine_take_things_in_the_same_order(program: Program) -> None:
    expected = outcome(program, "fifo")
    assert outcome(program, "fifo", nodes=True) == expected
    assert outcome(program, "fifo", nodes=True, loop=True) == expected


@given(PROGRAMS)
@SCHEDULED
def test_are_steps_that_are_called_taken_as_those_that_are_yielded_from(
    schedule: Schedule, program: Program
) -> None:
    expected = outcome(program, schedule)
    for nodes in (False, True):
        assert outcome(program, schedule, nodes=nodes, kind=ByCalls) == expected


@given(PROGRAMS)
@SCHEDULED
def test_does_a_recorded_run_do_the_same_and_its_replay_too(schedule: Schedule, program: Program) -> None:
    expected = outcome(program, schedule)
    recorder = Recorder(schedule)
    assert outcome(program, recorder) == expected
    replayer = Replayer(recorder.decisions())
    assert outcome(program, replayer) == expected
    replayer.check_ends()


@given(PROGRAMS)
def test_does_the_engine_do_what_plain_simpy_does(program: Program) -> None:
    env = simpy.Environment()
    on = OnSimpy(env)
    trace = start(program, on)
    events = step_to_the_end(env)
    ended = not any(process.is_alive for process in on.threads)
    assert outcome(program, "fifo") == (trace, env.now, events, ended)


@given(PROGRAMS, st.integers(1, 7))
def test_does_a_run_in_slices_do_the_same(program: Program, length: int) -> None:
    engine = Engine()
    trace = start(program, OnEngine(engine))
    while engine.peek() < float("inf"):
        engine.run(until=engine.now + length)
    assert trace == outcome(program, "fifo")[0]


@given(PROGRAMS)
def test_does_every_deadlocked_thread_stand_in_the_report(program: Program) -> None:
    engine = Engine()
    on = OnEngine(engine)
    start(program, on)
    try:
        engine.run()
    except Deadlock as deadlock:
        reported = len(str(deadlock).splitlines()) - 1
    else:
        reported = 0
    assert reported == sum(thread.is_alive for thread in on.threads)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=10))
def test_is_all_stolen_time_paid_back_and_no_more(interrupts: list[tuple[int, int]]) -> None:
    """A delay that is interrupted ends late by exactly what was stolen before its end, however often."""
    engine = Engine()

    def victim() -> Iterator[int]:
        yield 30

    thread = engine.process(victim())
    stolen = 0

    def steal(length: int) -> None:
        nonlocal stolen
        if thread.is_alive:
            thread.stolen += length
            stolen += length

    for time, length in interrupts:
        engine.call_in(time, lambda length=length: steal(length))
    engine.run(until=thread)
    assert engine.now == 30 + stolen
    assert thread.stolen == 0
