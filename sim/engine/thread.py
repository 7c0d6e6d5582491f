"""A simulated thread: a generator that the engine drives, and what it yields.

It is to SimPy what a process is: other processes, conditions and resources can wait for it, hold it and
interrupt it. It inherits nothing from SimPy, so that it can be compiled; it has the attributes and methods of
a SimPy process that SimPy's own code uses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar, cast, final

from simpy.events import PENDING, Condition, Event, Interruption

from sim.errors import ModelError
from sim.quantities import format_duration

if TYPE_CHECKING:
    from sim.engine.core import Engine


class Parked:
    """What `PARKED` is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PARKED"


PARKED: Final = Parked()
"""Yielded by a thread that waits to be woken with `Engine.wake`."""

T_co = TypeVar("T_co", covariant=True)
Yielded: TypeAlias = "int | Parked | Event | Thread | Call"
Steps: TypeAlias = Generator[Yielded, Any, T_co]
"""Steps of a thread that end with a value: model code, to be driven with `yield from` or as a thread."""


@final
class Call:
    """Yielded by a thread whose *steps* come first: `value = yield Call(steps)`.

    It is `value = yield from steps`, but what is above is not passed through at each of these steps. For many
    steps below many generators.
    """

    __slots__ = ("steps",)

    def __init__(self, steps: Steps[Any]) -> None:
        self.steps = steps


