"""Which of several things that are ready at the same instant happens first, and which thread is delayed.

The engine asks its `Decider` only where there is something to decide; `replay` keeps and repeats the answers.

    kind       who is next
    fifo       what was put into the queue first
    shuffle    any, by a random key that is drawn when it is put into the queue
    priority   the actor of the highest random priority, which falls at a few random decisions (PCT)

Time stays what it is: nothing happens before its instant. `InjectedDelays` adds adversarial timing: it delays
steps of threads, after plain delays and wake-ups, by up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final, Literal, Protocol, TypeAlias

from simpy.events import Event, Process

from sim.engine.thread import Start, Thread

Entry: TypeAlias = tuple[int, int, int, Any]
"""(time, priority, key, item) in the engine's queue."""

_CREATED: Final = (1 << 64) - 1
"""The part of an entry's key that counts entries in the order of their creation."""


def created(entry: Entry) -> int:
    """Where *entry* stands in the order of creation."""
    return entry[2] & _CREATED


class Timeline(Protocol):
    """What a schedule knows of the engine."""

    @property
    def events(self) -> int:
        """How many events there were."""

    @property
    def now(self) -> float:
        """The simulated time in ps."""

    def stream(self, name: str) -> Random:
        """The random stream *name*."""


class Decider(Protocol):
    """The decisions of one run. One that is not *asked* decides by keys alone, the fast way."""

    asked: bool

    def key(self) -> int:
        """The key of a new entry; its low 64 bits count. The lowest is next, unless `choose` is asked."""

    def choose(self, event: int, ready: Sequence[Entry]) -> int:
        """Which of *ready*, two or more entries in the order of creation, is event number *event*."""

    def delay(self, event: int, thread: Thread) -> int:
        """By how many ps to delay the step of *thread* that is event number *event*."""


Schedule = Callable[[Timeline], Decider]
"""A rule: makes the decider of each run, with random streams of its own from the engine."""


class Fifo:
    """The order of creation."""

    asked = False

    def __init__(self, engine: Timeline) -> None:
        self.key = count().__next__

    def choose(self, event: int, ready: Sequence[Entry]) -> int:
        return 0

    def delay(self, event: int, thread: Thread) -> int:
        return 0


class Shuffle(Fifo):
    """Any order, each as likely as the next."""

    def __init__(self, engine: Timeline) -> None:
        super().__init__(engine)
        draw, number = engine.stream("engine ties").getrandbits, self.key
        self.key = lambda: draw(32) << 64 | number()

    def choose(self, event: int, ready: Sequence[Entry]) -> int:
        keys = [entry[2] for entry in ready]
        return keys.index(min(keys))


class Priority(Fifo):
    """Random priorities of actors, and *depth* - 1 random decisions at which that of the next one falls.

    PCT: Burckhardt, Kothari, Musuvathi, Nagarakatti, *A Randomized Scheduler with Probabilistic Guarantees of
    Finding Bugs*, ASPLOS 2010. A bug of depth d, one that needs d orderings between steps, is hit with
    probability 1/(n k^(d-1)) or more, for n actors and at most k decisions in the run. The paper counts steps
    where this counts decisions: a priority that falls where nobody else is ready shows at the actor's next
    decision. Initial priorities lie above *depth*; the i-th change gives priority i.
    """

    asked = True

    def __init__(self, engine: Timeline, depth: int = 3, decisions: int = 1000) -> None:
        super().__init__(engine)
        stream = engine.stream("engine priorities")
        self._draw = stream.random
        self._depth = depth
        self._priorities: dict[object, float] = {}
        self._changes: dict[int, list[int]] = {}
        for low in range(1, depth):
            self._changes.setdefault(stream.randrange(decisions), []).append(low)
        self._decisions = count()

    def choose(self, event: int, ready: Sequence[Entry]) -> int:
        actors = [actor_of(entry[3]) for entry in ready]
        ranks = [self._priority(actor) for actor in actors]
        for low in self._changes.get(next(self._decisions), ()):
            self._priorities[actors[ranks.index(max(ranks))]] = low
            ranks = [self._priority(actor) for actor in actors]
        return ranks.index(max(ranks))

    def _priority(self, actor: object) -> float:
        if (priority := self._priorities.get(actor)) is None:
            priority = self._priorities[actor] = self._depth + self._draw()
        return priority


def actor_of(item: Any) -> object:
    """Who does a queue entry's *item*: a thread, or the object whose method was put off (a line's grant)."""
    if isinstance(item, (Thread, Process)):
        return item
    if isinstance(item, Start):
        return item.actor
    if isinstance(item, Event):
        return getattr(item.callbacks[0], "__self__", item) if len(item.callbacks) == 1 else type(item)
    while isinstance(item, partial):
        item = item.func
    return getattr(item, "__self__", getattr(item, "__code__", item))  # all timers of one kind are one actor


class Around:
    """Another decider's decisions, but asked for; what it decides may be replaced one by one."""

    asked = True

    def __init__(self, inner: Decider) -> None:
        self.key, self.choose, self.delay = inner.key, inner.choose, inner.delay


class InjectedDelays:
    """The schedule *inner*; each step of a thread is delayed, at *chance*, by 1 to *up_to* ps."""

    def __init__(self, inner: Schedule, chance: float, up_to: int) -> None:
        self.inner, self.chance, self.up_to = inner, chance, up_to

    def __call__(self, engine: Timeline) -> Decider:
        around = Around(self.inner(engine))
        stream = engine.stream("engine injected delays")

        def delay(event: int, thread: Thread) -> int:
            return stream.randint(1, self.up_to) if stream.random() < self.chance else 0

        around.delay = delay
        return around


KINDS: Final[Mapping[str, Callable[..., Decider]]] = {"fifo": Fifo, "shuffle": Shuffle, "priority": Priority}
"""The schedules that have a name; called with the engine and, by name, their parameters."""
ScheduleName = Literal["fifo", "shuffle", "priority"]
