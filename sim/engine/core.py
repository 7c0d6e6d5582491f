"""The event loop: to SimPy an environment, with an integer clock and a fast path for plain delays.

Model code is a generator. It yields

* an `int`: "I am busy for so many picoseconds" (the fast path: one heap operation, no event object);
* `PARKED`: "someone will `Engine.wake` me" (how locks and cache lines make threads wait);
* any SimPy event: timeouts, resources, other processes all work unchanged;
* `Call(steps)`: "these steps first" (a shorter way to `yield from` for many steps).

A queue entry (`sim.engine.queues`) is SimPy's `(time, priority, key, item)`. The item is a `Thread` whose
delay is over, a SimPy event, or a function to call. Ties, that is entries of one instant and priority, are
broken by the run's `schedule`: by the *key* that it gives new entries or, if it wants to be asked, by its
choice among those that are ready. Never by memory address or cpu number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import partial
from heapq import heappop, heappush, heappushpop
from types import FunctionType
from typing import Any, Final, NoReturn, TypeAlias, cast, final

from simpy.core import EmptySchedule, StopSimulation
from simpy.events import AllOf, AnyOf, Condition, Event, Process, Timeout
from simpy.resources.resource import Request

from sim.engine.probe import QUIET, Probe
from sim.engine.queues import UNLIMITED, Background, EventQueue, HeapQueue, NodeQueue
from sim.engine.schedule import KINDS, Decider, Entry, Fifo, Schedule, ScheduleName, created
from sim.engine.thread import Start, Steps, Thread
from sim.errors import BudgetExceeded, Deadlock, ModelError
from sim.quantities import format_duration

Awaited: TypeAlias = "Event | Thread"
"""What SimPy's conditions take: an event, or a thread until it ends."""

_NORMAL: Final = 1
_URGENT: Final = 0
_FIRST: Final = -1
"""Priority of what an earlier run left undone at its last instant."""


def _ignore(thread: Thread, length: int) -> None:
    pass


def _check_delay(delay: object) -> None:
    if type(delay) is not int or delay < 0:
        raise ModelError(f"a delay is a whole number of picoseconds from 0 on, not {delay!r}")


