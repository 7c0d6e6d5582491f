"""When a run counts: a warm-up, then a window in which the operations of all threads are counted.

    threads start | warm-up | window: operations that end here count | threads finish what they do
                  ^ page 0  ^ page 1                                 ^ page 2 of each cpu's account

Either part is a time, or so many requests a thread, counted over all threads together: `16 requests` of 8
threads are over when 128 operations have ended, whichever threads did them. Counted parts suit curves over
threads: a window of a given time holds ten operations of one design and ten thousand of another.

What a kernel frees after a grace period comes back in bursts, one a period, and a period takes milliseconds.
A window of *whole grace periods* begins and ends with the end of one:

    threads start | period | period | period, of the window | period, of the window | threads finish
                                    ^ all cpus run callbacks ^                       ^

Such a window is longer than it was asked to be, or its periods are shorter than they are: one that is not
over after so many requests is hastened. The bursts are then shorter in proportion, and as often.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

from pydantic import (
    BeforeValidator,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from sim.engine import QUIET
from sim.errors import RuleError
from sim.quantities import PS_PER_US, Duration, Spec, UnitError, parse_duration

if TYPE_CHECKING:
    from sim.designs import GracePeriods
    from sim.engine import Engine, Probe
    from sim.engine.probe import CpuView
    from sim.hardware import Cpu

_REQUESTS = re.compile(r"\s*(\d+)\s*requests?\s*\Z")


@dataclass(frozen=True)
class Requests:
    """So many operations for each measured thread, over all of them together."""

    each: int

    def __str__(self) -> str:
        return f"{self.each} requests"


def parse_extent(text: Any) -> int | Requests:
    """`'100 us'` -> 100000000 (ps), `'16 requests'` -> `Requests(16)`. Raises `UnitError`."""
    if isinstance(text, Requests):
        return text
    if match := _REQUESTS.match(text) if isinstance(text, str) else None:
        return Requests(int(match[1]))
    try:
        return parse_duration(text)
    except UnitError as error:
        raise UnitError(f"{error}, or a number of requests such as '16 requests'") from None


def _written(extent: int | Requests) -> str:
    return str(extent) if isinstance(extent, Requests) else f"{extent} ps"


Extent = Annotated[
    int | Requests,
    BeforeValidator(parse_extent),
    PlainSerializer(_written, return_type=str),
    WithJsonSchema({"type": "string", "description": "A time, or requests a thread: 100 us, 16 requests"}),
]
"""Picoseconds, written `100 us`, or `Requests`, written `16 requests`."""


def _parse_count(text: Any) -> Requests:
    extent = parse_extent(text)
    if not isinstance(extent, Requests) or not extent.each:
        raise UnitError(f"{text!r} is no number of requests such as '16 requests'")
    return extent


CountedExtent = Annotated[
    Requests,
    BeforeValidator(_parse_count),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "description": "Requests a thread: 16 requests"}),
]
"""`Requests`, written `16 requests`."""


Reported = Literal["over-time", "from-latency"]
"""How a benchmark computes its throughput: operations over time, or threads over mean latency."""


class WholePeriods(Spec):
    """Warm-up and window each end with a grace period of the kernel, and contain so many."""

    warm_up: PositiveInt = 2
    """Periods that end in the warm-up, at least. What is freed during the first comes back at the end of the
    second."""
    length: PositiveInt = 1
    """Periods in the window, at least. It goes on until as many callbacks have run in it as were queued, give
    or take a tenth."""
    at_longest: PositiveInt | None = None
    """Periods in the window at most, balanced or not. Absent: four times `length`."""
    at_most: CountedExtent
    """Requests a thread after which a period is hastened, over all threads together."""
    of_all: CountedExtent = Requests(1)
    """It is not hastened before all threads together have done so many: the bursts of few threads would go no
    farther than what the kernel keeps at hand for a whole node."""


class Pilot(Spec):
    """A small run before the warm-up, after which threads begin in the middle of their rounds (`midway`).

    Its rounds have the first *requests* of a round only, and then the refill; there are *rounds* of them a
    thread, over all threads together. As many with a quarter of the requests come before.
    """

    requests: PositiveInt
    """How many requests a round of it has."""
    rounds: PositiveInt = 2
    """How many rounds there are of each size, the first half of them until it is steady."""

    @property
    def sizes(self) -> list[int]:
        """How many requests a round has, first and then."""
        return sorted({max(1, self.requests // 4), self.requests})


class OfAll(Spec):
    """Until when a warm-up goes on at least: something that all threads fill together, such as a last-level
    cache, takes one thread as many requests as it takes eighty."""

    requests: CountedExtent
    """So many, over all threads together,"""
    at_longest: Duration
    """or until so much time has passed, where threads are too slow to fill it."""


class Window(Spec):
    """What counts: operations that end within *length* after *warm_up*. Threads start within *skew*."""

    warm_up: Extent
    """Time, or requests a thread, before anything counts."""
    length: Extent
    """Time, or requests a thread, in which operations count that end in it."""
    warm_up_of_all: OfAll | None = None
    """A warm-up in requests goes on at least until then."""
    skew: Duration = 0
    """Threads start within this time, each at a random moment of it."""
    grace_periods: WholePeriods | None = None
    """Warm-up and window end with a grace period. Only where both are counted in requests. Kernels that let
    nobody wait for one take no notice."""
    staggered: bool = False
    """Each thread begins its first round at a random one of its requests, as in a run that has gone on for
    long: threads do not refill all at once. The requests that it passes over are made up for by its role's
    `past`."""
    start: Literal["awake", "asleep", "from-idle"] = "awake"
    """`asleep`: as the threads begin, the kernel asks every cpu for a context switch. Whoever finds the first
    sleeping lock that it wants taken does not spin for it, but sleeps. `from-idle`: the threads come from a
    long sleep, such as at the barrier of a benchmark that starts them; so their cpus expect to idle for long,
    and sleep as deep as they can where they sleep again, until they learn otherwise."""
    pilot: Pilot | None = None
    """Each thread begins at its own point of its first round, or of the refill after it, as threads stand in
    a run that has gone on for long. A small run finds out which points those are. Instead of `staggered`."""
    whole_rounds: NonNegativeInt = 0
    """If not 0, a counted `length` is rounded up to a whole number of rounds over all threads together, which
    has the refills that belong to its requests: to so many at least, or one a thread where that is less."""
    threads_per_round: PositiveInt | None = None
    """With `whole_rounds`: at least one round for so many threads. Where most threads wait for another one's
    refill, few rounds are what the pilot lets begin in one."""

    @model_validator(mode="after")
    def _something_is_measured(self) -> Self:
        empty = self.length == 0 or self.length == Requests(0)
        if empty:
            raise RuleError("nothing can be measured", {"length": "more than nothing"})
        for name, part in (("warm_up", self.warm_up), ("length", self.length)):
            if self.grace_periods and not isinstance(part, Requests):
                raise RuleError(
                    "whole grace periods need parts that are counted", {name: "such as 16 requests"}
                )
        if self.warm_up_of_all is not None and not isinstance(self.warm_up, Requests):
            message = "`warm_up_of_all` prolongs a warm-up in requests"
            raise RuleError(message, {"warm_up_of_all": "a `warm_up` in requests"})
        if self.whole_rounds and not isinstance(self.length, Requests):
            message = "`whole_rounds` is for a window that is so many requests long"
            raise RuleError(message, {"whole_rounds": "a `length` in requests"})
        if self.pilot is not None and self.staggered:
            message = "a `pilot` says where threads begin, and so does `staggered`"
            raise RuleError(message, {"staggered": "false, or no `pilot`"})
        return self

    @property
    def least(self) -> int:
        """Ps that pass before it is over, whatever happens in it."""
        return sum(0 if isinstance(part, Requests) else part for part in (self.warm_up, self.length))

    def operations(self, threads: int, round_: int) -> int | None:
        """How many operations of all *threads* a counted `length` is, where a round has *round_* requests."""
        if not isinstance(self.length, Requests):
            return None
        asked = self.length.each * threads
        if not self.whole_rounds:
            return asked
        rounds = max(-(-asked // round_), min(self.whole_rounds, threads))
        if self.threads_per_round is not None:
            rounds = max(rounds, threads // self.threads_per_round)
        return rounds * round_

    def amount(self, threads: int, round_: int) -> int:
        """About how many requests all *threads* do until it is over, if each takes a microsecond."""
        warm_up, length = self.warm_up, self.operations(threads, round_)
        in_time = 0 if isinstance(self.length, Requests) else self.length // PS_PER_US * threads
        before = warm_up.each if isinstance(warm_up, Requests) else warm_up // PS_PER_US
        if self.pilot is not None:
            before += self.pilot.rounds * sum(self.pilot.sizes)
        if self.warm_up_of_all is not None:
            before = max(before, self.warm_up_of_all.requests.each // threads)
        return before * threads + (in_time if length is None else length)

    @property
    def counted(self) -> bool:
        """Whether a part of it is over after so many operations: each must then end at the engine's time."""
        return isinstance(self.warm_up, Requests) or isinstance(self.length, Requests)


