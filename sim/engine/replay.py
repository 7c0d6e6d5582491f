"""The decisions of a schedule as data: kept, stored and repeated.

A run whose order was drawn at random can be done again, cut down to what matters, and kept beside a bug. Each
decision has the number of the engine's event that it is about. Kept are those that `fifo` would not have
made, so the record of a `fifo` run is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sim.engine.schedule import Around, Decider, Entry, Fifo, Schedule, Timeline
from sim.engine.thread import Thread
from sim.errors import ReplayError


@dataclass
class Decisions:
    """What was decided in one run, and where the run ended.

    *events* and *time* (ps) are None where nobody knows, as in a schedule that was cut down by hand.
    """

    choices: list[tuple[int, int, int]] = field(default_factory=list)
    """(event, how many were ready, which of them in the order of creation)."""
    delays: list[tuple[int, int]] = field(default_factory=list)
    """(event, ps)."""
    events: int | None = None
    time: int | None = None


class Recorder:
    """The schedule *inner*, whose decisions are kept."""

    def __init__(self, inner: Schedule) -> None:
        self.inner = inner
        self._runs: list[tuple[Timeline, Decisions]] = []

    def __call__(self, engine: Timeline) -> Decider:
        inner, kept = self.inner(engine), Decisions()
        around = Around(inner)

        def choose(event: int, ready: Sequence[Entry]) -> int:
            chosen = inner.choose(event, ready)
            if chosen:
                kept.choices.append((event, len(ready), chosen))
            return chosen

        def delay(event: int, thread: Thread) -> int:
            length = inner.delay(event, thread)
            if length:
                kept.delays.append((event, length))
            return length

        around.choose, around.delay = choose, delay
        self._runs.append((engine, kept))
        return around

    def decisions(self) -> list[Decisions]:
        """What was decided so far, run by run."""
        for engine, kept in self._runs:
            kept.events, kept.time = engine.events, int(engine.now)
        return [kept for _, kept in self._runs]


class Replayer:
    """Stored decisions once more, run by run. Raises `ReplayError` where they do not fit."""

    def __init__(self, runs: Sequence[Decisions]) -> None:
        self.runs = runs
        self._replays: list[_Replay] = []

    def __call__(self, engine: Timeline) -> Decider:
        number = len(self._replays)
        if number == len(self.runs):
            raise ReplayError(f"the schedule is of {number} runs, and another one begins")
        self._replays.append(_Replay(engine, self.runs[number], number))
        return self._replays[-1]

    def check_ends(self) -> None:
        """To be called after the last run: raises `ReplayError` unless each ended where it should."""
        done = len(self._replays)
        if done < len(self.runs):
            raise ReplayError(f"the schedule is of {len(self.runs)} runs, and there were {done}")
        for replay in self._replays:
            replay.check_end()


class _Replay(Fifo):
    """The decisions of one run."""

    asked = True

    def __init__(self, engine: Timeline, stored: Decisions, number: int) -> None:
        super().__init__(engine)
        self._engine = engine
        self._stored = stored
        self._number = number
        self._choices = {event: (of, chosen) for event, of, chosen in stored.choices}
        self._delays = dict(stored.delays)

    def choose(self, event: int, ready: Sequence[Entry]) -> int:
        of, chosen = self._choices.pop(event, (len(ready), 0))
        if of != len(ready):
            raise self._misfit(f"event {event} is chosen among {of}, but {len(ready)} are ready")
        return chosen

    def delay(self, event: int, thread: Thread) -> int:
        return self._delays.pop(event, 0)

    def check_end(self) -> None:
        left = [*self._choices, *self._delays]
        if left:
            raise self._misfit(f"at event {min(left)} there was nothing to decide")
        ended = (self._engine.events, int(self._engine.now))
        for what, now, stored in zip(
            ("events", "ps"), ended, (self._stored.events, self._stored.time), strict=True
        ):
            if stored not in (None, now):
                raise self._misfit(f"it ended after {stored} {what}, this one after {now}")

    def _misfit(self, what: str) -> ReplayError:
        return ReplayError(f"the schedule does not fit run {self._number}: {what}")
