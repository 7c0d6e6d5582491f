"""How many orders of races does it take until a mutant is found, depth first, at random, or by priorities?"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from sim.verify.explore.exploring import BOUNDS, Exploration, Way, chance_of, explore
from sim.verify.explore.layouts import Layout, layouts_of
from sim.verify.explore.scenario import RACES
from sim.verify.mutants import Mutant
from sim.verify.outcomes import Violation, violation

SLICE = 20
"""Orders of one race before the next one has its turn, where they are drawn."""


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
    """Those of *mutants* whose designs have races; huge pages have none."""
    return [each for each in mutants if not each.huge and any(layouts_of(kind) for kind in each.designs)]


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

    Depth first means: all races with the smallest bound on preemptions first, then the next bound. What is
    found is made small for *shrinking* seconds at most.
    """
    orders = 0
    races = [(design, layout) for design in mutant.designs for layout in layouts_of(design)]
    with mutant.applied():
        for design, layout, done in _explorations(races, take, way, seed):
            orders += done.orders + done.cut
            if done.failing is not None:
                scenario = next(each for each in RACES if each.way == way)
                caught = violation(scenario, done.failing, f"{seed} {design} {layout.name}", shrinking)
                chance = chance_of(done.failing, done)
                return RaceHunt(mutant, way, orders, design, layout.name, caught, chance)
            if not done.orders:
                break
    return RaceHunt(mutant, way, orders)


def _explorations(
    races: list[tuple[str, Layout]], take: Callable[[], bool], way: Way, seed: Hashable
) -> Iterator[tuple[str, Layout, Exploration]]:
    whole: set[tuple[str, str]] = set()
    for number in count() if way != "systematic" else range(len(BOUNDS)):
        for design, layout in races:
            if (design, layout.name) in whole:
                continue
            program, drawn_from = layout.program(design), f"{seed} {design} {layout.name} {number}"
            if way == "systematic":
                done = explore(program, take, bounds=(BOUNDS[number],))
            else:
                done = explore(program, _part(take, SLICE), way, seed=drawn_from)
            if done.complete:
                whole.add((design, layout.name))
            yield design, layout, done


def _part(take: Callable[[], bool], most: int) -> Callable[[], bool]:
    left = iter(range(most))
    return lambda: next(left, None) is not None and take()
