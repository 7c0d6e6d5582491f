"""Coverage: which published rows the model can be asked about, and which points answer them.

A row's machine, system and workload are names of files beside the row's own, or of presets, or paths that
count from there; its placement is one of the workload's, and may stand behind the workload's name, or its end
may: `dram-latency-remote` is the placement `remote` of `dram-latency`, and `mmap1-12-per-socket` in placement
`processes` is `processes-12-per-socket` of `mmap1`. A workload in parentheses,
`(smallest of five)`, `(largest of five)` or `(all five)`, stands for all workloads that its dataset names on
that machine: the metric is computed for each and folded. What cannot be asked is *not covered*, with the
reason in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cache, partial
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from sim.analysis.metrics import CellName, Metric, Simulated, metric_named
from sim.analysis.published import Observation
from sim.errors import Fault, InputError
from sim.experiment import Point, make_point, model
from sim.files import ExperimentSpec, Kind, Override, Resolved, display, load_spec, presets, real

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.workload import Reported, WorkloadSpec

    Loading = Callable[[Kind, str], Resolved[BaseModel]]
    """The file of a kind that has this name."""

_GROUP = re.compile(r"\((smallest|largest|all)(?: of)? (\w+)\)\Z")
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

Fold = Callable[[Sequence[float]], float]


class HasClock(Protocol):
    """What a metric has to know of a machine."""

    @property
    def cpus(self) -> int: ...
    @property
    def clock(self) -> int: ...


class Catalogue(Protocol):
    """What the model knows, by the names of files without their folders."""

    def beside(self, folder: Path) -> Catalogue:
        """The same for references that stand in a file in *folder*."""
        ...

    def name(self, kind: Kind, reference: str) -> str | None:
        """What *reference*, a name or a path, names; None if there is no such file."""
        ...

    def machine(self, name: str) -> HasClock: ...
    def placements(self, workload: str) -> Sequence[str]: ...
    def shares_cpus(self, workload: str, placement: str) -> bool:
        """Whether *workload* may have more threads than there are cpus."""
        ...

    def reported(self, workload: str, placement: str) -> Reported:
        """How the benchmark behind *workload* computes its throughput."""
        ...

    def parts(self, workload: str, placement: str) -> bool:
        """Whether *workload* reports what the parts of its requests take."""
        ...

    def job(self, workload: str) -> int | None:
        """How many operations one job of the benchmark behind *workload* has; None if that is not said."""
        ...

    def threads(self, workload: str, tasks: int) -> int:
        """How many threads so many *tasks* of the benchmark behind *workload* are."""
        ...

    def refusal(self, cell: CellName) -> str | None:
        """Why *cell*, all of whose names are known, cannot be run, if so."""
        ...


class FileCatalogue:
    """The files beside a measurement and the presets, each read once. A broken one raises its `InputError`.

    One name means one file in all that is measured together, so that a result can be told by its names.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[tuple[Kind, str], Path] = {}
        self._given: set[tuple[Kind, str]] = set()
        self._once = cache(self.load)

    def beside(self, folder: Path) -> FileCatalogue:
        other = copy(self)
        other._folder = folder
        return other

    def give(self, kind: Kind, path: Path) -> str:
        """Let the name of the file at *path* mean that file from now on, whatever lies elsewhere."""
        self._known[kind, path.stem] = path
        self._given.add((kind, path.stem))
        return path.stem

    def name(self, kind: Kind, reference: str) -> str | None:
        if (kind, reference) in self._given:
            return reference
        found = presets.find(kind, reference, self._folder)
        if isinstance(found, Fault) or not (isfile(found) or reference.endswith(".yaml")):
            return None  # a name with a slash in it is no path to a file that should be there
        name = found.stem
        other = self._known.setdefault((kind, name), found)
        if real(other) != real(found):
            message = f"the {kind} {name} is {display(other)} in one place and {display(found)} in another"
            raise InputError(Fault(message, allowed="one file a name: rename one of them"))
        return name

    def load(self, kind: Kind, name: str, overrides: Sequence[Override] = ()) -> Resolved[BaseModel]:
        """The file with this name, with *overrides* in place of values."""
        return load_spec(kind, self._known[kind, name], [o for o in overrides if o.target == kind])

    def points(
        self, cells: Sequence[CellName], overrides: Sequence[Override] = (), load: Loading | None = None
    ) -> list[Point]:
        """The points at *cells*, with *overrides* in place of values in the files, or of files as *load* has
        them; and the seed that experiments have by default. Raises `InputError` where one does not fit."""
        load = load or cache(partial(self.load, overrides=overrides))
        seed = ExperimentSpec.model_fields["seed"].default
        return [
            make_point(
                cast("Resolved[MachineSpec]", load("machine", cell.machine)),
                cast("Resolved[DesignSpec]", load("design", cell.design)),
                cast("Resolved[WorkloadSpec]", load("workload", cell.workload)),
                cell.placement,
                cell.threads,
                seed,
            )
            for cell in cells
        ]

    def machine(self, name: str) -> HasClock:
        return cast(HasClock, self._once("machine", name).spec)

    def placements(self, workload: str) -> Sequence[str]:
        return cast("WorkloadSpec", self._once("workload", workload).spec).placement_names

    def shares_cpus(self, workload: str, placement: str) -> bool:
        return cast("WorkloadSpec", self._once("workload", workload).spec).shares_cpus(placement)

    def reported(self, workload: str, placement: str) -> Reported:
        return cast("WorkloadSpec", self._once("workload", workload).spec).reported(placement)

    def parts(self, workload: str, placement: str) -> bool:
        return bool(
            cast("WorkloadSpec", self._once("workload", workload).spec).plan(placement).part_latencies
        )

    def job(self, workload: str) -> int | None:
        return cast("WorkloadSpec", self._once("workload", workload).spec).job

    def threads(self, workload: str, tasks: int) -> int:
        spec = cast("WorkloadSpec", self._once("workload", workload).spec)
        return spec.threads_beside + tasks * spec.threads_per_task

    def refusal(self, cell: CellName) -> str | None:
        machine = cast("MachineSpec", self._once("machine", cell.machine).spec)
        design = cast("DesignSpec", self._once("design", cell.design).spec)
        workload = cast("WorkloadSpec", self._once("workload", cell.workload).spec)
        fault = model.foresee(machine, design, workload, cell.placement, [cell.threads])
        missing = ", no ".join(model.lacking(design, workload))
        lack = f"{design.name} offers no {missing}" if missing else None
        return design.refuses(machine) or lack or (str(fault) if fault else None)


