"""The event loop: SimPy's environment with an integer clock and a fast path for plain delays.

Model code is a generator. It yields

* an `int`: "I am busy for so many picoseconds" (the fast path: one heap operation, no event object);
* `PARKED`: "someone will `Engine.wake` me" (how locks and cache lines make threads wait);
* any SimPy event: timeouts, resources, other processes all work unchanged.

A queue entry is SimPy's `(time, priority, key, item)`. The item is a `Thread` whose delay is over, a SimPy
event, or a function to call. Ties, that is entries of one instant and priority, are broken by the run's
`schedule`: by the *key* that it gives new entries or, if it wants to be asked, by its choice among those that
are ready. Never by memory address or cpu number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from heapq import heapify, heappop, heappush, heappushpop
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, cast, final

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import NORMAL, PENDING, URGENT, Condition, Event, Interruption, Process, ProcessGenerator
from simpy.resources.resource import Request

from sim.engine.probe import QUIET, Probe
from sim.engine.schedule import KINDS, Entry, Schedule, ScheduleName, created
from sim.errors import BudgetExceeded, Deadlock, ModelError
from sim.quantities import format_duration


class _Parked:
    def __repr__(self) -> str:
        return "PARKED"


PARKED: Final = _Parked()
"""Yielded by a thread that waits to be woken with `Engine.wake`."""

T_co = TypeVar("T_co", covariant=True)
Yielded: TypeAlias = int | _Parked | Event
Steps: TypeAlias = Generator[Yielded, Any, T_co]
"""Steps of a thread that end with a value: model code, to be driven with `yield from` or as a thread."""

_UNLIMITED = 1 << 62
_FIRST = URGENT - 1
"""Priority of what an earlier run left undone at its last instant."""


def _ignore(thread: Thread, length: int) -> None:
    pass


def _check_delay(delay: object) -> None:
    if delay.__class__ is not int or delay < 0:
        raise ModelError(f"a delay is a whole number of picoseconds from 0 on, not {delay!r}")


@final
class Thread(Process):
    """A SimPy process that may also yield integers and `PARKED`.

    *stolen* is time that interrupts took from the thread while it was delayed; the loop pays it back before
    the thread goes on. *waiting_for* is what a parked thread waits for (anything with a `describe_wait()` or
    a `repr`), kept for the deadlock report. *put_off* says that the schedule delays the step that is next.
    *_target* is the SimPy event it waits for, None while it is delayed or parked.
    """

    env: Engine
    _target: Event | None  # type: ignore[assignment]

    def __init__(self, env: Engine, generator: Steps[object], name: str) -> None:
        super().__init__(env, cast(ProcessGenerator, generator))
        self.stolen = 0
        self.waiting_for: object = None
        self.put_off = False
        self.label = name
        self._send = generator.send

    @property
    def name(self) -> str:
        return self.label

    def interrupt(self, cause: object = None) -> None:
        """SimPy's interrupt, for a thread that waits for an event (refused while it is delayed or parked)."""
        _Interruption(self, cause)

    def _resume(self, event: Event) -> None:
        """Go on after *event*; SimPy calls this for events the thread waited for."""
        env = self.env
        env._active_proc = self
        while True:
            try:
                if event._ok:
                    target = self._send(event._value)
                else:
                    event._defused = True
                    target = self._generator.throw(event._value)
            except StopIteration as stop:
                self._finish(True, stop.value)
            except Exception as error:
                self._finish(False, error)
            else:
                if not isinstance(target, Event):
                    self._wait_on(target)
                elif target.callbacks is None:
                    event = target  # Over already: go on at once (in a loop, for a thread may join hundreds).
                    continue
                else:
                    self._target = target
                    target.callbacks.append(self._resume)
            break
        env._active_proc = None

    def _wait_on(self, target: Yielded) -> None:
        """Register what the thread yielded: the one place that accepts or refuses it."""
        if target.__class__ is int:
            if target < 0:
                self._refuse(f"a negative delay: {target} ps")
            env = self.env
            self._target = None
            heappush(env._queue, (env._now + target, NORMAL, env._next_key(), self))
        elif target is PARKED:
            self._target = None
        elif isinstance(target, Event):
            if target.callbacks is None:
                self._resume(target)
            else:
                self._target = target
                target.callbacks.append(self._resume)
        else:
            self._refuse(f"{target!r}: a thread yields an int number of picoseconds, PARKED or a SimPy event")

    def _refuse(self, what: str) -> NoReturn:
        """End the run over a bad yield, thrown into the generator so that the traceback shows the line."""
        error = ModelError(f"{self.label} yielded {what}")
        with suppress(StopIteration):
            self._generator.throw(error)
        raise error

    def _pay_back(self) -> int:
        """The stolen time, which the caller now delays the thread for."""
        stolen, self.stolen = self.stolen, 0
        _check_delay(stolen)
        return stolen

    def _finish(self, ok: bool, value: object) -> None:
        env = self.env
        if self._value is not PENDING:
            raise ModelError(f"{self.label} was woken after its end") from None
        if isinstance(value, Exception) and not ok:
            value.add_note(f"in thread {self.label} at {format_duration(env._now)}")
        self._ok = ok
        self._value = value
        self._target = None
        env._live.pop(self, None)
        if not env._live:
            env._drop_background()
        env.call_in(0, partial(env._fire, self))


