"""How many orders of races does it take until a mutant is found, depth first, at random, or by priorities?

All races of the mutant's designs have a turn of some orders each, again and again, so that no race pays for
those that stand before it; in each turn all ways that are asked for.
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
    """What has come of it after so many *orders*: *caught* in the race *layout* of *design*, or it survived.

    *way* is how it was caught, or the first that was tried. *chance* is the probability with which an order
    by priorities meets a bug of depth 3 there, at least. *depth* is that of the bug in that race, where the
    search was systematic: an order with one preemption less than that shows it, and none with fewer.
    """

    mutant: Mutant
    way: Way
    orders: int
    design: str = ""
    layout: str = ""
    caught: Violation | None = None
    chance: float = 0.0
    depth: int | None = None


def mutants_in_races(mutants: Sequence[Mutant]) -> list[Mutant]:
    """Those of *mutants* whose designs have races."""
    return [each for each in mutants if any(layouts_of(kind) for kind in each.designs)]


def hunt_races(
    mutant: Mutant,
    take: Callable[[], bool],
    ways: Sequence[Way] = ("systematic",),
    seed: Hashable = 0,
    *,
    shrinking: float = 5.0,
) -> RaceHunt:
    """Run orders of all races that suit the designs of *mutant*, with the bug in the model, while *take* lets
    it or until it is found.

    What is found is made small for *shrinking* seconds at most.
    """
    searches = [
        (design, layout.name, way, Search(layout.program(design), way, seed=f"{seed} {design} {layout.name}"))
        for design in mutant.designs
        for layout in layouts_of(design)
        for way in ways
    ]
    orders = 0
    with mutant.applied():
        while searches:
            for design, name, way, search in searches:
                before = search.done.orders + search.done.cut
                done = search.go(_part(take, TURN))
                orders += done.orders + done.cut - before
                if done.failing is not None:
                    scenario = next(each for each in RACES if each.way == way)
                    caught = violation(scenario, done.failing, f"{seed} {design} {name}", shrinking)
                    chance = chance_of(done.failing, done)
                    return RaceHunt(mutant, way, orders, design, name, caught, chance, search.depth)
                if not search.over and done.orders + done.cut == before:
                    return RaceHunt(mutant, ways[0], orders)
            searches = [each for each in searches if not each[3].over]
    return RaceHunt(mutant, ways[0], orders)


def _part(take: Callable[[], bool], most: int) -> Callable[[], bool]:
    left = iter(range(most))
    return lambda: next(left, None) is not None and take()
