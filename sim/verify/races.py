"""What threads may see that work on the same pages: for each page, the events that happened to it.

An operation takes effect on each of its pages at some moment between its begin and its end, on each cpu at
one of its own. So a state is possible at a moment if some event may have made it, and no event that began
after that one had ended was over before the moment. What the event does to a page is the operation's effect
on a process that has no other (`effects`).

    version 3 written   |---- madvise ----|      read: 0 or 3 while madvise runs, 0 from then on
                    3          4 written         a write beside it may be lost with the old page, or stay

Moments are counted, not measured: what is counted first has happened first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from math import inf
from typing import Any

from sim.designs import Rules
from sim.mm import READ, WRITE, Operation, Rights
from sim.verify.effects import effect
from sim.verify.model import Frame, Page, Process

State = Rights | None
"""The rights of a page, None where it is not mapped."""


@dataclass(eq=False)
class Event:
    """*change* is what it does to a page's rights; *clears*: its contents are zeros afterwards.

    *sure* is whether it does so at all. It runs until *end*.
    """

    begin: float
    change: Callable[[State], State]
    clears: Callable[[State], bool]
    sure: bool = True
    end: float = inf


@dataclass
class Write:
    """Version *version* is written at *moment*."""

    moment: float
    version: int


@dataclass
class Past:
    """What has happened to one page since it was in *state* with *version* in it."""

    state: State
    version: int
    events: list[Event] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    def states(self, begin: float, end: float) -> set[State]:
        """The states that the page may have been seen in at some moment between *begin* and *end*.

        Another cpu may see what an event has taken away until that is over, whatever is done meanwhile to
        what has come of it: mprotect of what munmap has cleared and not flushed yet.
        """
        found = self._states(begin, end)
        for event in self.events:
            if event.begin <= begin <= event.end:
                before = self._states(event.begin, event.begin)
                found |= {state for state in before if event.change(state) != state}
        return found

    def _states(self, begin: float, end: float) -> set[State]:
        reachable = self._reachable()
        found = {self.state} if self._lasts(self.state, -1, begin) else set()
        for event in self.events:
            if event.begin <= end:
                made = {event.change(state) for state in reachable if event.change(state) != state}
                found |= {state for state in made if self._lasts(state, event.end, begin)}
        return found

    def _reachable(self) -> set[State]:
        states = {self.state}
        while more := {each.change(state) for each in self.events for state in states} - states:
            states |= more
        return states

    def _lasts(self, state: State, since: float, until: float) -> bool:
        """Whether *state*, which came about at *since* at the latest, may still be there at *until*."""
        return not any(
            event.sure and since < event.begin and event.end < until and event.change(state) != state
            for event in self.events
        )

    def versions(self, begin: float, end: float) -> set[int]:
        """What may be read at some moment between *begin* and *end*."""
        clears = [each for each in self.events if any(each.clears(state) for state in self._reachable())]
        changes = [
            *((each.moment, self._seen(each, clears), True, each.version) for each in self.writes),
            *((each.begin, each.end, each.sure, 0) for each in clears),
        ]
        return {
            version
            for since, until, _, version in [(-1.0, -1.0, True, self.version), *changes]
            if since <= end
            and not any(sure and until < later and over < begin for later, over, sure, _ in changes)
        }

    def _seen(self, write: Write, clears: list[Event]) -> float:
        """When all cpus see *write* that will ever see it: it may be in a page that is about to go."""
        return max([write.moment, *(each.end for each in clears if each.begin <= write.moment <= each.end)])


class History:
    """The pages that several threads work on, and what their accesses have found."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._moments = count()
        self.pages: dict[int, Past] = {}

    def now(self) -> int:
        """A moment after all others so far."""
        return next(self._moments)

    def begin(self, asked: Any) -> list[Event]:
        """*asked* begins: its event on each of its pages, to be ended with `end`."""
        events = []
        for page in range(asked.at, asked.at + asked.pages):
            alone = replace(asked, at=page, pages=1)
            event = Event(self.now(), *_on_one_page(self._rules, alone, page))
            self.pages.setdefault(page, Past(None, 0)).events.append(event)
            events.append(event)
        return events

    def end(self, events: list[Event], *, sure: bool) -> None:
        """The operation is over. Not *sure*: it was refused, and has done a part of its work or nothing."""
        for event in events:
            event.sure, event.end = sure, self.now()

    def drop(self, events: list[Event]) -> None:
        """The operation was refused and has done nothing."""
        for event in events:
            for past in self.pages.values():
                if event in past.events:
                    past.events.remove(event)

    def accessed(self, page: int, since: int, *, write: bool, version: int | None, cpu: int = 0) -> None:
        """An access by *cpu* that began at *since* is done now; *version* is what is there after it, None a
        signal, -1 if nobody can know it.

        Raises `AssertionError` for what cannot be.
        """
        past, now = self.pages.setdefault(page, Past(None, 0)), self.now()
        states, needed = past.states(since, now), WRITE if write else READ
        if version is None:
            assert any(state is None or not state & needed for state in states), (
                f"an access to page {page:#x} got a signal, and its rights may have been {states}"
            )
            return
        assert any(state is not None and state & needed for state in states), (
            f"an access to page {page:#x} is let through, and its rights may have been {states}"
        )
        if write:
            past.writes.append(Write(now, version))
            return
        if version < 0:
            return
        allowed = past.versions(now, now)
        assert version in allowed, f"page {page:#x} reads version {version}, and may read {sorted(allowed)}"

    def was(self, page: int, state: State, version: int | None, since: int, until: int) -> None:
        """A child has *page* like this from a fork that ran from *since* to *until*; else as `rests`."""
        past = self.pages.setdefault(page, Past(None, 0))
        states = past.states(since, until)
        assert state in states, f"a child's page {page:#x} has rights {state}, and may have {states}"
        if version is not None:
            allowed = past.versions(since, until)
            assert version in allowed, (
                f"a child's page {page:#x} is version {version}, and may be {sorted(allowed)}"
            )

    def starts(self, page: int, state: State, version: int | None) -> None:
        """A process begins with *page* like this, as a child of a fork does; else as `rests`."""
        self.pages[page] = Past(state, version or 0)

    def rests(self, page: int, state: State, version: int | None) -> None:
        """No thread runs: *page* is in *state*, and would be read as *version* (None: nobody can).

        That is what its past begins with from now on. Raises `AssertionError` for what cannot be.
        """
        past, now = self.pages.setdefault(page, Past(None, 0)), self.now()
        states = past.states(now, now)
        assert state in states, f"page {page:#x} ends with rights {state}, and may have {states}"
        if version is not None:
            allowed = past.versions(now, now)
            assert version in allowed, f"page {page:#x} ends as version {version}; may be {sorted(allowed)}"
        self.pages[page] = Past(state, version or 0)


def _on_one_page(
    rules: Rules, asked: Operation, page: int
) -> tuple[Callable[[State], State], Callable[[State], bool]]:
    @cache
    def done(state: State) -> tuple[Frame, Page | None]:
        process, frame = Process(rules), Frame()
        if state is not None:
            process.pages[page] = Page(state, frame)
        effect(asked, process)
        return frame, process.pages.get(page)

    def change(state: State) -> State:
        after = done(state)[1]
        return None if after is None else after.rights

    def clears(state: State) -> bool:
        before, after = done(state)
        if after is None:
            return state is not None
        return state is None or after.frame is not before

    return change, clears
