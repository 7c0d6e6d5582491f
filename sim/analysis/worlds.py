"""Worlds: an experiment's points where its costs are others, each somewhere in the interval of its quality.

A world is a mapping from costs to shares of their intervals; what it does not name is as the files have it.
All worlds share the seeds of the experiment, so that a difference comes from the costs and not from the draw.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sim.analysis.tables import THROUGHPUT
from sim.analysis.uncertainty import Uncertain, placed, uncertain, within_order
from sim.errors import InputError
from sim.experiment import Experiment, Point, Progress, run_points
from sim.files import variant

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sim.files import Resolved

_DIGITS = re.compile(r"\d+\.\d+")

World = Mapping[str, float]
"""Identity of a cost -> its share of the way from the low to the high end of its interval."""


@dataclass(frozen=True)
class Cost:
    """A cost of an experiment, one in all files that inherit it."""

    name: str
    """Its `Uncertain.identity`: the file where it was first written, and its path."""
    group: str
    """That file, and the section."""
    quality: str
    value: str
    low: str
    high: str
    uncertain: Uncertain


@dataclass(frozen=True)
class Simulated:
    """What is kept of a point: its throughput (operations completed per µs), NaN if it failed."""

    throughput: float
    events: int
    error: str


class Worlds:
    """The points at *places* of an *experiment*, to be simulated in any of its worlds."""

    def __init__(
        self,
        experiment: Experiment,
        places: Sequence[int],
        workers: int = 1,
        progress: Progress | None = None,
        keep: Path | None = None,
    ) -> None:
        self._experiment = experiment
        self._run: dict[str, Any] = {"workers": workers, "progress": progress, "keep": keep}
        self._costs = {id(member): _costs(member) for member in experiment.members(places)}
        self.places = tuple(places)
        self.costs = _distinct(experiment.members(places), self._costs)
        self._known: dict[str, Simulated] = {}
        self.cramped = 0
        """How many files could not be as far from what they are as a world had them."""
        self._made: dict[tuple[int, tuple[tuple[str, float], ...]], Resolved[BaseModel]] = {}

    def touches(self, names: Sequence[str], place: int) -> bool:
        """Whether a file of the point at *place* has one of the costs with these *names*."""
        members = self._experiment.members([place])
        return any(cost.identity in names for member in members for cost in self._costs[id(member)])

    def points(self, world: World, places: Sequence[int]) -> list[Point]:
        """The points at *places* in one *world*. Raises `InputError` where a file does not allow it."""
        return list(self._experiment.points_with(lambda member: self._file(member, world), places))

    def simulate(self, worlds: Sequence[World], places: Sequence[int]) -> list[list[Simulated]]:
        """What the points at *places* gave, a list a world; equal points are simulated once."""
        points = [self.points(world, places) for world in worlds]
        todo = {point.id: point for row in points for point in row if point.id not in self._known}
        frame = run_points(list(todo.values()), **self._run)
        for key, row in zip(todo, frame.to_dict("records"), strict=True):
            if row["status"] == "failed":
                self._known[key] = Simulated(nan, 0, row["error"] or "failed")
            else:
                self._known[key] = Simulated(float(row[THROUGHPUT]), int(row["events"]), "")
        return [[self._known[point.id] for point in row] for row in points]

    def _file(self, member: Resolved[Any], world: World) -> Resolved[Any]:
        costs = [cost for cost in self._costs[id(member)] if cost.identity in world]
        key = id(member), tuple((cost.identity, world[cost.identity]) for cost in costs)
        if not costs:
            return member
        if key not in self._made:

            def load(changes: Sequence[Any]) -> Resolved[BaseModel]:
                faults: list[Any] = []
                made = variant(member, [*member.changes, *changes], faults)
                if made is None:
                    raise InputError(faults)
                return cast("Resolved[BaseModel]", made)

            self._made[key], reached = within_order(
                costs, lambda reach: placed(costs, member.kind, world, reach, "a world of costs"), load
            )
            self.cramped += not reached
        return self._made[key]


def _costs(member: Resolved[Any]) -> list[Uncertain]:
    """The costs of a file that may be off, less those that a sweep has set."""
    swept = [tuple(map(str, change.inner)) for change in member.changes]
    return [
        cost
        for cost in uncertain(member)
        if not any(tuple(map(str, cost.path))[: len(path)] == path for path in swept)
    ]


def _distinct(members: Sequence[Resolved[Any]], costs: Mapping[int, Sequence[Uncertain]]) -> tuple[Cost, ...]:
    found: dict[str, Cost] = {}
    for member in members:
        for cost in costs[id(member)]:
            if cost.identity in found:
                continue
            file, _, path = cost.identity.partition(" ")
            quality = member.document.provenance[cost.path].quality
            found[cost.identity] = Cost(
                cost.identity, f"{file} {path.partition('.')[0].partition('[')[0]}", str(quality or "none"),
                _written(cost.value), _written(cost.at(0)), _written(cost.at(1)), cost,
            )  # fmt: skip
    return tuple(found.values())


def _written(value: str | float) -> str:
    """A value as a table shows it: four digits."""
    return _DIGITS.sub(lambda number: f"{float(number[0]):.4g}", str(value))
