"""An error in a thread ends the run with its own traceback, unless somebody waits for that thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import simpy

from sim.engine import PARKED, Engine


class LostFrameError(Exception):
    """Takes more than a message: an engine that rebuilds exceptions would trip over it."""

    def __init__(self, frame: int, *, node: int) -> None:
        super().__init__(f"frame {frame} of node {node}")


def culprit(before: object) -> Iterator[object]:
    if before is not None:
        yield before
    raise LostFrameError(7, node=1)


@pytest.mark.parametrize("before", [None, 5, "timeout", PARKED], ids=repr)
def test_does_an_error_surface_with_its_traceback_and_the_threads_name(before: object) -> None:
    engine = Engine()
    first = engine.timeout(5) if before == "timeout" else before
    thread = engine.process(culprit(first), name="cpu 9")
    if before is PARKED:
        engine.call_in(5, lambda: engine.resume(thread))
    with pytest.raises(LostFrameError, match="frame 7 of node 1") as caught:
        engine.run()
    assert any(entry.name == "culprit" for entry in caught.traceback)
    assert caught.value.__notes__ == [f"in thread cpu 9 at {0 if before is None else 5} ps"]
    assert not thread.ok


def test_does_a_waiting_thread_get_the_error_and_may_handle_it() -> None:
    engine = Engine()

    def parent() -> Iterator[object]:
        with pytest.raises(LostFrameError):
            yield engine.process(culprit(5))
        yield 2
        return "handled"

    assert engine.run(engine.process(parent())) == "handled"
    assert engine.now == 7


def test_does_an_error_pass_through_every_thread_that_waits() -> None:
    engine = Engine()

    def parent(child: simpy.Event) -> Iterator[object]:
        yield child

    child = engine.process(culprit(5), name="child")
    engine.process(parent(engine.process(parent(child), name="parent")), name="grandparent")
    with pytest.raises(LostFrameError) as caught:
        engine.run()
    assert [note.split(" at ")[0] for note in caught.value.__notes__] == [
        "in thread child",
        "in thread parent",
        "in thread grandparent",
    ]


def test_does_an_error_reach_a_thread_that_waits_for_several() -> None:
    engine = Engine()

    def parent() -> Iterator[object]:
        with pytest.raises(LostFrameError):
            yield engine.all_of([engine.process(culprit(5)), engine.timeout(9)])
        return engine.now

    assert engine.run(engine.process(parent())) == 5


def test_is_an_error_in_a_called_function_raised_as_it_is() -> None:
    engine = Engine()

    def handler() -> None:
        raise LostFrameError(7, node=1)

    engine.call_in(5, handler)
    with pytest.raises(LostFrameError):
        engine.run()
    assert engine.now == 5


def test_is_a_failed_event_that_nobody_awaits_raised() -> None:
    engine = Engine()
    engine.event().fail(LostFrameError(7, node=1))
    with pytest.raises(LostFrameError):
        engine.run()


def test_does_ctrl_c_in_a_thread_end_the_run_at_once() -> None:
    engine = Engine()

    def thread() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    def other() -> Iterator[object]:
        yield engine.process(thread())
        raise AssertionError("ran on")

    engine.process(other())
    with pytest.raises(KeyboardInterrupt):
        engine.run()
