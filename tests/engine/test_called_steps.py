"""Steps that a thread calls (`yield Call(steps)`): their value and their errors come back, in no time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.engine import Call, Engine
from sim.engine.queues import UNLIMITED, Background, HeapQueue, NodeQueue
from sim.errors import ModelError


def ran(body: Iterator[Any]) -> tuple[object, int, int]:
    """What *body* returned, when, and after how many events."""
    engine = Engine()
    thread = engine.process(body)  # type: ignore[arg-type]
    engine.run()
    return thread.value, engine.now, engine.events


def test_does_the_value_come_back() -> None:
    def inner() -> Iterator[Any]:
        yield 3
        return "value"

    def outer() -> Iterator[Any]:
        first = yield Call(inner())  # type: ignore[arg-type]
        second = yield Call(inner())  # type: ignore[arg-type]
        return first, second

    assert ran(outer())[:2] == (("value", "value"), 6)


def test_do_steps_that_take_no_time_need_no_event_and_no_stack() -> None:
    def nothing() -> Iterator[Any]:
        return 1
        yield

    def outer() -> Iterator[Any]:
        total = 0
        for _ in range(5000):
            total += yield Call(nothing())  # type: ignore[arg-type]
        return total

    def plain() -> Iterator[Any]:
        return 5000
        yield

    assert ran(outer()) == ran(plain())


def test_is_an_error_raised_where_the_steps_were_called() -> None:
    def failing() -> Iterator[Any]:
        yield 2
        raise KeyError("inner")

    def middle() -> Iterator[Any]:
        yield Call(failing())  # type: ignore[arg-type]

    def outer() -> Iterator[Any]:
        try:
            yield Call(middle())  # type: ignore[arg-type]
        except KeyError as error:
            yield 5
            return error.args
        return None

    assert ran(outer())[:2] == (("inner",), 7)


def test_does_an_error_that_nobody_takes_end_the_run() -> None:
    def failing() -> Iterator[Any]:
        raise KeyError("inner")
        yield

    def outer() -> Iterator[Any]:
        yield Call(failing())  # type: ignore[arg-type]

    with pytest.raises(KeyError):
        ran(outer())


def test_is_a_bad_yield_of_called_steps_refused() -> None:
    def bad() -> Iterator[Any]:
        yield -1

    def outer() -> Iterator[Any]:
        yield Call(bad())  # type: ignore[arg-type]

    with pytest.raises(ModelError, match="a negative delay"):
        ran(outer())


def test_do_called_steps_wait_for_events_and_threads() -> None:
    engine = Engine()

    def other() -> Iterator[Any]:
        yield 4
        return "other"

    def inner(thread: Any) -> Iterator[Any]:
        found = yield thread
        late = yield engine.timeout(3, "late")
        again = yield thread  # over already
        return found, late, again

    def outer(thread: Any) -> Iterator[Any]:
        return (yield Call(inner(thread)))  # type: ignore[arg-type]

    thread = engine.process(outer(engine.process(other())))  # type: ignore[arg-type]
    engine.run()
    assert thread.value == ("other", "late", "other")
    assert engine.now == 7


PUTS = st.lists(st.tuples(st.integers(0, 6), st.integers(-1, 1), st.booleans()), max_size=60)


@given(PUTS)
def test_do_both_queues_give_the_same_order(puts: list[tuple[int, int, bool]]) -> None:
    """Each put is followed by a take where it says so; what the loops do besides is taken back in part."""
    numbers = iter(range(1000))
    plain, nodes = HeapQueue(numbers.__next__), NodeQueue()
    now = 0
    for delay, priority, takes in puts:
        item = object()
        plain.put(now + delay, priority, item)
        nodes.put(now + delay, priority, item)
        assert plain.first() == nodes.first()
        assert plain.first_call() == nodes.first_call()
        if takes:
            node, entry = nodes.take(), plain.take()
            assert (node.at, node.priority, node.item) == (entry[0], entry[1], entry[3])
            now = node.at
    while plain.heap:
        node, entry = nodes.take(), plain.take()
        assert (node.at, node.item) == (entry[0], entry[3])
    assert plain.first() == nodes.first() == UNLIMITED


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30))
def test_does_only_what_is_in_the_background_drop_out(puts: list[tuple[int, bool]]) -> None:
    nodes = NodeQueue()
    items = [Background(lambda: None) if background else object() for _, background in puts]
    for (at, _), item in zip(puts, items, strict=True):
        nodes.put(at, 0, item)
    nodes.drop_background()
    left = [at for at, background in puts if not background]
    assert [nodes.take().at for _ in left] == sorted(left)
    assert not nodes.heap
    assert all(item.dropped for item in items if isinstance(item, Background))