@final
class Background:
    """Something to call that matters only while threads live: *dropped* when none does."""

    __slots__ = ("dropped", "function")

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function
        self.dropped = False

    def __call__(self) -> None:
        self.function()


class _Interruption(Interruption):
    """Refuses what SimPy cannot know: to cut a delay short or to take a parked thread from its waker."""

    process: Thread

    def _interrupt(self, event: Event) -> None:
        if self.process.is_alive and self.process._target is None:
            raise ModelError(
                f"{self.process.label} cannot be interrupted while it is delayed or parked: "
                "let it wait for a SimPy event, or add to its stolen time"
            )
        super()._interrupt(event)


class Engine(simpy.Environment):
    """Simulated time, threads and named random streams.

    *seed* feeds every stream; *schedule* is the rule for events at the same time, or the name of one;
    *max_events* and *max_time_ps* bound a run (`BudgetExceeded`); *probe* is who listens to it.
    """

    _now: int
    """The simulated time in ps."""

    _queue: list[Entry]  # type: ignore[assignment]

    def __init__(
        self,
        *,
        seed: int | str = 0,
        schedule: Schedule | ScheduleName = "fifo",
        max_events: int = _UNLIMITED,
        max_time_ps: int = _UNLIMITED,
        probe: Probe = QUIET,
    ) -> None:
        super().__init__(initial_time=0)
        for name in ("timeout", "event", "all_of", "any_of"):
            setattr(self, name, getattr(self, name))  # SimPy binds them early too, but only on its own class.
        self.seed = seed
        self.events = 0
        self.max_events = max_events
        self.max_time_ps = max_time_ps
        self.probe = probe
        self._live: dict[Thread, None] = {}
        self._streams: dict[str, random.Random] = {}
        self.on_injected_delay: Callable[[Thread, int], None] = _ignore
        """Told when the schedule delays the next step of a thread by so many ps."""
        self._decider = (KINDS[schedule] if isinstance(schedule, str) else schedule)(self)
        self._next_key = self._decider.key
        probe.attach(self)

    # -- threads ------------------------------------------------------------------------------------------

    def process(self, generator: Steps[object], name: str = "") -> Thread:
        """Start a thread on *generator*; *name* stands in error reports."""
        thread = Thread(self, generator, name or getattr(generator, "__name__", "thread"))
        self._live[thread] = None
        return thread

    def wake(self, thread: Thread, delay: int = 0) -> None:
        """Let a parked *thread* go on *delay* ps from now."""
        _check_delay(delay)
        thread.waiting_for = None
        heappush(self._queue, (self._now + delay, NORMAL, self._next_key(), thread))

    def call_in(self, delay: int, function: Callable[[], None]) -> None:
        """Call *function* after *delay* ps."""
        _check_delay(delay)
        heappush(self._queue, (self._now + delay, NORMAL, self._next_key(), function))

    def call_in_background(self, delay: int, function: Callable[[], None]) -> Background:
        """`call_in` for what goes on beside the threads, such as a timer: it does not keep a run going.

        When the last thread ends it is dropped, as the value says from then on, and time ends without it.
        """
        entry = Background(function)
        self.call_in(delay, entry)
        return entry

    def _drop_background(self) -> None:
        kept = [entry for entry in self._queue if entry[3].__class__ is not Background]
        if len(kept) < len(self._queue):
            for *_, item in self._queue:
                if item.__class__ is Background:
                    item.dropped = True
            self._queue[:] = kept
            heapify(self._queue)

    @property
    def quiet_until(self) -> int:
        """Before this time nothing happens but what the caller does, who needs no events up to it.

        It is the present where the schedule wants to be asked about each step.
        """
        if self._decider.asked:
            return self._now
        return self._queue[0][0] if self._queue else _UNLIMITED

    @property
    def calls_from(self) -> int:
        """When the next thing happens that is no thread going on: an interrupt, a timer, the end of a window.

        It is the present where the schedule wants to be asked about each step.
        """
        if self._decider.asked:
            return self._now
        return min(
            (entry[0] for entry in self._queue if entry[3].__class__ is not Thread), default=_UNLIMITED
        )

    def resume(self, thread: Thread) -> None:
        """Let a parked *thread* go on now, inside the caller's event (a queue entry only for stolen time)."""
        thread.waiting_for = None
        self._dispatch(thread)

    def stream(self, name: str) -> random.Random:
        """The random stream *name*: the same draws for the same seed, whatever else happens."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = random.Random(f"{self.seed}/{name}")
        return stream

    # -- SimPy's contract -----------------------------------------------------------------------------------

    def schedule(self, event: Event, priority: Any = NORMAL, delay: Any = 0) -> None:
        """Put a SimPy *event* into the queue. Refuses delays that are not a whole, non-negative number."""
        _check_delay(delay)
        heappush(self._queue, (self._now + delay, priority, self._next_key(), event))

    def step(self) -> None:
        """Process one queue entry: the plain version of what `run` does in its loop, without the limits."""
        if not self._queue:
            raise EmptySchedule
        self.events += 1
        self._now, _, _, item = self._take()
        if not (self._decider.asked and item.__class__ is Thread and self._delays_step(item)):
            self._dispatch(item)

    def run(self, until: Any = None) -> Any:
        """Run until the queue is empty, until a time (ps) or until an event.

        Raises `Deadlock` when the queue runs dry while threads still wait, `BudgetExceeded` when a limit is
        passed, and whatever a thread raised.
        """
        stop_event = self._stop_event(until)
        try:
            if self._decider.asked:
                self._run_asking()
            else:
                self._run_by_keys()
        except StopSimulation as stop:
            return stop.args[0]
        except EmptySchedule:
            self._report_deadlock()
            if stop_event is not None and stop_event.callbacks is not None:
                raise ModelError("the awaited event can no longer happen: nothing is scheduled") from None
        finally:
            self._active_proc = None
        return None

    # -- the loops ------------------------------------------------------------------------------------------

    def _run_by_keys(self) -> NoReturn:
        """The fast loop, for schedules that decide by keys alone."""
        queue = self._queue
        next_key = self._next_key
        max_time = self.max_time_ps
        done = 0
        try:
            if not queue:
                raise EmptySchedule
            entry = heappop(queue)
            for done in range(1, self.max_events - self.events + 1):
                now, _, _, item = entry
                if now > max_time:
                    heappush(queue, entry)
                    done -= 1
                    raise self._out_of_time()
                self._now = now
                if item.__class__ is Thread:
                    if item.stolen:
                        entry = heappushpop(queue, (now + item._pay_back(), NORMAL, next_key(), item))
                        continue
                    self._active_proc = item
                    try:
                        target = item._send(None)
                    except StopIteration as stop:
                        item._finish(True, stop.value)
                    except Exception as error:
                        item._finish(False, error)
                    else:
                        if target.__class__ is int and target >= 0:
                            # Push and pop in one step: a thread that is next again never enters the heap.
                            entry = heappushpop(queue, (now + target, NORMAL, next_key(), item))
                            continue
                        item._wait_on(target)
                else:
                    self._active_proc = None
                    if isinstance(item, Event):
                        self._fire(item)
                    else:
                        item()
                if not queue:
                    raise EmptySchedule
                entry = heappop(queue)
            heappush(queue, entry)
            raise self._out_of_events()
        finally:
            self.events += done

    def _run_asking(self) -> NoReturn:
        """A loop of `step`, for schedules that want to be asked."""
        queue = self._queue
        while queue:
            if self.events >= self.max_events:
                raise self._out_of_events()
            if queue[0][0] > self.max_time_ps:
                raise self._out_of_time()
            self.step()
        raise EmptySchedule

    def _out_of_events(self) -> BudgetExceeded:
        return BudgetExceeded(f"more than {self.max_events} events (at {format_duration(self._now)})")

    def _out_of_time(self) -> BudgetExceeded:
        return BudgetExceeded(f"more than {format_duration(self.max_time_ps)} of simulated time")

    def _take(self) -> Entry:
        """Remove the entry that is next from the queue; the schedule is asked where several are ready."""
        queue = self._queue
        entry = heappop(queue)
        instant = entry[:2]
        if not self._decider.asked or not queue or queue[0][:2] != instant:
            return entry
        ready = [entry]
        while queue and queue[0][:2] == instant:
            ready.append(heappop(queue))
        ready.sort(key=created)
        entry = ready.pop(self._decider.choose(self.events, ready))
        for other in ready:
            heappush(queue, other)
        return entry

    def _delays_step(self, thread: Thread) -> bool:
        """Whether the schedule delays the *thread* that is next, once a step."""
        if thread.stolen:  # interrupts come first
            return False
        length = 0 if thread.put_off else self._decider.delay(self.events, thread)
        thread.put_off = length > 0
        if length:
            heappush(self._queue, (self._now + length, NORMAL, self._next_key(), thread))
            self.on_injected_delay(thread, length)
        return thread.put_off

    # -- inside ---------------------------------------------------------------------------------------------

    def _dispatch(self, item: Any) -> None:
        caller, self._active_proc = self._active_proc, None
        if item.__class__ is Thread:
            if item.stolen:
                heappush(self._queue, (self._now + item._pay_back(), NORMAL, self._next_key(), item))
            else:
                self._active_proc = item
                try:
                    target = item._send(None)
                except StopIteration as stop:
                    item._finish(True, stop.value)
                except Exception as error:
                    item._finish(False, error)
                else:
                    item._wait_on(target)
        elif isinstance(item, Event):
            self._fire(item)
        else:
            item()
        self._active_proc = caller

    def _fire(self, event: Event) -> None:
        """Tell those who wait for *event* that it happened; an error that nobody awaits ends the run."""
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        try:
            for callback in callbacks:
                callback(event)
        except StopSimulation:
            # `run(until=event)` ends here. Those behind it in the list are told when the run is continued.
            if behind := callbacks[callbacks.index(callback) + 1 :]:
                event.callbacks = behind
                heappush(self._queue, (self._now, _FIRST, self._next_key(), partial(self._fire, event)))
            raise
        if not event._ok and not hasattr(event, "_defused"):
            raise event._value

    def _stop_event(self, until: Any) -> Event | None:
        if until is None:
            return None
        if isinstance(until, Event):
            if until.callbacks is None:
                raise ModelError("cannot run until an event that has already been processed")
            until.callbacks.append(StopSimulation.callback)
            return until
        if until.__class__ is not int or until <= self._now:
            raise ModelError(f"run until a whole number of picoseconds after {self._now}, not {until!r}")
        stop = Event(self)
        stop._ok, stop._value = True, None
        stop.callbacks.append(StopSimulation.callback)
        self.schedule(stop, URGENT, until - self._now)
        return stop

    def _report_deadlock(self) -> None:
        waiting = [thread for thread in self._live if thread.is_alive]
        if waiting:
            raise Deadlock("nothing left to happen, but threads wait:\n" + self.wait_graph(waiting)) from None

    def wait_graph(self, threads: list[Thread] | None = None) -> str:
        """Who waits for what, one line a thread."""
        lines = []
        for thread in threads if threads is not None else list(self._live):
            if thread._target is not None:
                text = _describe(thread._target)
            elif thread.waiting_for is None:
                text = "a wake-up"
            else:
                describe = getattr(thread.waiting_for, "describe_wait", thread.waiting_for.__repr__)
                text = describe()
            lines.append(f"  {thread.label} waits for {text}")
        return "\n".join(lines)


def _describe(event: Event) -> str:
    """What *event* stands for, in words that are the same in every run (SimPy's own show addresses)."""
    if isinstance(event, Process):
        return f"the end of {event.name}"
    if isinstance(event, Request):
        holders = [user.proc.name if user.proc else "no process" for user in event.resource.users]
        return f"a {type(event.resource).__name__} held by {', '.join(holders)}"
    if isinstance(event, Condition):
        word = " and " if event._evaluate is Condition.all_events else " or "
        return word.join(map(_describe, event._events))
    return event._desc()
