"""Does all of SimPy that takes an environment or a process take an engine and its threads, which are neither?

Each program runs on SimPy's own environment, and on the engine with timeouts and with integers for delays.
All have to log the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any
from unittest.mock import patch

import pytest
import simpy
from simpy.util import start_delayed, subscribe_at

from sim.engine import Engine, Thread, core

Log = list[tuple[object, ...]]
Process = Generator[Any, Any, Any]
Program = Callable[[Any, Callable[[int], Any], Log], None]
"""Starts its processes in an environment; *pause* makes what a process yields for a delay."""


def conditions(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    def worker(delay: int, value: object) -> Process:
        yield pause(delay)
        return value

    def parent() -> Process:
        a, b, c = (env.process(worker(delay, delay)) for delay in (3, 5, 8))
        late = env.timeout(20, "late")
        got = yield a & (late | b)
        log.append((env.now, [got[a], got[b]], late in got, len(list(got))))
        got = yield simpy.AnyOf(env, [late, c])
        log.append((env.now, list(got.values()), c.triggered, c.ok, c.value))
        got = yield simpy.AllOf(env, [a, late, c])
        log.append((env.now, list(got.todict().values())))
        got = yield late | simpy.Event(env)
        log.append((env.now, got == {late: "late"}))

    env.process(parent())


def errors(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    def failing(delay: int) -> Process:
        yield pause(delay)
        raise KeyError(delay)

    def event_fails(event: simpy.Event) -> Process:
        yield pause(4)
        event.fail(ValueError("no"))

    def parent() -> Process:
        child = env.process(failing(2))
        try:
            yield child
        except KeyError as error:
            log.append((env.now, error.args, child.ok, child.defused, child.is_alive))
        try:
            yield env.all_of([env.timeout(9), env.process(failing(3))])
        except KeyError as error:
            log.append((env.now, error.args))
        event = env.event()
        env.process(event_fails(event))
        try:
            yield event
        except ValueError as error:
            log.append((env.now, error.args))

    env.process(parent())


def resources(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    desk = simpy.PriorityResource(env, capacity=2)

    def client(name: str, start: int, priority: int) -> Process:
        yield pause(start)
        with desk.request(priority=priority) as request:
            got = yield request | env.timeout(15)
            log.append((env.now, name, request in got, desk.count, len(desk.queue)))
            yield pause(10)

    for name, start, priority in [("a", 0, 1), ("b", 1, 1), ("c", 2, 2), ("d", 3, 0), ("e", 4, 9)]:
        env.process(client(name, start, priority))


def preemption(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    cpu = simpy.PreemptiveResource(env)

    def task(name: str, start: int, priority: int, preempt: bool) -> Process:
        yield pause(start)
        with cpu.request(priority=priority, preempt=preempt) as request:
            yield request
            since = env.now
            try:
                yield env.timeout(10)
                log.append((env.now, name))
            except simpy.Interrupt as interrupt:
                cause = interrupt.cause
                log.append((env.now, name, cause.usage_since == since, cause.resource is cpu))
                yield pause(2)

    for start, (name, priority, preempt) in enumerate([("a", 3, True), ("b", 1, False), ("c", 2, True)]):
        env.process(task(name, start, priority, preempt))


def stores(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    plain = simpy.Store(env, capacity=1)
    sorted_store = simpy.PriorityStore(env)
    filtered = simpy.FilterStore(env)

    def producer() -> Process:
        for item in (3, 1, 2):
            yield pause(5)
            yield plain.put(item)
            yield sorted_store.put(simpy.PriorityItem(item, "x"))
            yield filtered.put(item)
            log.append((env.now, "put", item))

    def consumer() -> Process:
        item = yield filtered.get(lambda item: item == 1)
        log.append((env.now, item))
        for _ in range(2):
            one, other = yield env.process(both())
            log.append((env.now, one, other.priority))

    def both() -> Process:
        yield pause(7)
        return (yield plain.get()), (yield sorted_store.get())

    def taker() -> Process:
        yield pause(12)
        log.append((env.now, "taken", (yield plain.get())))

    for process in (producer, consumer, taker):
        env.process(process())


def container(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    tank = simpy.Container(env, capacity=10, init=4)

    def filler() -> Process:
        for amount in (5, 4, 3):
            yield tank.put(amount)
            log.append((env.now, "put", amount, tank.level))
            yield pause(3)

    def drain() -> Process:
        for amount in (8, 2):
            yield pause(4)
            yield tank.get(amount)
            log.append((env.now, "got", amount, tank.level))

    env.process(filler())
    env.process(drain())


def helpers(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    def child(delay: int) -> Process:
        log.append((env.now, "begins"))
        yield pause(delay)
        return delay

    def parent() -> Process:
        late = yield start_delayed(env, child(5), 7)
        log.append((env.now, late.is_alive, (yield late), env.now))
        watched = env.process(child(6))
        subscribe_at(watched)
        try:
            yield env.event()
        except simpy.Interrupt as interrupt:
            log.append((env.now, interrupt.cause[0] is watched, interrupt.cause[1]))

    env.process(parent())


def plain_processes(env: Any, pause: Callable[[int], Any], log: Log) -> None:
    """Processes of SimPy's own class beside threads: they wait for each other and interrupt each other."""

    def victim() -> Process:
        while True:
            try:
                yield simpy.Timeout(env, 100)
                return env.now
            except simpy.Interrupt as interrupt:
                log.append((env.now, interrupt.cause))

    def attacker(target: Any) -> Process:
        yield pause(10)
        target.interrupt("first")

    def plain_attacker(target: Any) -> Process:
        yield env.timeout(20)
        target.interrupt(env.active_process is me)
        log.append((env.now, (yield target)))

    process = simpy.Process(env, victim())
    thread = env.process(victim())
    env.process(attacker(process))
    env.process(attacker(thread))
    me = simpy.Process(env, plain_attacker(thread))


PROGRAMS = [conditions, errors, resources, preemption, stores, container, helpers, plain_processes]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_does_a_program_of_simpy_log_the_same_on_the_engine(program: Program) -> None:
    expected: Log = []
    environment = simpy.Environment()
    program(environment, environment.timeout, expected)
    environment.run()
    for delays in ("events", "integers"):
        for nodes in (False, True):
            log: Log = []
            with patch.object(core, "NATIVE", nodes):
                engine = Engine()
            program(engine, engine.timeout if delays == "events" else lambda delay: delay, log)
            engine.run()
            assert log == expected, delays
            assert engine.now == environment.now
    assert expected


def test_are_engine_and_threads_classes_of_their_own() -> None:
    for kind in (Engine, Thread):
        assert not [base for base in kind.__mro__ if base.__module__.startswith("simpy")]
