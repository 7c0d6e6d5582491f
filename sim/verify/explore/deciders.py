"""Who decides which thread of a race goes on: what is written down, chance, or priorities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from sim.verify.explore.order import Step, plainly

Deviations = Mapping[int, str]
"""Where an order is not the plain one: the number of the decision, and who goes on there."""


class Written:
    """The plain order but for *deviations*; one that is not possible any more is left out.

    `kept` has those that there were, and so the order of any decider that inherits from this.
    """

    def __init__(self, deviations: Deviations | None = None) -> None:
        self._deviations = deviations or {}
        self.kept: dict[int, str] = {}
        self.steps = 0
        self.decisions = 0
        """Steps at which several were ready."""

    def next(self, number: int, ready: Sequence[str], last: str | None) -> str:
        plain = plainly(ready, last)
        if len(ready) == 1:
            return plain
        self.decisions += 1
        chosen = self.choose(number, ready, plain)
        if chosen != plain:
            self.kept[number] = chosen
        return chosen

    def choose(self, number: int, ready: Sequence[str], plain: str) -> str:
        """Who goes on of two or more."""
        wanted = self._deviations.get(number, plain)
        return wanted if wanted in ready else plain

    def done(self, step: Step) -> None:
        self.steps += 1


class AtRandom(Written):
    """Any of those that are ready, each as likely as the next, at each step."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._choice = random.choice

    def choose(self, number: int, ready: Sequence[str], plain: str) -> str:
        return self._choice(ready)


class Falling(Written):
    """PCT: who has the highest priority, and at *depth* - 1 of *length* steps that of the next one falls.

    Here steps are counted, as in the paper (see `sim.engine.schedule.Priority`), so its bound holds: of *n*
    actors and *k* steps a bug of depth d is met with probability 1/(n k^(d-1)) or more (`bound`).
    """

    def __init__(self, random: Random, depth: int, length: int) -> None:
        super().__init__()
        self._draw = random.random
        self._depth = depth
        self._falls = {random.randrange(length): low for low in range(depth - 1)}
        self._priorities: dict[str, float] = {}

    def next(self, number: int, ready: Sequence[str], last: str | None) -> str:
        plain = plainly(ready, last)
        chosen = max(ready, key=self._priority)
        if number in self._falls:
            self._priorities[chosen] = self._falls[number]
            chosen = max(ready, key=self._priority)
        if chosen != plain:
            self.kept[number] = chosen
        if len(ready) > 1:
            self.decisions += 1
        return chosen

    def _priority(self, actor: str) -> float:
        if (priority := self._priorities.get(actor)) is None:
            priority = self._priorities[actor] = self._depth + self._draw()
        return priority


def bound(actors: int, steps: int, depth: int) -> float:
    """The probability with which PCT meets a bug of *depth*, at least."""
    return 1 / float(actors * max(1, steps) ** (depth - 1))
