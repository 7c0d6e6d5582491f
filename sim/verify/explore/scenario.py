"""Races as scenarios of verify: `exhaustive/munmap-fault` is one, `exhaustive` all that suit a design.

In the same way `random orders` and `priorities` (PCT) go through some of the orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from time import monotonic
from typing import Final

from sim.compiled import words
from sim.engine import Probe
from sim.verify.checking import Counts
from sim.verify.explore.deciders import Written
from sim.verify.explore.exploring import Way, explore
from sim.verify.explore.layout import Layout
from sim.verify.explore.layouts import LAYOUTS
from sim.verify.explore.race import race
from sim.verify.outcomes import Budget, Outcome, violation
from sim.verify.programs import Program

_NAMES: Final[Mapping[Way, str]] = {
    "systematic": "exhaustive",
    "random": "random orders",
    "priority": "priorities",
}
_TITLES: Final[Mapping[Way, str]] = {
    "systematic": "all orders of their steps, depth first",
    "random": "orders of their steps at random",
    "priority": "orders of their steps by falling priorities (PCT)",
}


def check_race(program: Program, listeners: Sequence[Probe] = ()) -> Counts:
    """Run the race of *program* in the order that it says. Raises what is found."""
    decider = Written(dict(program.order or ()))
    return race(program, decider, set(), listeners).counts


class Races:
    """All *layouts* that suit a design, or the one that there is, gone through in some *way*."""

    def __init__(self, layouts: Sequence[Layout], way: Way) -> None:
        self._layouts = layouts
        self.way = way
        only = layouts[0] if len(layouts) == 1 else None
        self.name = _NAMES[way] + (f"/{only.name}" if only else "")
        self.title = only.title if only else f"2-3 threads, 1-3 operations each: {_TITLES[way]}"

    def suits(self, design: str) -> bool:
        return words() != "compiled model" and any(each.suits(design) for each in self._layouts)

    def draw(self, design: str, random: Random) -> Program:
        return random.choice([each for each in self._layouts if each.suits(design)]).program(design)

    def check(self, program: Program, listeners: Sequence[Probe] = ()) -> Counts:
        return check_race(program, listeners)

    def run(self, design: str, budget: Budget, seed: int) -> Outcome:
        outcome, began = Outcome(), monotonic()
        todo = [each for each in self._layouts if each.suits(design)]
        Random(f"{seed} {design}").shuffle(todo)
        while todo and not outcome.violations and not (outcome.races and budget.is_spent):
            part = budget.part(len(todo))
            drawn_from = f"{seed} {design} {self.name}"
            done = explore(todo.pop().program(design), part.take, self.way, seed=drawn_from)
            outcome.executions += done.orders + done.cut
            outcome.operations += done.operations
            outcome.events += done.events
            outcome.states += len(done.ends)
            outcome.races += 1
            outcome.whole += done.complete
            outcome.within_one += done.complete or done.preemptions >= 1
            outcome.explored = done.said
            outcome.seconds = monotonic() - began
            if done.failing is not None:
                outcome.violations.append(violation(self, done.failing, drawn_from))
        return outcome


RACES: Sequence[Races] = tuple(
    Races(layouts, way)
    for way in _NAMES
    for layouts in (tuple(LAYOUTS.values()), *((each,) for each in LAYOUTS.values()))
)
"""The scenarios: all races in each way, and each alone."""
