"""Sensitivity and certainty of an experiment: which costs move its answers, and do its conclusions hold?

    plain      the points as the files have them
    samples    all costs drawn at once, so many times: a band on every point, a share for each conclusion
    screening  groups of costs, then the costs of the leading ones, then Morris (`screening`), at the largest
               thread count of each place

Bands are `bands.Band`'s: from the least to the greatest of the answers and the files' own. Costs are drawn
independently of each other, so that a band is rather too wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from sim.analysis.conclusions import (
    Answer,
    Conclusion,
    Spot,
    as_it_is,
    asked,
    conclude,
    ends_of_curves,
    usual,
)
from sim.analysis.screening import LARGEST_GROUP, Effect, Ends, Group, ends, groups_of, leaders, morris
from sim.analysis.tables import THROUGHPUT
from sim.analysis.uncertainty import latin_share
from sim.analysis.worlds import Cost, Simulated, World, Worlds
from sim.errors import Fault, InputError
from sim.experiment import Experiment, Point, Progress, choose

Method = Literal["morris", "oat"]


@dataclass(frozen=True)
class Effort:
    """How much is simulated: *samples* of all costs, at most *costs* one at a time, and of these *leaders*
    by *paths* of Morris."""

    samples: int = 16
    method: Method = "morris"
    costs: int = 24
    leaders: int = 8
    paths: int = 6
    seed: int = 1

    def __post_init__(self) -> None:
        for name, least in (("samples", 2), ("costs", LARGEST_GROUP), ("leaders", 2), ("paths", 2)):
            if getattr(self, name) < least:
                raise InputError(Fault(f"{name} must be {least} or more", value=getattr(self, name)))

    def stages(self, groups: int, costs: int) -> tuple[int, int, int]:
        """At most so many worlds for groups, for single costs and for Morris, of so many of both."""
        grouped = 2 * groups if costs > self.costs else 0
        single = 2 * min(costs, self.costs)
        steps = self.paths * (min(costs, self.leaders) + 1) if self.method == "morris" and costs else 0
        return grouped, single, steps


@dataclass(frozen=True)
class Finding:
    """What one cost does to each of the answers: at its ends, and by Morris if it was among the leaders."""

    cost: Cost
    ends: tuple[Ends, ...]
    effects: tuple[Effect, ...]

    def size(self, answer: int) -> float:
        """By what the costs are ranked for an answer: mu*, or how far its ends are apart."""
        star = self.effects[answer].mu_star if self.effects else float("nan")
        return star if star == star else self.ends[answer].size


@dataclass(frozen=True)
class Study:
    """What `study` found; *bands* has a row a point. *answers* are what *findings* are about, in order."""

    experiment: Experiment
    answers: tuple[Answer, ...]
    conclusions: tuple[Conclusion, ...]
    bands: pd.DataFrame
    costs: tuple[Cost, ...]
    groups: tuple[tuple[Group, tuple[Ends, ...], bool], ...]
    """With what their ends do, and whether their costs were looked at one by one."""
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...]
    """Points that failed, or took too many events, as files have them."""
    cramped: int
    """How many variants of files could not have all costs where they were to be."""

    def ranked(self, answer: int) -> list[Finding]:
        """The costs that were looked at, what moves the *answer* most first."""
        order = {id(finding): at for at, finding in enumerate(self.findings)}
        return sorted(self.findings, key=lambda one: (-one.size(answer), order[id(one)]))


@dataclass
class Plan:
    """What is to be simulated, known beforehand."""

    experiment: Experiment
    places: tuple[int, ...]
    effort: Effort = field(default_factory=Effort)
    conclusions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.points = [self.experiment.points[place] for place in self.places]
        several = len({point.machine for point in self.points}) > 1
        self.spot_of = {place: _spot(self.experiment.points[place], several) for place in self.places}
        self.spots = list(dict.fromkeys(self.spot_of.values()))
        self.named = asked(self.conclusions, self.spots)
        self.answers = self.named or [*usual(self.spots), *ends_of_curves(self.spots)]

    def bound(self) -> str:
        """In words: at most how many points are simulated."""
        costs = Worlds(self.experiment, self.places).costs
        groups = groups_of(costs)
        grouped, single, steps = self.effort.stages(len(groups), len(costs))
        ends = len(self._asked())
        many = len(self.points)
        total = many * (1 + self.effort.samples) + ends * (grouped + single + steps)
        parts = [f"{many} x {self.effort.samples} samples of all costs"]
        parts += [f"{ends} x {grouped} for {len(groups)} groups"] if grouped else []
        parts += [f"{ends} x {single} one cost at a time"] if single else []
        parts += [f"{ends} x {steps} for Morris"] if steps else []
        return (
            f"{len(costs)} costs may be off; at most {total} points are simulated: {many}, {', '.join(parts)}"
        )

    def _asked(self) -> list[int]:
        wanted = {spot for answer in self.answers for spot in _spots_of(answer)}
        return [place for place in self.places if self.spot_of[place] in wanted]


def plan(
    experiment: Experiment, points: Sequence[Point], effort: Effort, conclusions: Sequence[str] = ()
) -> Plan:
    """The plan for some *points* of an *experiment*. Raises `InputError` for conclusions that are none."""
    ids = {id(point) for point in points}
    places = tuple(place for place, point in enumerate(experiment.points) if id(point) in ids)
    return Plan(experiment, places, effort, tuple(conclusions))


def sensitivity_of(
    experiment: Experiment,
    points: Sequence[str] = (),
    conclusions: Sequence[str] = (),
    effort: Effort | None = None,
    workers: int = 1,
) -> Study:
    """`cortensim sensitivity` in Python: the study of those points of *experiment* that *points* choose.

    *points* and *conclusions* are what `--point` and `--conclusion` say. Raises `InputError` for what is not
    there.
    """
    chosen = choose(experiment.points, points)
    return study(plan(experiment, chosen, effort or Effort(), conclusions), workers)


def study(
    planned: Plan,
    workers: int = 1,
    progress: Progress | None = None,
    keep: Path | None = None,
    events: int | None = None,
) -> Study:
    """Simulate what was planned. With *events*, points that take more events than that are left out.

    Raises `InputError` where no point is left, or the folder *keep* cannot be used.
    """
    experiment, effort = planned.experiment, planned.effort
    worlds = Worlds(experiment, planned.places, workers, progress, keep)
    (plain,) = worlds.simulate([{}], planned.places)
    places, left_out = _affordable(planned, plain, events)
    spot_of = planned.spot_of
    spots = list(dict.fromkeys(spot_of[place] for place in places))
    named = [answer for answer in planned.named if set(_spots_of(answer)) <= set(spots)]
    costs = [cost for cost in worlds.costs if any(worlds.touches([cost.name], place) for place in places)]

    def at_spots(several: Sequence[World], chosen: Sequence[int]) -> np.ndarray[Any, Any]:
        """Logarithms of throughput, worlds x *spots*; NaN where none of a spot was chosen, or it failed."""
        found = np.full((len(several), len(spots)), np.nan)
        mine = [spots.index(spot_of[place]) for place in chosen]
        for row, outcomes in enumerate(worlds.simulate(several, chosen)):
            values = [outcome.throughput for outcome in outcomes]
            for at in set(mine):
                mean = float(np.mean([value for value, spot in zip(values, mine, strict=True) if spot == at]))
                found[row, at] = np.log(mean) if mean > 0 else np.nan
        return found

    samples: list[World] = [
        {cost.name: latin_share(cost.uncertain, sample, effort.samples, effort.seed) for cost in costs}
        for sample in range(effort.samples)
    ]
    own, drawn = at_spots([{}], places), at_spots(samples, places)
    answers = named or [*(as_it_is(answer, spots, own) for answer in usual(spots)), *ends_of_curves(spots)]
    wanted = {spot for answer in answers for spot in _spots_of(answer)}
    ending = [place for place in places if spot_of[place] in wanted]

    def evaluate(several: Sequence[World]) -> np.ndarray[Any, Any]:
        logarithms = at_spots(several, ending)
        return np.stack([answer.of(spots, logarithms) for answer in answers], axis=1)

    groups: list[tuple[Group, tuple[Ends, ...], bool]] = []
    looked = list(costs)
    if len(costs) > effort.costs:
        sections = groups_of(costs)
        moved = ends([group.costs for group in sections], evaluate)
        first = leaders(sections, moved, effort.costs)
        looked = [cost for group in first for cost in group.costs]
        groups = [
            (group, tuple(ends_of), group in first) for group, ends_of in zip(sections, moved, strict=True)
        ]
    findings = _findings(looked, evaluate, effort)
    conclusions = conclude([answer for answer in answers if answer.over], spots, own, drawn)
    return Study(
        experiment, tuple(answers), tuple(conclusions), _bands(planned, spots, own, drawn), tuple(costs),
        tuple(groups), findings, tuple(left_out), worlds.cramped,
    )  # fmt: skip


def _findings(costs: Sequence[Cost], evaluate: Any, effort: Effort) -> tuple[Finding, ...]:
    moved = ends([[cost] for cost in costs], evaluate)
    effects: dict[str, list[Effect]] = {}
    if effort.method == "morris" and costs:
        order = sorted(range(len(costs)), key=lambda at: (-max(end.size for end in moved[at]), at))
        chosen = [costs[at] for at in order[: effort.leaders]]
        measured = morris(chosen, evaluate, effort.paths, effort.seed)
        effects = {cost.name: effect for cost, effect in zip(chosen, measured, strict=True)}
    return tuple(
        Finding(cost, tuple(ends_of), tuple(effects.get(cost.name, ())))
        for cost, ends_of in zip(costs, moved, strict=True)
    )


def _affordable(planned: Plan, plain: Sequence[Simulated], events: int | None) -> tuple[list[int], list[str]]:
    kept, left_out = [], []
    for place, outcome in zip(planned.places, plain, strict=True):
        label = planned.experiment.points[place].label
        if outcome.error:
            left_out.append(f"{label}: failed: {outcome.error}")
        elif events is not None and outcome.events > events:
            left_out.append(f"{label}: {outcome.events} events")
        else:
            kept.append(place)
    if not kept:
        raise InputError(Fault("no point is left to look at", value=left_out[0] if left_out else None))
    return kept, left_out


def _spots_of(answer: Answer) -> tuple[Spot, ...]:
    return (answer.spot, answer.spot._replace(design=answer.over)) if answer.over else (answer.spot,)


def _spot(point: Point, several: bool) -> Spot:
    swept = [f"{path.rpartition('.')[2]} {value}" for path, value in point.swept]
    words = [" ".join(filter(None, (point.workload, point.placement)))]
    words += [f"on {point.machine}"] if several else []
    words += swept
    return Spot(", ".join(words), point.design, point.threads)


def _bands(
    planned: Plan,
    spots: Sequence[Spot],
    own: np.ndarray[Any, Any],
    drawn: np.ndarray[Any, Any],
) -> pd.DataFrame:
    """A row a point, replicates together: throughput with `low` and `high` over so many `samples`."""
    rows = []
    for at, spot in enumerate(spots):
        place = next(place for place, one in planned.spot_of.items() if one == spot)
        point = planned.experiment.points[place]
        values = np.concatenate([own[:, at], drawn[:, at]])
        known = np.exp(values[~np.isnan(values)])
        rows.append(
            {
                "design": point.design, "machine": point.machine, "workload": point.workload,
                "placement": point.placement, "threads": point.threads, **dict(point.swept),
                THROUGHPUT: float(np.exp(own[0, at])), "low": float(known.min()), "high": float(known.max()),
                "samples": len(known) - 1,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
