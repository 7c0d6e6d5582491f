"""When a run counts: a warm-up, then a window in which the operations of all threads are counted.

    threads start | warm-up | window: operations that end here count | threads finish what they do
                  ^ page 0  ^ page 1                                 ^ page 2 of each cpu's account

Either part is a time, or so many requests a thread, counted over all threads together: `16 requests` of 8
threads are over when 128 operations have ended, whichever threads did them. Counted parts suit curves over
threads: a window of a given time holds ten operations of one design and ten thousand of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema, model_validator

from sim.errors import RuleError
from sim.quantities import Duration, Spec, UnitError, parse_duration

if TYPE_CHECKING:
    from sim.engine import Engine
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


Reported = Literal["over-time", "from-latency"]
"""How a benchmark computes its throughput: operations over time, or threads over mean latency."""


class Window(Spec):
    """What counts: operations that end within *length* after *warm_up*. Threads start within *skew*."""

    warm_up: Extent
    """Time, or requests a thread, before anything counts."""
    length: Extent
    """Time, or requests a thread, in which operations count that end in it."""
    skew: Duration = 0
    """Threads start within this time, each at a random moment of it."""
    staggered: bool = False
    """Each thread begins its first round at a random one of its requests, as in a run that has gone on for
    long: threads do not refill all at once."""

    @model_validator(mode="after")
    def _something_is_measured(self) -> Self:
        empty = self.length == 0 or self.length == Requests(0)
        if empty:
            raise RuleError("nothing can be measured", {"length": "more than nothing"})
        return self

    @property
    def least(self) -> int:
        """Ps that pass before it is over, whatever happens in it."""
        return sum(0 if isinstance(part, Requests) else part for part in (self.warm_up, self.length))

    @property
    def counted(self) -> bool:
        """Whether a part of it is over after so many operations: each must then end at the engine's time."""
        return isinstance(self.warm_up, Requests) or isinstance(self.length, Requests)


class Record:
    """What the measured threads of a run did: all operations, and the latencies (ps, an operation) of those
    in the requests from *first* to *last*, which is None for all that follow.
    """

    counted = False
    """Each operation must end at the engine's own time: something waits for so many of them."""

    def __init__(self, first: int = 0, last: int | None = None) -> None:
        self.latencies: list[int] = []
        self.operations = 0
        self._first = first
        self._last = last

    def over(self, time: int) -> bool:
        """Whether threads stop at *time* (ps), wherever they are."""
        return False

    def add(self, begun: int, ended: int, operations: int, request: int = 0) -> None:
        """*operations*, one after the other, from *begun* to *ended* (ps) in a thread's *request*."""
        self.operations += operations
        if self._first <= request and (self._last is None or request <= self._last):
            self.latencies.append((ended - begun) // operations)


class Meter(Record):
    """Counts what ends in the window of one run, and turns the pages of the accounts at its ends.

    *latencies* (ps, an operation) are of operations that began in the window. *begin* and *end* are its ends
    (ps), None as long as they are not known.
    """

    def __init__(self, engine: Engine, window: Window, cpus: Iterable[Cpu], threads: int) -> None:
        """The window of a run that starts now; *threads* of them are measured."""
        super().__init__()
        self.counted = window.counted
        self.begin: int | None = None
        self.end: int | None = None
        self._engine = engine
        self._cpus = list(cpus)
        self._warmed = 0
        self._warm_up = window.warm_up.each * threads if isinstance(window.warm_up, Requests) else None
        self._length = window.length.each * threads if isinstance(window.length, Requests) else None
        self._time = 0 if isinstance(window.length, Requests) else window.length
        if not isinstance(window.warm_up, Requests):
            self._open(engine._now + window.warm_up)
        elif not window.warm_up.each:
            self._open(engine._now)

    def over(self, time: int) -> bool:
        """Whether the window is over at *time* (ps)."""
        return self.end is not None and time >= self.end

    def add(self, begun: int, ended: int, operations: int, request: int = 0) -> None:
        """*operations*, one after the other, from *begun* to *ended* (ps)."""
        if self.begin is None:
            assert self._warm_up is not None
            self._warmed += operations
            if self._warmed >= self._warm_up:
                self._open(ended)
            return
        if begun >= self.begin and not self.over(begun):
            self.latencies.append((ended - begun) // operations)
        if ended >= self.begin and not self.over(ended):
            self.operations += operations
            if self._length is not None and self.operations >= self._length:
                self._close(ended)

    def _open(self, time: int) -> None:
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
        """Activity -> the time (ps) of *cpus* in the window; it sums to the window times their number.

        A cpu that was at work at an end of the window has a page that is longer or shorter by the rest of
        that piece of work (see `Cpu.turn_page`); its page is scaled to the window.
        """
        total: dict[str, float] = {}
        for cpu in cpus:
            before, page = cpu.pages
            charged = sum(page.values())
            if charged <= 0:  # one piece of work filled the window: it is among what was charged before
                page = {activity: before.get(activity, 0) + page.get(activity, 0) for activity in before}
                charged = sum(page.values())
            for activity, time in page.items():
                total[activity] = total.get(activity, 0.0) + time * self.length / charged
        return total