@final
class Thread:
    """A process that yields integers, `PARKED`, SimPy events and other threads.

    *stolen* is time that interrupts took from the thread while it was delayed; the loop pays it back before
    the thread goes on. *waiting_for* is what a parked thread waits for (anything with a `describe_wait()` or
    a `repr`), kept for the deadlock report. *put_off* says that the schedule delays the step that is next.
    *target* is the event or thread that it waits for, None while it is delayed or parked. It is an event
    itself, that happens when it ends: *callbacks* are told.
    """

    __slots__ = (
        "_callers",
        "_defused",
        "_generator",
        "_ok",
        "_send",
        "_target",
        "_value",
        "callbacks",
        "env",
        "label",
        "put_off",
        "stolen",
        "waiting_for",
    )

    def __init__(self, env: Engine, generator: Steps[object], name: str) -> None:
        """Start on *generator* at the present time. Raises `ValueError` for what is no generator."""
        if not hasattr(generator, "throw"):
            raise ValueError(f"{generator} is not a generator.")
        self.env = env
        self.label = name
        self.stolen = 0
        self.waiting_for: object = None
        self.put_off = False
        self.callbacks: list[Callable[[Any], object]] | None = []
        self._generator: Steps[Any] = generator
        self._callers: list[Steps[Any]] = []
        self._send: Callable[[Any], Any] = generator.send
        self._target: Event | Thread | None = None
        self._value: object = PENDING
        self._ok = True
        self._defused = False

    def __repr__(self) -> str:
        return f"<Thread {self.label}>"

    # -- what SimPy asks of a process -----------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.label

    @property
    def target(self) -> Event | Thread | None:
        """The event or thread that it waits for."""
        return self._target

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._value is PENDING

    @property
    def triggered(self) -> bool:
        """Whether it has ended."""
        return self._value is not PENDING

    @property
    def processed(self) -> bool:
        """Whether those who waited for its end have been told."""
        return self.callbacks is None

    @property
    def ok(self) -> bool:
        """Whether it ended without an error."""
        if self._value is PENDING:
            raise AttributeError(f"{self.label} has not ended yet")
        return self._ok

    @property
    def value(self) -> Any:
        """What it returned, or the error that ended it."""
        if self._value is PENDING:
            raise AttributeError(f"{self.label} has not ended yet")
        return self._value

    @property
    def defused(self) -> bool:
        """Whether somebody has taken care of its error."""
        return self._defused

    @defused.setter
    def defused(self, value: bool) -> None:
        self._defused = True

    def __and__(self, other: Any) -> Condition:
        return Condition(cast(Any, self.env), Condition.all_events, cast(Any, [self, other]))

    def __or__(self, other: Any) -> Condition:
        return Condition(cast(Any, self.env), Condition.any_events, cast(Any, [self, other]))

    def interrupt(self, cause: object = None) -> None:
        """SimPy's interrupt, for a thread that waits for an event (refused while it is delayed or parked)."""
        _Interruption(cast(Any, self), cause)

    def _desc(self) -> str:
        return f"Thread({self.label})"

    # -- its steps ------------------------------------------------------------------------------------------

    def _resume(self, event: Any) -> None:
        """Go on after *event*; SimPy and the engine call this for events the thread waited for."""
        self.env._active_proc = self
        if event._ok:
            self._go_on(event._value, None)
        else:
            event._defused = True
            self._go_on(None, event._value)
        self.env._active_proc = None

    def _go_on(self, value: object, error: Any) -> None:
        """Take steps with *value*, or with the *error* that is raised there, until the thread waits or ends.

        A loop, for what a thread waits for may be over already, and steps that it calls may take no time: it
        may join hundreds of others.
        """
        while True:
            try:
                target = self._send(value) if error is None else self._generator.throw(error)
            except StopIteration as stop:
                if not self._callers:
                    self._finish(True, stop.value)
                    return
                self._leave()
                value, error = stop.value, None
                continue
            except Exception as raised:
                if not self._callers:
                    self._finish(False, raised)
                    return
                self._leave()
                value, error = None, raised
                continue
            if type(target) is Call:
                self._enter(target)
                value, error = None, None
            elif isinstance(target, (Thread, Event)) and target.callbacks is None:
                if target._ok:
                    value, error = target._value, None
                else:
                    target.defused = True
                    value, error = None, target._value
            else:
                self._wait_on(target)
                return

    def _enter(self, call: Call) -> None:
        """The steps of *call* come first."""
        self._callers.append(self._generator)
        self._generator = call.steps
        self._send = call.steps.send

    def _leave(self) -> None:
        """The steps that were called are over."""
        self._generator = self._callers.pop()
        self._send = self._generator.send

    def _returned(self, value: object) -> None:
        """Its steps have ended with *value*."""
        if self._callers:
            self._leave()
            self._go_on(value, None)
        else:
            self._finish(True, value)

    def _raised(self, error: Exception) -> None:
        """Its steps have raised *error*."""
        if self._callers:
            self._leave()
            self._go_on(None, error)
        else:
            self._finish(False, error)

    def _wait_on(self, target: Any) -> None:
        """Register what the thread yielded: the one place that accepts or refuses it."""
        if target is PARKED:
            self._target = None
        elif type(target) is Call:
            self._enter(target)
            self._go_on(None, None)
        elif type(target) is int:
            if target < 0:
                self._refuse(f"a negative delay: {target} ps")
            self._target = None
            self.env._delay(self, target)
        elif isinstance(target, (Thread, Event)):
            if target.callbacks is None:
                self._resume(target)
            else:
                self._target = target
                target.callbacks.append(self._resume)
        else:
            self._refuse(
                f"{target!r}: a thread yields an int number of picoseconds, PARKED, a SimPy event or a Call"
            )

    def _refuse(self, what: str) -> NoReturn:
        """End the run over a bad yield, thrown into the generator so that the traceback shows the line."""
        error = ModelError(f"{self.label} yielded {what}")
        with suppress(StopIteration):
            self._generator.throw(error)
        raise error

    def _finish(self, ok: bool, value: object) -> None:
        env = self.env
        if self._value is not PENDING:
            raise ModelError(f"{self.label} was woken after its end") from None
        if isinstance(value, Exception) and not ok:
            value.add_note(f"in thread {self.label} at {format_duration(env._now)}")
        self._ok = ok
        self._value = value
        self._target = None
        env._ended(self)


class Start:
    """The first step of *actor*: a queue entry that comes before all else of its instant."""

    __slots__ = ("actor",)

    def __init__(self, actor: Thread) -> None:
        self.actor = actor

    def __call__(self) -> None:
        actor = self.actor
        actor.env._active_proc = actor
        actor._go_on(None, None)
        actor.env._active_proc = None


class _Interruption(Interruption):
    """Refuses what SimPy cannot know: to cut a delay short or to take a parked thread from its waker."""

    def _interrupt(self, event: Event) -> None:
        thread = cast(Thread, self.process)
        if thread.is_alive and thread._target is None:
            raise ModelError(
                f"{thread.label} cannot be interrupted while it is delayed or parked: "
                "let it wait for a SimPy event, or add to its stolen time"
            )
        super()._interrupt(event)
