"""Coverage: which published rows the model can be asked about, and which points answer them.

A row's machine, system, workload and placement are matched to presets by name. A workload in parentheses,
`(smallest of five)`, `(largest of five)` or `(all five)`, stands for all workloads that its dataset names on
that machine: the metric is computed for each and folded. What cannot be asked is *not covered*, with the
reason in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Protocol, cast

from sim.analysis.metrics import Measured, Metric, Place, metric_named
from sim.analysis.published import Observation
from sim.experiment import load_spec, presets

if TYPE_CHECKING:
    from sim.workload import Reported, WorkloadSpec

_GROUP = re.compile(r"\((smallest|largest|all)(?: of)? (\w+)\)\Z")
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

Fold = Callable[[Sequence[float]], float]


class Machine(Protocol):
    """What a metric has to know of a machine."""

    @property
    def cpus(self) -> int: ...
    @property
    def clock(self) -> int: ...


class Catalogue(Protocol):
    """What the model knows by name; None is for a stranger."""

    def machine(self, name: str) -> Machine | None: ...
    def has_design(self, name: str) -> bool: ...
    def placements(self, workload: str) -> Sequence[str] | None: ...
    def reported(self, workload: str, placement: str) -> Reported: ...


class PresetCatalogue:
    """The presets that come with the program, each read once. A broken preset raises its `InputError`."""

    def __init__(self) -> None:
        self._load = cache(load_spec)

    def machine(self, name: str) -> Machine | None:
        return cast(Machine, self._load("machine", name).spec) if name in presets.names("machine") else None

    def has_design(self, name: str) -> bool:
        return name in presets.names("design")

    def placements(self, workload: str) -> Sequence[str] | None:
        if workload not in presets.names("workload"):
            return None
        return self._workload(workload).placement_names

    def reported(self, workload: str, placement: str) -> Reported:
        """How the benchmark behind *workload* computes its throughput."""
        return self._workload(workload).reported(placement)

    def _workload(self, name: str) -> WorkloadSpec:
        return cast("WorkloadSpec", self._load("workload", name).spec)


@dataclass(frozen=True)
class Question:
    """A published row as the model understands it: one place a workload, a metric, and how to fold them."""

    places: tuple[Place, ...]
    needs: Mapping[Place, tuple[Place, ...]]
    metric: Metric
    fold: Fold
    factor: float

    def points(self) -> list[Place]:
        """The points to simulate, each once."""
        return list(dict.fromkeys(point for place in self.places for point in self.needs[place]))

    def answer(self, measured: Mapping[Place, Measured]) -> dict[str, float]:
        """The metric of each workload, in the row's unit. Raises `PointFailedError`."""
        return {
            place.workload: self.factor
            * self.metric.compute(place, {point: measured[point] for point in self.needs[place]})
            for place in self.places
        }


class NotCoveredError(Exception):
    """Why the model cannot be asked about a row. Never leaves this floor."""


def questions(observations: Sequence[Observation], catalogue: Catalogue) -> list[Question | str]:
    """For each observation the question to the model, or the reason why it is not covered."""

    @cache
    def members(dataset: str, machine: str) -> tuple[str, ...]:
        rows = (o for o in observations if (o.dataset, o.machine) == (dataset, machine))
        return tuple(dict.fromkeys(o.workload for o in rows if not o.workload.startswith("(")))

    def question(row: Observation) -> Question | str:
        try:
            return _question(row, members(row.dataset, row.machine), catalogue)
        except NotCoveredError as reason:
            return str(reason)

    return [question(row) for row in observations]


def _question(row: Observation, named: Sequence[str], catalogue: Catalogue) -> Question:
    machine = catalogue.machine(row.machine)
    if machine is None:
        raise NotCoveredError(f"no machine named {row.machine}")
    metric = metric_named(row.metric)
    if metric is None:
        raise NotCoveredError(f"the model computes no {row.metric}")
    factor = metric.factor(row.unit, machine.clock)
    if factor is None:
        raise NotCoveredError(f"{row.metric} cannot be told in {row.unit}")
    workloads, fold = _workloads(row, named, metric)
    places = tuple(
        Place(row.machine, row.system, workload, _placement(row, workload, catalogue), row.tasks)
        for workload in workloads
    )
    needs = {place: tuple(metric.needs(place, machine.cpus)) for place in places}
    for point in (point for points in needs.values() for point in points):
        if not catalogue.has_design(point.design):
            raise NotCoveredError(f"no design named {point.design}")
        if point.threads > machine.cpus:
            raise NotCoveredError(f"{point.threads} threads on a machine of {machine.cpus} cpus")
    return Question(places, needs, metric, fold, factor)


def _workloads(row: Observation, named: Sequence[str], metric: Metric) -> tuple[Sequence[str], Fold]:
    """The workloads a row speaks of, and how their values become one."""
    if not row.workload.startswith("("):
        return [row.workload], min
    match = _GROUP.match(row.workload)
    if match is None:
        raise NotCoveredError(f"the group {row.workload} is not understood")
    if match[2] not in _NUMBERS or _NUMBERS.index(match[2]) + 2 != len(named):
        raise NotCoveredError(f"{row.workload}, but the dataset names {len(named)} workloads on this machine")
    folds: dict[str, Fold] = {"smallest": min, "largest": max, "all": metric.overall}
    return named, folds[match[1]]


def _placement(row: Observation, workload: str, catalogue: Catalogue) -> str:
    """The row's placement if the workload has it; an unnamed one is the workload's only one."""
    known = catalogue.placements(workload)
    if known is None:
        raise NotCoveredError(f"no workload named {workload}")
    if row.placement:
        if row.placement not in known:
            raise NotCoveredError(f"{workload} has no placement {row.placement}")
        return row.placement
    if len(known) > 1:
        raise NotCoveredError(f"no placement given, and {workload} has {', '.join(known)}")
    return known[0] if known else ""
