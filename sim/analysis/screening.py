"""Screening: which of many costs move an answer, with a number of runs that is known beforehand.

    groups    all costs of a section at their low ends, and all at their high ends     2 runs a group
    costs     each cost of the leading groups at its low and at its high end           2 runs a cost
    Morris    the leading costs along random paths, one step a cost                    costs + 1 runs a path

Answers are logarithms, so an effect of 0.1 is about 10 %. What Morris calls mu* is the mean size of a cost's
effect over its whole interval, sigma how much that depends on what the others are (Morris, Technometrics
1991; Campolongo et al. 2007); the interval of mu* is SALib's, by resampling the paths. Costs of one section
are moved together in one direction: where they undo each other there the section looks smaller than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from sim.analysis.worlds import Cost, World

Evaluate = Callable[[Sequence[World]], "np.ndarray[Any, Any]"]
"""Worlds -> their answers (worlds x answers, logarithms); NaN where something failed."""
LARGEST_GROUP = 8
"""Costs that are moved together; longer sections are cut in even parts."""
LEVELS = 4
"""Steps of the grid that Morris' paths go on."""


@dataclass(frozen=True)
class Group:
    """Costs that are moved together."""

    name: str
    costs: tuple[Cost, ...]


@dataclass(frozen=True)
class Ends:
    """What an answer does (in logarithms) with something at its low and at its high end."""

    low: float
    high: float

    @property
    def size(self) -> float:
        """How far the answer goes between the two ends and the files' own value."""
        ends = [end for end in (self.low, self.high, 0.0) if end == end]
        return max(ends) - min(ends)


@dataclass(frozen=True)
class Effect:
    """Morris' measures of one cost for one answer; *interval* is half of the 95 % one of *mu_star*."""

    mu: float = nan
    mu_star: float = nan
    interval: float = nan
    sigma: float = nan


def groups_of(costs: Sequence[Cost]) -> list[Group]:
    """The *costs* by file and section, of at most `LARGEST_GROUP` each, in their order."""
    sections: dict[str, list[Cost]] = {}
    for cost in costs:
        sections.setdefault(cost.group, []).append(cost)
    groups = []
    for name, members in sections.items():
        parts = -(-len(members) // LARGEST_GROUP)
        for part, some in enumerate(np.array_split(np.arange(len(members)), parts)):
            label = name if parts == 1 else f"{name} {part + 1}/{parts}"
            groups.append(Group(label, tuple(members[at] for at in some)))
    return groups


def ends(parts: Sequence[Sequence[Cost]], evaluate: Evaluate) -> list[list[Ends]]:
    """For each of *parts*, moved as one, and each answer: what its two ends do."""
    worlds: list[World] = [{}]
    worlds += [{cost.name: share for cost in part} for part in parts for share in (0.0, 1.0)]
    answers = evaluate(worlds)
    moved = answers[1:] - answers[0]
    return [
        [Ends(float(low), float(high)) for low, high in zip(moved[2 * at], moved[2 * at + 1], strict=True)]
        for at in range(len(parts))
    ]


def leaders(groups: Sequence[Group], effects: Sequence[Sequence[Ends]], most: int) -> list[Group]:
    """The groups that move some answer most, as long as they have at most so many costs together."""
    sizes = [max(end.size for end in effect) for effect in effects]
    order = sorted(range(len(groups)), key=lambda at: (-sizes[at], at))
    chosen: list[Group] = []
    for at in order:
        if sizes[at] == 0 or sum(len(group.costs) for group in (*chosen, groups[at])) > most:
            break
        chosen.append(groups[at])
    return chosen


def morris(costs: Sequence[Cost], evaluate: Evaluate, paths: int, seed: int) -> list[list[Effect]]:
    """Morris' measures of each of *costs* for each answer; NaN where fewer than 2 paths went well."""
    from SALib.analyze.morris import analyze
    from SALib.sample.morris import sample

    names = [cost.name for cost in costs]
    problem = {
        "num_vars": len(costs),
        "names": names,
        "bounds": [[0.0, 1.0]] * len(costs),
    }
    grid = sample(problem, N=paths, num_levels=LEVELS, seed=seed)
    answers = evaluate([dict(zip(names, map(float, row), strict=True)) for row in grid])
    steps = len(costs) + 1
    effects: list[list[Effect]] = [[] for _ in costs]
    for column in range(answers.shape[1]):
        whole = ~np.isnan(answers[:, column].reshape(-1, steps)).any(axis=1)
        kept = np.repeat(whole, steps)
        if whole.sum() < 2:
            for effect in effects:
                effect.append(Effect())
            continue
        found = analyze(problem, grid[kept], answers[kept, column], num_levels=LEVELS, seed=seed)
        for at, effect in enumerate(effects):
            measures: Mapping[str, Any] = {
                "mu": found["mu"], "mu_star": found["mu_star"], "interval": found["mu_star_conf"],
                "sigma": found["sigma"],
            }  # fmt: skip
            effect.append(Effect(**{name: float(values[at]) for name, values in measures.items()}))
    return effects
