"""A race on a design, one order after the other, for as long as a budget lasts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Final, Literal, get_args

from sim.verify.checking import Counts
from sim.verify.explore.deciders import AtRandom, Falling, Written, bound
from sim.verify.explore.race import State, race
from sim.verify.explore.systematic import Redundant, Systematic, Unrepeatable
from sim.verify.explore.traces import Trace, traced
from sim.verify.programs import Program

Way = Literal["systematic", "random", "priority"]
WAYS: Sequence[Way] = get_args(Way)

BOUNDS: Final[Sequence[int | None]] = (0, 1, 2, None)
"""Preemptions: first the orders without any, at last all."""

DEPTH: Final = 3
"""Of bugs that priorities are made for: so many orderings between steps."""


WORLDS: Final = 100
"""Orders of a race between two collections: some 50 MiB."""


@dataclass
class Exploration:
    """What has come of it."""

    orders: int = 0
    """That were run to their end, or to what was found; those of a bound are run again under the next one."""
    different: int = 0
    """Those of the last bound alone, which differ from each other."""
    cut: int = 0
    """Those that were cut off, since they would have repeated one."""
    operations: int = 0
    events: int = 0
    longest: int = 0
    """Steps of the longest."""
    ends: set[State] = field(default_factory=set)
    """What the race has come to."""
    preemptions: int = -1
    """All orders with so many at most have been run."""
    complete: bool = False
    """All orders have been run."""
    failing: Program | None = None
    error: Exception | None = None

    @property
    def said(self) -> str:
        """How far it went."""
        if self.failing is not None:
            return f"stopped at a violation, after {self.orders:,}"
        if self.complete:
            return f"explored all {self.different:,}"
        if self.preemptions < 0:
            return f"stopped at budget: {self.orders:,} of unknown"
        return (
            f"all with {self.preemptions} preemptions at most; stopped at budget: {self.orders:,} of unknown"
        )


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Each order leaves a world behind, whose objects name each other. Python would look for such things all
    the time, and at all that there is: a quarter of the time of an order."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Search:
    """The orders of a race of *program*, in some *way*, that can be stopped and goes on where it was.

    Systematic means: all with the first of *bounds* on preemptions, then with the next. Not *reduced*: also
    those orders that differ from another one only in steps that do not meet.
    """

    def __init__(
        self,
        program: Program,
        way: Way = "systematic",
        *,
        seed: Hashable = 0,
        bounds: Sequence[int | None] = BOUNDS,
        reduced: bool = True,
    ) -> None:
        self.program = program
        self.done = Exploration()
        self.over = False
        """Nothing is left to be run, or something was found."""
        self._way = way
        self._chance = Random(f"{seed} {way}")
        self._bounds = list(bounds)
        self._reduced = reduced
        self._trace = Trace()
        self._decider: Systematic | None = None

    @property
    def depth(self) -> int | None:
        """Of what was found, if the search is systematic: how many orderings it takes in this race.

        Without a preemption the threads only come one after the other, in one order or another; each
        preemption is one ordering more.
        """
        if self.done.failing is None or self._decider is None or self._decider.bound is None:
            return None
        return self._decider.bound + 1

    def go(self, take: Callable[[], bool]) -> Exploration:
        """Run one order after the other, while *take* lets it, until something is found.

        Value: what has come of all orders so far.
        """
        step = self._next_order if self._way == "systematic" else self._draw
        with traced(self._trace) if self._way == "systematic" else nullcontext(), seldom_collecting():
            for number in count(1):
                if self.over or not take():
                    return self.done
                step()
                if number % WORLDS == 0:
                    gc.collect()
        raise AssertionError("a search ends")

    def _draw(self) -> None:
        done, decider = self.done, Written()
        if done.longest:  # the plain order has been run: it says how long they are
            falling = self._way == "priority"
            decider = Falling(self._chance, DEPTH, done.longest) if falling else AtRandom(self._chance)
        _run(self.program, decider, done, None)
        done.longest = max(done.longest, decider.steps)
        self.over = done.failing is not None

    def _next_order(self) -> None:
        done = self.done
        if self._decider is None:
            self._decider = Systematic(self._bounds.pop(0), reduced=self._reduced)
            done.different = 0
        decider = self._decider
        decider.begin()
        _run(self.program, decider, done, self._trace)
        if done.failing is not None:
            self.over = True
            return
        decider.learn()
        done.longest = max(done.longest, decider.longest)
        if decider.over:
            done.complete = not decider.left_out
            if decider.bound is not None:
                done.preemptions = decider.bound
            self._decider = None
            self.over = done.complete or not self._bounds


def explore(
    program: Program,
    take: Callable[[], bool],
    way: Way = "systematic",
    *,
    seed: Hashable = 0,
    bounds: Sequence[int | None] = BOUNDS,
    reduced: bool = True,
) -> Exploration:
    """What a `Search` comes to."""
    return Search(program, way, seed=seed, bounds=bounds, reduced=reduced).go(take)


def _run(program: Program, decider: Systematic | Written, done: Exploration, trace: Trace | None) -> None:
    try:
        counts = race(program, decider, done.ends, trace=trace).counts
    except Redundant:
        done.cut += 1
        return
    except Unrepeatable:
        raise
    except Exception as error:
        done.failing, done.error = replace(program, order=_order(decider.kept)), error
        counts = Counts(0, 0)
    done.orders += 1
    done.different += 1
    done.operations += counts.operations
    done.events += counts.events


def _order(kept: Mapping[int, str]) -> Sequence[tuple[int, str]]:
    return tuple(sorted(kept.items()))


def chance_of(program: Program, done: Exploration) -> float:
    """With which probability an order by priorities meets a bug of `DEPTH`, at least (PCT's bound)."""
    return bound(program.threads, done.longest, DEPTH)
