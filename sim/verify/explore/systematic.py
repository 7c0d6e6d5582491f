"""All orders of a race, depth first, each but those that differ from one seen only in steps that do not meet.

A race is run from its beginning for each order: the choices up to some step as they were, another one there,
and what comes plainly from then on. Which other choices are worth it, the order that was run says: where two
steps of different actors meet, and nothing between them has put them in order, the second one's actor might
have come first (dynamic partial-order reduction: Flanagan, Godefroid, POPL 2005). An order that would only
repeat one seen is cut off where that is known (sleep sets: Godefroid, 1996).

    cpu 0   w(a) ------- r(b)          w(a) and r(a) meet: another order has cpu 1 before w(a)
    cpu 1          r(a) ------ w(c)    r(b) and w(c) do not: their orders are one

With a bound on preemptions, orders in which more often than that somebody goes on although the last thread
could have gone on are left out (Musuvathi, Qadeer, PLDI 2007). A point is then also added where the stretch
of the one who is to be overtaken begins, for a choice there may be no preemption (Coons, Musuvathi, McKinley,
OOPSLA 2013), and nothing sleeps: what would repeat an order may be all of it that the bound lets through.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from sim.verify.explore.order import Step, plainly
from sim.verify.explore.traces import Touched, meet


class Redundant(Exception):
    """What comes is an order that has been seen."""


class Unrepeatable(Exception):
    """A race that was to begin as it did has not: something in it is not determined by who goes on."""


@dataclass(slots=True)
class _Point:
    """A decision on the way that is gone now: who was *ready*, who was *chosen*, who has yet to be tried."""

    ready: tuple[str, ...]
    chosen: str
    last: str | None
    preemptions: int
    """Before it."""
    asleep: dict[str, Touched]
    """Whose next step would repeat an order, and what that touches."""
    todo: set[str] = field(default_factory=set)
    tried: dict[str, Touched] = field(default_factory=dict)


class Systematic:
    """Decides one order after the other: `begin`, run the race, `learn`; `over` when there are no more.

    *bound* is how many preemptions there may be; None: any number. Not *reduced*: every order, one by one.
    """

    def __init__(self, bound: int | None = None, *, reduced: bool = True) -> None:
        self.bound = bound
        self.over = False
        self.cut = 0
        """Orders that were cut off, since they would have repeated one."""
        self.left_out = False
        """Whether the bound has left an order out."""
        self.kept: dict[int, str] = {}
        self.steps = 0
        self.longest = 0
        self._reduced = reduced
        self._sleeps = reduced and bound is None
        self._points: list[_Point] = []
        self._steps: list[Step] = []

    # -- an order -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The next order begins."""
        self.kept = {}
        self.steps = 0
        self._steps = []

    def next(self, number: int, ready: Sequence[str], last: str | None) -> str:
        if number < len(self._points):
            point = self._points[number]
            if point.ready != tuple(ready):
                raise Unrepeatable(f"at decision {number} {', '.join(ready)} are ready, not {point.ready}")
        else:
            point = self._arrive(tuple(ready), last)
        if point.chosen != plainly(ready, last):
            self.kept[number] = point.chosen
        return point.chosen

    def _arrive(self, ready: tuple[str, ...], last: str | None) -> _Point:
        asleep: dict[str, Touched] = {}
        preemptions = 0
        if self._points:
            before = self._points[-1]
            preemptions = before.preemptions + _preempts(before.chosen, before.ready, before.last)
            if self._sleeps:
                step = self._steps[-1].touched
                asleep = {
                    who: its
                    for who, its in (before.asleep | before.tried).items()
                    if who != before.chosen and not meet(its, step)
                }
        awake = [each for each in ready if each not in asleep]
        if not awake:
            raise Redundant
        chosen = plainly(awake, last)
        point = _Point(ready, chosen, last, preemptions, asleep)
        if not self._reduced:
            point.todo.update(each for each in ready if each != chosen)
        self._points.append(point)
        return point

    def done(self, step: Step) -> None:
        self._steps.append(step)
        self.steps += 1

    # -- between two ----------------------------------------------------------------------------------------

    def learn(self) -> None:
        """The order has been run, to its end or as far as it went: what else is worth it?"""
        if self._reduced:
            self._find_races()
        self.longest = max(self.longest, len(self._steps))
        points = self._points
        del points[len(self._steps) + 1 :]
        if len(points) > len(self._steps):  # its step was not over
            point = points[-1]
            point.tried.setdefault(point.chosen, {})
        for point, step in zip(points, self._steps, strict=False):
            point.tried[step.actor] = step.touched
        while points:
            point = points[-1]
            choice = self._choice(point)
            if choice is not None:
                point.chosen = choice
                return
            points.pop()
        self.over = True

    def _choice(self, point: _Point) -> str | None:
        for who in sorted(point.todo):
            point.todo.discard(who)
            if who in point.tried or who in point.asleep:
                continue
            cost = point.preemptions + _preempts(who, point.ready, point.last)
            if self.bound is None or cost <= self.bound:
                return who
            self.left_out = True
        return None

    def _find_races(self) -> None:
        """For each step, those of others that it meets and that nothing between them puts before it."""
        steps = self._steps
        clocks: list[dict[str, int]] = []  # of each step: the last step of each actor that comes before it
        own: dict[str, dict[str, int]] = {}  # of each actor, after its last step
        wrote: dict[Hashable, int] = {}
        looked: dict[Hashable, list[int]] = {}
        for number, step in enumerate(steps):
            actor = step.actor
            before = own.get(actor, {})
            clock = dict(before)
            rivals: set[int] = set()
            for key, write in step.touched.items():
                if key in wrote:
                    rivals.add(wrote[key])
                if write:
                    rivals.update(looked.get(key, ()))
            for rival in sorted(rivals, reverse=True):
                other = steps[rival].actor
                if other != actor and clock.get(other, -1) < rival:
                    self._race(rival, actor, before)
                for who, at in clocks[rival].items():
                    if clock.get(who, -1) < at:
                        clock[who] = at
            clock[actor] = number
            clocks.append(clock)
            own[actor] = clock
            for caused in step.caused:
                own[caused] = clock
            for key, write in step.touched.items():
                if write:
                    wrote[key] = number
                    looked[key] = []
                else:
                    looked.setdefault(key, []).append(number)

    def _race(self, first: int, actor: str, before: dict[str, int]) -> None:
        """Step *first* might come after the next one of *actor*; the steps of *before* come before that."""
        self._add(first, actor, before)
        if self.bound is not None:
            start = first
            rival = self._steps[first].actor
            while start and self._steps[start - 1].actor == rival:
                start -= 1
            if start != first:
                self._add(start, actor, before)

    def _add(self, at: int, actor: str, before: dict[str, int]) -> None:
        point = self._points[at]
        if actor in point.ready:
            point.todo.add(actor)
            return
        helps = {who for who, last in before.items() if last > at and who in point.ready}
        if helps:
            if not helps & (point.todo | point.tried.keys() | {point.chosen}):
                point.todo.add(min(helps))
        else:
            point.todo.update(point.ready)


def _preempts(chosen: str, ready: Sequence[str], last: str | None) -> int:
    """Whether somebody goes on, or an interrupt comes, although the last thread could have gone on."""
    return int(last is not None and chosen != last and last in ready)
