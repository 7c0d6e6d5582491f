"""A race on a design, one order after the other, for as long as a budget lasts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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


def explore(
    program: Program,
    take: Callable[[], bool],
    way: Way = "systematic",
    *,
    seed: Hashable = 0,
    bounds: Sequence[int | None] = BOUNDS,
    reduced: bool = True,
) -> Exploration:
    """Run the race of *program* in one order after the other, while *take* lets it.

    Stops at the first violation. Not *reduced*: also those orders that differ from another one only in
    steps that do not meet.
    """
    done = Exploration()
    if way == "systematic":
        trace = Trace()
        with traced(trace):
            for limit in bounds:
                done.different = 0
                _depth_first(program, take, done, Systematic(limit, reduced=reduced), trace)
                if done.complete or done.failing is not None or done.preemptions != limit:
                    break
        return done
    chance = Random(f"{seed} {way}")
    while take() and done.failing is None:
        decider: Written
        if way == "random" or not done.longest:
            decider = AtRandom(chance) if done.longest else Written()
        else:
            decider = Falling(chance, DEPTH, done.longest)
        _run(program, decider, done, None)
        done.longest = max(done.longest, decider.steps)
    return done


def _depth_first(
    program: Program, take: Callable[[], bool], done: Exploration, decider: Systematic, trace: Trace
) -> None:
    while take():
        decider.begin()
        _run(program, decider, done, trace)
        if done.failing is not None:
            return
        decider.learn()
        done.longest = max(done.longest, decider.longest)
        if decider.over:
            done.complete = not decider.left_out
            if decider.bound is not None:
                done.preemptions = decider.bound
            return


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