@dataclass(frozen=True)
class Question:
    """A published row as the model understands it: one cell a workload, a metric, and how to fold them."""

    cells: tuple[CellName, ...]
    needs: Mapping[CellName, tuple[CellName, ...]]
    metric: Metric
    fold: Fold
    factor: float

    def points(self) -> list[CellName]:
        """The points to simulate, each once."""
        return list(dict.fromkeys(point for cell in self.cells for point in self.needs[cell]))

    def answer(self, simulated: Mapping[CellName, Simulated]) -> dict[str, float]:
        """The metric of each workload, in the row's unit. Raises `PointFailedError`."""
        return {
            cell.workload: self.factor
            * self.metric.compute(cell, {point: simulated[point] for point in self.needs[cell]})
            for cell in self.cells
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
        beside = catalogue.beside(Path(row.file).parent)
        try:
            return _question(row, members(row.dataset, row.machine), beside)
        except NotCoveredError as reason:
            return str(reason)

    return [question(row) for row in observations]


def covered(
    observations: Sequence[Observation], catalogue: Catalogue, use: str
) -> list[tuple[Observation, Question]]:
    """The rows of one *use* that the model can be asked about, each with its question."""
    asked = zip(observations, questions(observations, catalogue), strict=True)
    return [(row, asks) for row, asks in asked if row.use == use and isinstance(asks, Question)]


def points_of(asked: Iterable[Question]) -> list[CellName]:
    """The points to simulate for all of these questions, each once."""
    return list(dict.fromkeys(point for question in asked for point in question.points()))


def _question(row: Observation, named: Sequence[str], catalogue: Catalogue) -> Question:
    name = _name("machine", row.machine, catalogue)
    machine = catalogue.machine(name)
    metric = metric_named(row.metric)
    if metric is None:
        raise NotCoveredError(f"the model computes no {row.metric}")
    factor = metric.factor(row.unit, machine.clock)
    if factor is None:
        raise NotCoveredError(f"{row.metric} cannot be told in {row.unit}")
    references, fold = _workloads(row, named, metric)
    workloads = [_workload(reference, row, catalogue) for reference in references]
    if row.unit.startswith("jobs"):
        jobs = [catalogue.job(workload) for workload, _ in workloads]
        if len(jobs) != 1 or jobs[0] is None:
            raise NotCoveredError(f"{row.workload} does not say how many operations a job has (`job`)")
        factor /= jobs[0]
    if metric.part is not None:
        for workload in workloads:
            if not catalogue.parts(*workload):
                message = f"{workload[0]} does not report what its parts take (`part_latencies: true`)"
                raise NotCoveredError(message)
    design = _name("design", row.system, catalogue)
    cells = tuple(
        CellName(name, design, *workload, catalogue.threads(workload[0], row.tasks)) for workload in workloads
    )
    needs = {cell: tuple(metric.needs(cell, machine.cpus)) for cell in cells}
    for point in (point for points in needs.values() for point in points):
        _name("design", point.design, catalogue)
        if point.threads > machine.cpus and not catalogue.shares_cpus(point.workload, point.placement):
            raise NotCoveredError(f"{point.threads} threads on a machine of {machine.cpus} cpus")
        if (refusal := catalogue.refusal(point)) is not None:
            raise NotCoveredError(refusal)
    return Question(cells, needs, metric, fold, factor)


def _name(kind: Kind, reference: str, catalogue: Catalogue) -> str:
    name = catalogue.name(kind, reference)
    if name is None:
        raise NotCoveredError(f"no {kind} named {reference}, neither beside the data nor among the presets")
    return name


def _workload(reference: str, row: Observation, catalogue: Catalogue) -> tuple[str, str]:
    """The workload that *reference* names, and its placement."""
    name = catalogue.name("workload", reference)
    if name is None:
        before = f"{row.placement}-" if row.placement else ""
        for cut in (match.start() for match in re.finditer("-", reference)):
            stem, placement = catalogue.name("workload", reference[:cut]), before + reference[cut + 1 :]
            if stem is not None and placement in catalogue.placements(stem):
                return stem, placement
    name = _name("workload", reference, catalogue)
    return name, _placement(row, name, catalogue)


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
    if row.placement:
        if row.placement not in known:
            raise NotCoveredError(f"{workload} has no placement {row.placement}")
        return row.placement
    if len(known) > 1:
        raise NotCoveredError(f"no placement given, and {workload} has {', '.join(known)}")
    return known[0] if known else ""
