"""Who is told what, and what does it cost the others?"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from sim.engine import QUIET, Engine, Probe, listen
from sim.engine.probe import HOOKS


class Sleepers(Probe):
    def __init__(self) -> None:
        self.told: list[tuple[Any, str]] = []

    def sleep(self, cpu: Any, reason: str) -> None:
        self.told.append((cpu, reason))


class Idlers(Sleepers):
    def idle_begins(self, cpu: Any) -> None:
        self.told.append((cpu, "idle"))


def test_does_nobody_listen_unless_asked() -> None:
    assert Engine().probe is QUIET
    assert listen() is QUIET
    assert not QUIET.hears(*HOOKS)


def test_is_every_hook_without_effect_and_without_value() -> None:
    for hook in HOOKS:
        arguments = [None] * len(inspect.signature(getattr(QUIET, hook)).parameters)
        assert getattr(QUIET, hook)(*arguments) is None


def test_is_each_listener_told_what_it_asked_for_and_in_order() -> None:
    first, second, third = Sleepers(), Idlers(), Probe()
    probe = listen(first, second, third)
    probe.sleep("cpu 0", "tired")  # type: ignore[arg-type]
    probe.idle_begins("cpu 0")  # type: ignore[arg-type]
    probe.frame_freed("cpu 0", 1, 0)  # type: ignore[arg-type]
    assert first.told == [("cpu 0", "tired")]
    assert second.told == [("cpu 0", "tired"), ("cpu 0", "idle")]


@pytest.mark.parametrize("listeners", [[Sleepers()], [Sleepers(), Sleepers()], [Sleepers(), Probe()]])
def test_is_it_known_which_hooks_anybody_hears(listeners: list[Probe]) -> None:
    probe = listen(*listeners)
    assert probe.hears("sleep")
    assert probe.hears("charge", "sleep")
    assert not probe.hears("charge", "idle_begins")


def test_is_a_single_listener_called_directly() -> None:
    listener = Sleepers()
    assert listen(listener) is listener
    assert listen(listener, Probe()).sleep == listener.sleep


def test_does_a_listener_get_the_engine_of_each_run() -> None:
    engines = []

    class Attached(Probe):
        def attach(self, engine: Engine) -> None:
            engines.append(engine)

    probe = listen(Attached(), Sleepers())
    made = [Engine(probe=probe), Engine(probe=probe)]
    assert engines == made