@final
class Engine:
    """Simulated time, threads and named random streams.

    *seed* feeds every stream; *schedule* is the rule for events at the same time, or the name of one;
    *max_events* and *max_time_ps* bound a run (`BudgetExceeded`); *probe* is who listens to it.

    To SimPy's events, conditions, processes and resources it is the environment (`simpy.Resource(engine)`),
    though it inherits nothing from theirs.
    """

    __slots__ = (
        "_active_proc",
        "_asked",
        "_decider",
        "_live",
        "_nodes",
        "_now",
        "_queue",
        "_streams",
        "_tuples",
        "events",
        "max_events",
        "max_time_ps",
        "on_injected_delay",
        "probe",
        "seed",
    )

    def __init__(
        self,
        *,
        seed: int | str = 0,
        schedule: Schedule | ScheduleName = "fifo",
        max_events: int = UNLIMITED,
        max_time_ps: int = UNLIMITED,
        probe: Probe = QUIET,
    ) -> None:
        self._now = 0
        self._active_proc: Thread | Process | None = None
        self.seed = seed
        self.events = 0
        self.max_events = max_events
        self.max_time_ps = max_time_ps
        self.probe = probe
        self._live: dict[Thread, None] = {}
        self._streams: dict[str, random.Random] = {}
        self.on_injected_delay: Callable[[Thread, int], None] = _ignore
        """Told when the schedule delays the next step of a thread by so many ps."""
        make = KINDS[schedule] if isinstance(schedule, str) else schedule
        self._decider: Decider = make(self)
        self._asked = self._decider.asked
        self._tuples = HeapQueue(self._decider.key)
        self._nodes: NodeQueue | None = NodeQueue() if NATIVE and type(self._decider) is Fifo else None
        self._queue: EventQueue = self._tuples if self._nodes is None else self._nodes
        probe.attach(self)

    # -- threads ------------------------------------------------------------------------------------------

    def process(self, generator: Steps[object], name: str = "") -> Thread:
        """Start a thread on *generator*; *name* stands in error reports."""
        thread = Thread(self, generator, name or getattr(generator, "__name__", "thread"))
        self._queue.put(self._now, _URGENT, Start(thread))
        self._live[thread] = None
        return thread

    def _ended(self, thread: Thread) -> None:
        """*thread* has done its last step: those who wait for it are told, by an event of its own."""
        self._live.pop(thread, None)
        if not self._live:
            self._queue.drop_background()
        self.call_in(0, partial(self._fire, thread))

    def _delay(self, thread: Thread, length: int) -> None:
        self._queue.put(self._now + length, _NORMAL, thread)

    def wake(self, thread: Thread, delay: int = 0) -> None:
        """Let a parked *thread* go on *delay* ps from now."""
        _check_delay(delay)
        thread.waiting_for = None
        self._queue.put(self._now + delay, _NORMAL, thread)

    def call_in(self, delay: int, function: Callable[[], None]) -> None:
        """Call *function* after *delay* ps."""
        _check_delay(delay)
        self._queue.put(self._now + delay, _NORMAL, function)

    def call_in_background(self, delay: int, function: Callable[[], None]) -> Background:
        """`call_in` for what goes on beside the threads, such as a timer: it does not keep a run going.

        When the last thread ends it is dropped, as the value says from then on, and time ends without it.
        """
        entry = Background(function)
        self.call_in(delay, entry)
        return entry

    @property
    def quiet_until(self) -> int:
        """Before this time nothing happens but what the caller does, who needs no events up to it.

        It is the present where the schedule wants to be asked about each step.
        """
        if self._asked:
            return self._now
        return self._queue.first()

    @property
    def calls_from(self) -> int:
        """When the next thing happens that is no thread going on: an interrupt, a timer, the end of a window.

        It is the present where the schedule wants to be asked about each step.
        """
        if self._asked:
            return self._now
        return self._queue.first_call()

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

    @property
    def now(self) -> int:
        """The simulated time in ps."""
        return self._now

    @property
    def active_process(self) -> Thread | Process | None:
        """Whose step it is: what takes a resource, or is interrupted."""
        return self._active_proc

    def timeout(self, delay: int = 0, value: object = None) -> Timeout:
        """An event that happens after *delay* ps."""
        return Timeout(cast(Any, self), delay, value)

    def event(self) -> Event:
        """An event that somebody makes happen."""
        return Event(cast(Any, self))

    def all_of(self, events: Iterable[Awaited]) -> AllOf:
        """An event that happens when all *events* have."""
        return AllOf(cast(Any, self), cast(Any, events))

    def any_of(self, events: Iterable[Awaited]) -> AnyOf:
        """An event that happens when one of *events* has."""
        return AnyOf(cast(Any, self), cast(Any, events))

    def peek(self) -> float:
        """The time of what is next, or infinity."""
        first = self._queue.first()
        return first if first < UNLIMITED else float("inf")

    def schedule(self, event: Event, priority: int = _NORMAL, delay: int = 0) -> None:
        """Put a SimPy *event* into the queue. Refuses delays that are not a whole, non-negative number."""
        _check_delay(delay)
        self._queue.put(
            self._now + delay, priority, event if self._nodes is None else partial(self._fire, event)
        )

    def step(self) -> None:
        """Process one queue entry: the plain version of what `run` does in its loop, without the limits."""
        if self._queue.first() == UNLIMITED:
            raise EmptySchedule
        self.events += 1
        if self._nodes is not None:
            node = self._nodes.take()
            self._now, item = node.at, node.item
        else:
            self._now, _, _, item = self._take()
        if not (self._asked and type(item) is Thread and self._delays_step(item)):
            self._dispatch(item)

    @property
    def entries(self) -> list[Entry]:
        """What is in the queue, in no order, for who takes entries out and has them `happen` himself.

        The schedule must be one that is asked. `run` does the rest: it tells who waits when nothing is left.
        """
        return self._tuples.heap

    def happen(self, entry: Entry, at: int) -> None:
        """*entry*, which the caller has taken out of `entries`, at time *at*. Raises `BudgetExceeded`."""
        if self.events >= self.max_events:
            raise self._out_of_events()
        self.events += 1
        self._now = at
        self._dispatch(entry[3])

    def run(self, until: Any = None) -> Any:
        """Run until the queue is empty, until a time (ps) or until an event.

        Raises `Deadlock` when the queue runs dry while threads still wait, `BudgetExceeded` when a limit is
        passed, and whatever a thread raised.
        """
        stop_event = self._stop_event(until)
        try:
            if self._asked:
                self._run_asking()
            elif self._nodes is not None:
                self._run_nodes(self._nodes)
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
        """The fast loop where the model is interpreted, for schedules that decide by keys alone."""
        queue = self._tuples.heap
        next_key = self._tuples.next_key
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
                if type(item) is Thread:
                    if item.stolen:
                        entry = heappushpop(queue, (now + self._pay_back(item), _NORMAL, next_key(), item))
                        continue
                    self._active_proc = item
                    try:
                        target = item._send(None)
                    except StopIteration as stop:
                        item._returned(stop.value)
                    except Exception as error:
                        item._raised(error)
                    else:
                        if type(target) is int and target >= 0:
                            # Push and pop in one step: a thread that is next again never enters the heap.
                            entry = heappushpop(queue, (now + target, _NORMAL, next_key(), item))
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

    def _run_nodes(self, queue: NodeQueue) -> NoReturn:
        """The fast loop where the model is compiled."""
        max_time = self.max_time_ps
        left = self.max_events - self.events
        done = 0
        try:
            if not queue.heap:
                raise EmptySchedule
            node = queue.take()
            while done < left:
                now = node.at
                if now > max_time:
                    queue.restore(node)
                    raise self._out_of_time()
                done += 1
                self._now = now
                item = node.item
                if isinstance(item, Thread):
                    if item.stolen:
                        node = queue.put_and_take(node, now + self._pay_back(item))
                        continue
                    self._active_proc = item
                    try:
                        target = item._send(None)
                    except StopIteration as stop:
                        item._returned(stop.value)
                    except Exception as error:
                        item._raised(error)
                    else:
                        if type(target) is int:
                            delay: int = target
                            if delay >= 0:
                                node = queue.put_and_take(node, now + delay)
                                continue
                        item._wait_on(target)
                else:
                    self._active_proc = None
                    item()
                if not queue.heap:
                    raise EmptySchedule
                node = queue.take()
            queue.restore(node)
            raise self._out_of_events()
        finally:
            self.events += done

    def _run_asking(self) -> NoReturn:
        """A loop of `step`, for schedules that want to be asked."""
        queue = self._tuples.heap
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
        queue = self._tuples.heap
        entry = heappop(queue)
        instant = entry[:2]
        if not self._asked or not queue or queue[0][:2] != instant:
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
            self._queue.put(self._now + length, _NORMAL, thread)
            self.on_injected_delay(thread, length)
        return thread.put_off

    # -- inside ---------------------------------------------------------------------------------------------

    def _dispatch(self, item: Any) -> None:
        caller, self._active_proc = self._active_proc, None
        if type(item) is Thread:
            if item.stolen:
                self._queue.put(self._now + self._pay_back(item), _NORMAL, item)
            else:
                self._active_proc = item
                item._go_on(None, None)
        elif isinstance(item, Event):
            self._fire(item)
        else:
            item()
        self._active_proc = caller

    def _pay_back(self, thread: Thread) -> int:
        """The stolen time of *thread*, which the caller now delays it for."""
        stolen, thread.stolen = thread.stolen, 0
        _check_delay(stolen)
        return stolen

    def _fire(self, event: Awaited) -> None:
        """Tell those who wait for *event* that it happened; an error that nobody awaits ends the run."""
        callbacks: list[Any] = event.callbacks or []
        event.callbacks = None
        try:
            for callback in callbacks:
                callback(event)
        except StopSimulation:
            # `run(until=event)` ends here. Those behind it in the list are told when the run is continued.
            if behind := callbacks[callbacks.index(callback) + 1 :]:
                event.callbacks = behind
                self._queue.put(self._now, _FIRST, partial(self._fire, event))
            raise
        if not event._ok and not event.defused:
            raise cast(BaseException, event._value)

    def _stop_event(self, until: Any) -> Awaited | None:
        if until is None:
            return None
        if isinstance(until, (Event, Thread)):
            if until.callbacks is None:
                raise ModelError("cannot run until an event that has already been processed")
            until.callbacks.append(StopSimulation.callback)
            return until
        if type(until) is not int or until <= self._now:
            raise ModelError(f"run until a whole number of picoseconds after {self._now}, not {until!r}")
        stop = self.event()
        stop._ok, stop._value = True, None
        stop.callbacks.append(StopSimulation.callback)
        self.schedule(stop, _URGENT, until - self._now)
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


def _describe(event: Awaited) -> str:
    """What *event* stands for, in words that are the same in every run (SimPy's own show addresses)."""
    if isinstance(event, (Thread, Process)):
        return f"the end of {event.name}"
    if isinstance(event, Request):
        holders = [user.proc.name if user.proc else "no process" for user in event.resource.users]
        return f"a {type(event.resource).__name__} held by {', '.join(holders)}"
    if isinstance(event, Condition):
        word = " and " if event._evaluate is Condition.all_events else " or "
        return word.join(map(_describe, event._events))
    return event._desc()


NATIVE: bool = not isinstance(Engine.run, FunctionType)
"""Whether this module is compiled, so that a `NodeQueue` is faster than the library's heap."""
