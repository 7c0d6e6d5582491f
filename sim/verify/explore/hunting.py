"""How many orders of races does it take until a mutant is found, depth first, at random, or by priorities?

All races of the mutant's designs have a turn of some orders each, again and again, so that no race pays for
those that stand before it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from sim.verify.explore.exploring import Search, Way, chance_of
from sim.verify.explore.layouts import layouts_of
from sim.verify.explore.scenario import RACES
from sim.verify.mutants import Mutant
from sim.verify.outcomes import Violation, violation

TURN = 10
"""Orders of one race before the next one has its turn."""


@dataclass(frozen=True)
class RaceHunt:
    """What has come of it after so many *orders*: *caught*, in the race *layout* of *design*, or it survived.

    *chance* is the probability with which an order by priorities meets a bug of depth 3 there, at least.
    """

    mutant: Mutant
    way: Way
    orders: int
    design: str = ""
    layout: str = ""
    caught: Violation | None = None
    chance: float = 0.0


def mutants_in_races(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Those of *mutants* whose designs have races."""
    return [each for each in mutants if any(layouts_of(kind) for kind in each.designs)]


def hunt_races(
    mutant: Mutant,
    take: Callable[[], bool],
    way: Way = "systematic",
    seed: Hashable = 0,
    *,
    shrinking: float = 5.0,
) -> RaceHunt:
    """Run orders of all races that suit the designs of *mutant*, with the bug in the model, while *take* lets
    it or until it is found.

    What is found is made small for *shrinking* seconds at most.
    """
    searches = [
        (design, layout, Search(layout.program(design), way, seed=f"{seed} {design} {layout.name}"))
        for design in mutant.designs
        for layout in layouts_of(design)
    ]
    orders = 0
    with mutant.applied():
        while searches:
            for design, layout, search in searches:
                before = search.done.orders + search.done.cut
                done = search.go(_part(take, TURN))
                orders += done.orders + done.cut - before
                if done.failing is not None:
                    scenario = next(each for each in RACES if each.way == way)
                    drawn_from = f"{seed} {design} {layout.name}"
                    caught = violation(scenario, done.failing, drawn_from, shrinking)
                    chance = chance_of(done.failing, done)
                    return RaceHunt(mutant, way, orders, design, layout.name, caught, chance)
                if not search.over and done.orders + done.cut == before:
                    return RaceHunt(mutant, way, orders)
            searches = [each for each in searches if not each[2].over]
    return RaceHunt(mutant, way, orders)


def _part(take: Callable[[], bool], most: int) -> Callable[[], bool]:
    left = iter(range(most))
    return lambda: next(left, None) is not None and take()
