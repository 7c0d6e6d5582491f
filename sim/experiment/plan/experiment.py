"""An experiment that is ready to run: its files, the cells of its grid, and the points that they make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sim.experiment import model
from sim.experiment.plan.axes import Assignment
from sim.experiment.plan.filters import stays
from sim.experiment.plan.points import Point, Swept, derive_seed
from sim.files import FIFO, BudgetSpec, Document, ExperimentSpec, Resolved, ScheduleSpec, SourceFile

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.workload import WorkloadSpec


@dataclass(frozen=True)
class Experiment:
    """An experiment with all of its files read: ready to run."""

    spec: ExperimentSpec
    document: Document
    machines: tuple[Resolved[MachineSpec], ...]
    designs: tuple[Resolved[DesignSpec], ...]
    workloads: tuple[Resolved[WorkloadSpec], ...]
    files: tuple[SourceFile, ...]
    cells: tuple[Cell, ...]
    """The grid less its replicates, in the order of the result tables."""
    replayed: Point | None = None
    """The only point, where the decisions of an earlier run are to be repeated."""
    profile: bool = False
    """Whether its points are run with a report of counters and locks."""
    check: bool = False
    """Whether its points are held against all invariants while they run."""

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every point, in the order of the result tables."""
        if self.replayed is not None:
            return (replace(self.replayed, check=self.check),)
        return tuple(
            self._point(cell.machine, cell.design, cell.workload, cell, replicate)
            for cell, replicate in self._places
        )

    def points_with(
        self, change: Callable[[Resolved[Any]], Resolved[Any]], which: Sequence[int]
    ) -> tuple[Point, ...]:
        """Those of the points at these places, with what *change* makes of each of their files."""
        return tuple(
            self._point(change(cell.machine), change(cell.design), change(cell.workload), cell, replicate)
            for cell, replicate in (self._places[place] for place in which)
        )

    def members(self, which: Sequence[int]) -> tuple[Resolved[Any], ...]:
        """The machines, designs and workloads of these points, with the values that they have there."""
        cells = (self._places[place][0] for place in which)
        used = (member for cell in cells for member in (cell.machine, cell.design, cell.workload))
        return tuple({id(member): member for member in used}.values())

    @cached_property
    def _places(self) -> tuple[tuple[Cell, int], ...]:
        """Cell and replicate of every point."""
        spec = self.spec
        return tuple(
            (cell, replicate)
            for cell in self.cells
            for replicate in range(spec.replicates)
            if cell.stays(spec, replicate)
        )

    def _point(
        self,
        machine: Resolved[MachineSpec],
        design: Resolved[DesignSpec],
        workload: Resolved[WorkloadSpec],
        cell: Cell,
        replicate: int,
    ) -> Point:
        spec = self.spec
        return make_point(
            machine, design, workload, cell.placement, cell.threads, spec.seed, replicate,
            spec.budget, cell.assignment.swept, spec.schedule, self.profile,
            self.check,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a point stands in the grid."""

    machine: Resolved[MachineSpec]
    design: Resolved[DesignSpec]
    workload: Resolved[WorkloadSpec]
    placement: str
    assignment: Assignment
    threads: int

    def stays(self, spec: ExperimentSpec, replicate: int) -> bool:
        """Whether the filters of the experiment leave this point."""
        if not spec.only and not spec.exclude:
            return True
        values = {
            "machine": self.machine.name,
            "design": self.design.name,
            "workload": self.workload.name,
            "placement": self.placement,
            "threads": self.threads,
            "replicate": replicate,
            **{override.written: override.value for override in self.assignment.overrides},
        }
        return stays(values, spec.only, spec.exclude)


def make_point(
    machine: Resolved[MachineSpec],
    design: Resolved[DesignSpec],
    workload: Resolved[WorkloadSpec],
    placement: str,
    threads: int,
    seed: int,
    replicate: int = 0,
    budget: BudgetSpec | None = None,
    swept: Swept = (),
    schedule: ScheduleSpec = FIFO,
    profile: bool = False,
    check: bool = False,
) -> Point:
    """One point; *seed* is the experiment's, from which the point's own is derived."""
    digests = "".join(resolved.digest for resolved in (machine, design, workload))
    return Point(
        design.name,
        machine.name,
        workload.name,
        placement,
        threads,
        derive_seed(seed, workload.name, placement, threads, replicate),
        replicate,
        budget or BudgetSpec(),
        swept,
        hashlib.sha256(digests.encode()).hexdigest(),
        model.code_version(model.parts_of(design.spec)),
        machine.spec,
        design.spec,
        workload.spec,
        schedule,
        profile,
        check,
    )