class Counted(Protocol):
    """A thread whose operations count: a `Worker`."""

    cpu: Cpu
    request: int
    role: str


class Record:
    """What the measured threads of a run did: all operations, and the latencies (ps, an operation) of those
    in the requests from *first* to *last*, which is None for all that follow.
    """

    counted = False
    """Each operation must end at the engine's own time: something waits for so many of them."""

    def __init__(self, first: int = 0, last: int | None = None, probe: Probe = QUIET) -> None:
        self.latencies: list[int] = []
        self.operations = 0
        self._first = first
        self._last = last
        self._tell = probe.request_ends if probe.hears("request_ends") else None

    def over(self, time: int) -> bool:
        """Whether threads stop at *time* (ps), wherever they are."""
        return False

    def add(self, worker: Counted, begun: int, ended: int, operations: int) -> None:
        """*operations*, one after the other, from *begun* to *ended* (ps) in the request of *worker*."""
        request = worker.request
        timed = self._first <= request and (self._last is None or request <= self._last)
        self._note(worker, (ended - begun) // operations if timed else None, operations, counted=True)

    def _note(self, worker: Counted, latency: int | None, operations: int, *, counted: bool) -> None:
        """Keep what counts of so many *operations*."""
        if counted:
            self.operations += operations
        if latency is not None:
            self.latencies.append(latency)
        if self._tell is not None:
            self._tell(worker.cpu, worker.role, operations, latency, counted)


_BALANCED = 0.1
"""By how much the callbacks that ran in a window may differ from those that were queued in it, as a part of
these."""


class _PeriodEnds:
    """Lets a page wait for the end of a grace period, and hastens periods that take too long.

    Bursts are not alike: during a long one less is queued, so that a later one is short. A window of two long
    ones would have all the work of four. So it is over only when the backlog is what it was at its begin.
    """

    def __init__(self, spec: WholePeriods, threads: int, periods: GracePeriods, engine: Engine) -> None:
        self._enough = spec.warm_up
        self._length = spec.length
        self._at_longest = max(spec.length, spec.at_longest or 4 * spec.length)
        self._at_most = max(spec.at_most.each * threads, spec.of_all.each)
        self._periods = periods
        self._engine = engine
        self._operations = 0  # since the last period ended
        self._ended = 0  # periods, since the page was turned
        self._turn: Callable[[int], None] | None = None
        self._at_begin: tuple[int, int] | None = None  # backlog, and callbacks queued until then
        periods.on_period = self._on_period

    def add(self, operations: int) -> None:
        """So many more have ended."""
        self._operations += operations
        if self._operations >= self._at_most:
            self._periods.hasten()

    def let_wait(self, turn: Callable[[int], None]) -> None:
        """*turn* the page at the end of a period, when enough have ended; now, if nobody waits for one."""
        self._turn = turn
        if not self._periods.under_way:
            self._go()

    def _on_period(self) -> None:
        self._operations = 0
        self._ended += 1
        if self._turn is None or self._ended < self._enough:
            return
        if self._at_begin is None or self._ended >= self._at_longest or self._balanced(*self._at_begin):
            self._go()

    def _balanced(self, backlog: int, called: int) -> bool:
        """Whether about as many callbacks have run as were queued since there were so many of them."""
        more = abs(self._periods.backlog - backlog)
        return more <= _BALANCED * (self._periods.called - called)

    def _go(self) -> None:
        assert self._turn is not None
        turn, self._turn, self._ended, self._enough = self._turn, None, 0, self._length
        self._at_begin = self._periods.backlog, self._periods.called
        turn(self._engine._now)


class Meter(Record):
    """Counts what ends in the window of one run, and turns the pages of the accounts at its ends.

    *latencies* (ps, an operation) are of operations that began in the window. *begin* and *end* are its ends
    (ps), None as long as they are not known.
    """

    def __init__(
        self,
        engine: Engine,
        window: Window,
        cpus: Iterable[Cpu],
        threads: int,
        periods: GracePeriods | None = None,
        *,
        round_: int = 1,
    ) -> None:
        """The window of a run that starts now; *threads* of them are measured, each *round_* requests a
        round. *periods* are the kernel's."""
        super().__init__(probe=engine.probe)
        self.counted = window.counted
        self.begin: int | None = None
        self.end: int | None = None
        self._engine = engine
        self._cpus = list(cpus)
        self._warmed = 0
        self._waits = False  # for the end of a grace period
        self._warm_up = window.warm_up.each * threads if isinstance(window.warm_up, Requests) else None
        of_all = window.warm_up_of_all
        self._of_all = 0 if of_all is None else of_all.requests.each
        self._latest = 0 if of_all is None else engine._now + of_all.at_longest
        self._length = window.operations(threads, round_)
        self._time = 0 if isinstance(window.length, Requests) else window.length
        self._periods: _PeriodEnds | None = None
        if window.grace_periods is not None and periods is not None:
            self._periods = _PeriodEnds(window.grace_periods, threads, periods, engine)
        if not isinstance(window.warm_up, Requests):
            self._open(engine._now + window.warm_up)
        elif not window.warm_up.each:
            self._open(engine._now)

    def over(self, time: int) -> bool:
        """Whether the window is over at *time* (ps)."""
        return self.end is not None and time >= self.end

    def add(self, worker: Counted, begun: int, ended: int, operations: int) -> None:
        """*operations*, one after the other, from *begun* to *ended* (ps)."""
        if self._periods is not None:
            self._periods.add(operations)
        if self.begin is None:
            assert self._warm_up is not None
            self._warmed += operations
            if self._warmed >= self._warm_up and (self._warmed >= self._of_all or ended >= self._latest):
                self._at_period(self._open, ended)
            return
        timed = begun >= self.begin and not self.over(begun)
        counted = ended >= self.begin and not self.over(ended)
        self._note(worker, (ended - begun) // operations if timed else None, operations, counted=counted)
        if counted and self._length is not None and self.operations >= self._length:
            self._at_period(self._close, ended)

    def _at_period(self, turn: Callable[[int], None], ended: int) -> None:
        """So many operations have *ended*: turn the page, now or when a grace period ends."""
        if self._periods is None:
            turn(ended)
        elif not self._waits:
            self._waits = True
            self._periods.let_wait(turn)

    def _open(self, time: int) -> None:
        self._waits = False
        self.begin = time
        self._turn_at(time)
        if self._length is None:
            self._close(time + self._time)

    def _close(self, time: int) -> None:
        self.end = time
        self._turn_at(time)

    def _turn_at(self, time: int) -> None:
        if time > self._engine._now:
            self._engine.call_in(time - self._engine._now, self._turn)
        else:
            self._turn()

    def _turn(self) -> None:
        for cpu in self._cpus:
            cpu.turn_page()
        self._engine.probe.turn_page()

    # -- afterwards -----------------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        """How long the window was (ps)."""
        assert self.begin is not None
        assert self.end is not None
        return self.end - self.begin

    def spent(self, cpus: Iterable[Cpu]) -> dict[str, float]:
        """Activity -> the time (ps) of *cpus* in the window; it sums to the window times their number."""
        total: dict[str, float] = {}
        for cpu in cpus:
            for activity, time in spent_in_window(cpu, self.length).items():
                total[activity] = total.get(activity, 0.0) + time
        return total


def spent_in_window(cpu: CpuView, length: int) -> dict[str, float]:
    """Activity -> the time (ps) of *cpu* in a window of *length* that is over; it sums to that.

    A cpu that was at work at an end of the window has a page that is longer or shorter by the rest of that
    piece of work (see `Cpu.turn_page`); its page is scaled to the window.
    """
    before, page = cpu.pages
    charged = sum(page.values())
    if charged <= 0:  # one piece of work filled the window: it is among what was charged before
        page = {activity: before.get(activity, 0) + page.get(activity, 0) for activity in (*before, *page)}
        charged = sum(page.values())
    return {activity: time * length / charged for activity, time in page.items()}
