"""Is a mutant found with a probability of 0.99 by what a budget lets one run?

A systematic search finds the same each time: if it comes to the mutant within the budget, that is sure. Else
orders are drawn, at random and by priorities in turns, for each of some seeds, until the mutant is found or
the budget is spent. Each order that is drawn finds it with the same probability p, so the number of orders
until then is geometric. Of k finds in n orders p is k/n; with a confidence of 0.95 it is not less than the
5 % quantile of chi-square with 2k degrees of freedom, over 2n. From that the number of orders follows after
which it is found with a probability of 0.99: 1 - (1 - p)^N >= 0.99.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, log, log1p, sqrt
from time import process_time
from typing import Final

from sim.verify.explore.exploring import Way
from sim.verify.explore.hunting import RaceHunt, hunt_races
from sim.verify.mutants import Mutant
from sim.verify.outcomes import Budget

SURE: Final = 0.99
DRAWN: Final[Sequence[Way]] = ("random", "priority")
_QUANTILE: Final = 1.645
"""Of the normal distribution, for a confidence of 0.95."""


@dataclass(frozen=True)
class Chances:
    """What was found of a mutant with a budget of so many orders (*affords*).

    *hunt* is the systematic one. Where it found nothing: *found* of *seeds* found the mutant, after *orders*
    together.
    """

    hunt: RaceHunt
    affords: int
    seeds: int = 0
    found: int = 0
    orders: int = 0

    @property
    def certain(self) -> bool:
        """The systematic search comes to it."""
        return self.hunt.caught is not None and self.hunt.orders <= self.affords

    @property
    def likely(self) -> float:
        """Of an order that is drawn, to find it: the estimate."""
        return self.found / self.orders if self.orders else 0.0

    @property
    def at_least(self) -> float:
        """The same with a confidence of 0.95."""
        return lower_bound(self.found, self.orders)

    @property
    def needed(self) -> float:
        """Orders after which it is found with a probability of 0.99, by `at_least`."""
        return orders_until_sure(self.at_least)

    @property
    def enough(self) -> bool:
        """Whether the budget finds it with that probability."""
        return self.certain or self.needed <= self.affords


def lower_bound(found: int, orders: int) -> float:
    """Of a probability of which *orders* trials have *found* so many: chi-square by Wilson and Hilferty."""
    if not found or not orders:
        return 0.0
    quantile = 2 * found * max(0.0, 1 - 1 / (9 * found) - _QUANTILE / (3 * sqrt(found))) ** 3
    return min(1.0, quantile / (2 * orders))


def orders_until_sure(probability: float) -> float:
    """The least N with 1 - (1 - *probability*)^N >= 0.99."""
    if probability <= 0:
        return inf
    return 1 if probability >= SURE else ceil(log(1 - SURE) / log1p(-probability))


def chances(mutant: Mutant, seconds: float, seeds: int = 30, seed: int = 0) -> Chances:
    """What *seconds* of one cpu find of *mutant*; where the systematic search does not come to it, *seeds*
    draw."""
    began = process_time()
    hunt = hunt_races(mutant, lambda: process_time() - began < seconds, shrinking=0)
    spent = process_time() - began
    affords = max(hunt.orders, int(hunt.orders * seconds / spent)) if spent else hunt.orders
    if hunt.caught is not None:
        return Chances(hunt, affords)
    found = orders = 0
    for each in range(seeds):
        drawn = hunt_races(mutant, Budget(inf, affords).take, DRAWN, f"{seed} {each}", shrinking=0)
        found += drawn.caught is not None
        orders += drawn.orders
    return Chances(hunt, affords, seeds, found, orders)
