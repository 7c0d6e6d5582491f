"""From an experiment file to the points it asks for; every fault in any of its files is reported at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from sim.errors import Fault, InputError
from sim.experiment import floors, presets
from sim.experiment.axes import Assignment, Swept, assignments, size
from sim.experiment.document import Document, KeyPath
from sim.experiment.explain import distinct
from sim.experiment.filters import check_filters, stays
from sim.experiment.nearest import nearest
from sim.experiment.overrides import MEMBERS, Override, for_members, from_mapping, from_parameters
from sim.experiment.points import Point, derive_seed
from sim.experiment.presets import Kind
from sim.experiment.resolve import Resolved, SourceFile, placed, read, resolve, validate, variant
from sim.experiment.spec import ExperimentSpec, LimitsSpec

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.workload import WorkloadSpec

MAX_POINTS = 100_000

S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


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
    profile: bool = False
    """Whether its points are run with a report of counters and locks."""

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every point, in the order of the result tables."""
        spec = self.spec
        return tuple(
            make_point(
                cell.machine, cell.design, cell.workload, cell.placement, cell.threads, spec.seed, replicate,
                spec.limits, cell.assignment.swept, self.profile,
            )
            for cell in self.cells
            for replicate in range(spec.replicates)
            if _stays(cell, spec, replicate)
        )  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """Where a point stands in the grid."""

    machine: Resolved[MachineSpec]
    design: Resolved[DesignSpec]
    workload: Resolved[WorkloadSpec]
    placement: str
    assignment: Assignment
    threads: int


def make_point(
    machine: Resolved[MachineSpec],
    design: Resolved[DesignSpec],
    workload: Resolved[WorkloadSpec],
    placement: str,
    threads: int,
    seed: int,
    replicate: int = 0,
    limits: LimitsSpec | None = None,
    swept: Swept = (),
    profile: bool = False,
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
        limits or LimitsSpec(),
        swept,
        hashlib.sha256(digests.encode()).hexdigest(),
        machine.spec,
        design.spec,
        workload.spec,
        profile,
    )


def load(
    reference: str | Path, overrides: Mapping[str, object] | Sequence[Override] = (), *, quick: bool = False
) -> Experiment:
    """The experiment with this preset name or at this path.

    *overrides* replace values: `{"threads": [1, 8], "workload.layout.leaves": 64}`. They come after the
    experiment's own `parameters` and, with *quick*, after its quick profile. Raises `InputError` with every
    fault.
    """
    faults: list[Fault] = []
    given = from_mapping(overrides) if isinstance(overrides, Mapping) else list(overrides)
    path = presets.find("experiment", reference)
    if isinstance(path, Fault):
        raise InputError(path)
    files: list[SourceFile] = []
    outer = [o for o in given if o.target == "experiment"]
    document = read("experiment", path, faults, files, outer, quick)
    if document is None:
        raise InputError(distinct(faults))
    spec = cast(ExperimentSpec | None, validate("experiment", document, faults))
    own = [o for o in given if o.target != "experiment"]
    inner = from_parameters(document, faults) + own
    machines, designs, workloads = (_members(kind, document, path.parent, inner, faults) for kind in MEMBERS)
    members = (*machines, *designs, *workloads)
    _check(document, machines, designs, workloads, faults)
    special = for_members(document, [member.name for member in members], faults)
    combinations = assignments(document, own, faults)
    if spec is None or _size(document) > MAX_POINTS:
        raise InputError(distinct(faults))
    cells = Grid(spec, document, machines, designs, workloads, special, own, faults).cells(list(combinations))
    if faults:
        raise InputError(distinct(faults))
    used = dict.fromkeys([*files, *(file for member in members for file in member.files)])
    return Experiment(spec, document, machines, designs, workloads, tuple(used), tuple(cells))


@dataclass
class Grid:
    """All that a point may be made of, and the variants of the files that swept values make."""

    spec: ExperimentSpec
    document: Document
    machines: Sequence[Resolved[MachineSpec]]
    designs: Sequence[Resolved[DesignSpec]]
    workloads: Sequence[Resolved[WorkloadSpec]]
    special: Mapping[str, Sequence[Override]]
    """The experiment's `overrides`, by name."""
    given: Sequence[Override]
    """Those of the caller, which come after `overrides`."""
    faults: list[Fault]
    """What is wrong, with other parts of the experiment too."""
    _variants: dict[object, Resolved[Any] | None] = field(default_factory=dict)

    def cells(self, combinations: Sequence[Assignment]) -> list[Cell]:
        """Every cell that the filters leave, in order; what is wrong with one goes to *faults*."""
        spec = self.spec
        cells = [
            cell
            for machine in self.machines
            for workload in self.workloads
            for placement in spec.placements or workload.spec.placement_names or ("",)
            for assignment in combinations
            for design in self.designs
            for threads in spec.threads
            if any(
                _stays(cell, spec, replicate)
                for cell in [Cell(machine, design, workload, placement, assignment, threads)]
                for replicate in range(spec.replicates)
            )
            if (cell := self._varied(Cell(machine, design, workload, placement, assignment, threads)))
        ]
        self._refuse_misfits(cells)
        if not cells and not self.faults:
            key = "only" if spec.only else "exclude"
            self.faults.append(self.document.fault((key,), "no point is left", at_key=True))
        return cells

    def _varied(self, cell: Cell) -> Cell | None:
        """The cell with its files as the swept values and the `overrides` make them."""
        names = (cell.machine.name, cell.design.name, cell.workload.name)
        extra = [override for name in names for override in self.special.get(name, ())]
        machine = self._variant(cell.machine, extra, cell.assignment)
        design = self._variant(cell.design, extra, cell.assignment)
        workload = self._variant(cell.workload, extra, cell.assignment)
        if machine is None or design is None or workload is None:
            return None
        if cell.threads > machine.spec.cpus:
            self._refuse_threads(cell.threads, machine)
        if refusal := design.spec.refuses(machine.spec):
            self.faults.append(self.document.fault(("designs",), refusal, value=design.name))
        if missing := floors.lacking(design.spec, workload.spec):
            place: KeyPath = ("designs", [member.name for member in self.designs].index(cell.design.name))
            self.faults.append(self.document.fault(place, missing))
        known = workload.spec.placement_names
        if workload is not cell.workload and cell.placement and cell.placement not in known:
            message = f"the workload {workload.name} has no placement {cell.placement!r} with these values"
            self.faults.append(self.document.fault((), message))
        return replace(cell, machine=machine, design=design, workload=workload)

    def _variant(
        self, member: Resolved[S], extra: Sequence[Override], assignment: Assignment
    ) -> Resolved[S] | None:
        special = [override for override in extra if override.target == member.kind]
        swept = [override for override in assignment.overrides if override.target == member.kind]
        if not special and not swept:
            return member
        values = [(override.path, repr(override.value)) for override in (*special, *swept)]
        key = (member.kind, member.name, tuple(values))
        if key not in self._variants:
            given = [override for override in self.given if override.target == member.kind]
            self._variants[key] = variant(member, [*special, *given, *swept], self.faults)
        return self._variants[key]

    def _refuse_misfits(self, cells: Sequence[Cell]) -> None:
        """Workloads that cannot run on a machine, each at its largest number of threads."""
        largest: dict[object, Cell] = {}
        for cell in cells:
            known = cell.workload.spec.placement_names or ("",)
            if cell.threads > cell.machine.spec.cpus or cell.placement not in known:
                continue  # refused as it is
            key = (id(cell.machine), id(cell.workload), cell.placement)
            if key not in largest or largest[key].threads < cell.threads:
                largest[key] = cell
        for cell in largest.values():
            workload = cell.workload
            fault = floors.misfit(cell.machine.spec, workload.spec, cell.placement, cell.threads)
            if fault is not None:
                key_path: KeyPath = (fault.key or "",)
                overlaid: KeyPath = ("placements", cell.placement, *key_path)
                at = overlaid if overlaid in workload.document.marks else key_path
                self.faults.append(placed(fault, workload.document.fault(at, fault.message)))

    def _refuse_threads(self, threads: int, machine: Resolved[MachineSpec]) -> None:
        place: KeyPath = ("threads", self.spec.threads.index(threads))
        message = f"more threads than {machine.name} has cpus"
        allowed = f"1 to {machine.spec.cpus}"
        self.faults.append(self.document.fault(place, message, value=threads, allowed=allowed))


def _stays(cell: Cell, spec: ExperimentSpec, replicate: int) -> bool:
    if not spec.only and not spec.exclude:
        return True
    values = {
        "machine": cell.machine.name,
        "design": cell.design.name,
        "workload": cell.workload.name,
        "placement": cell.placement,
        "threads": cell.threads,
        "replicate": replicate,
        **{override.written: override.value for override in cell.assignment.overrides},
    }
    return stays(values, spec.only, spec.exclude)


def _members(
    kind: Kind, document: Document, base: Path, overrides: Sequence[Override], faults: list[Fault]
) -> tuple[Resolved[Any], ...]:
    """The machines, designs or workloads that an experiment names, less those that have faults."""
    mine = [override for override in overrides if override.target == kind]
    members: list[Resolved[Any]] = []
    for index, reference in _items(document, f"{kind}s", str):
        place = document.fault((f"{kind}s", index), f"the same {kind} twice", value=reference)
        path = presets.find(kind, reference, base)
        if isinstance(path, Fault):
            faults.append(placed(path, place))
            continue
        member = resolve(kind, path, faults, mine)
        if member is None:
            continue
        if any(member.name == other.name for other in members):
            faults.append(place)
        members.append(member)
    return tuple(members)


def _check(
    document: Document,
    machines: Sequence[Resolved[MachineSpec]],
    designs: Sequence[Resolved[DesignSpec]],
    workloads: Sequence[Resolved[WorkloadSpec]],
    faults: list[Fault],
) -> None:
    """What only the files together can tell: placements, filters, and the size of the grid."""
    for key in ("threads", "placements"):
        values = [value for _, value in _items(document, key, int if key == "threads" else str)]
        for index, value in enumerate(values):
            if value in values[:index]:
                faults.append(document.fault((key, index), f"the same value twice in {key}", value=value))
    for index, threads in _items(document, "threads", int) if not _varies(document) else ():
        for machine in machines:
            cpus = machine.spec.cpus
            if threads > cpus:
                message = f"more threads than {machine.name} has cpus"
                place: KeyPath = ("threads", index)
                faults.append(document.fault(place, message, value=threads, allowed=f"1 to {cpus}"))
    for index, placement in _items(document, "placements", str):
        for workload in workloads:
            known = workload.spec.placement_names
            if placement not in known:
                faults.append(
                    document.fault(
                        ("placements", index),
                        f"the workload {workload.name} has no such placement",
                        value=placement,
                        allowed=", ".join(known) or "leave `placements` out",
                        suggestion=nearest(placement, known),
                    )
                )
    if (total := _size(document)) > MAX_POINTS:
        faults.append(document.fault((), "too many points", value=total, allowed=f"at most {MAX_POINTS}"))
    names = {
        "machine": [machine.name for machine in machines],
        "design": [design.name for design in designs],
        "workload": [workload.name for workload in workloads],
        "placement": [value for _, value in _items(document, "placements", str)]
        or [name for workload in workloads for name in workload.spec.placement_names],
    }
    check_filters(document, names, faults)


def _varies(document: Document) -> bool:
    """Whether some points differ in more than the lists of the experiment say."""
    return any(key in document.tree for key in ("overrides", "sweep", "zip", "only", "exclude"))


def _size(document: Document) -> int:
    """How many points there are before any filter."""
    lists = ("machines", "designs", "workloads", "placements", "threads")
    total = prod(max(1, len(document.tree[key])) for key in lists if isinstance(document.tree.get(key), list))
    replicates = document.tree.get("replicates", 1)
    return total * size(document) * (replicates if isinstance(replicates, int) else 1)


def _items(document: Document, key: str, kind: type[T]) -> list[tuple[int, T]]:
    """The items of a list that have the right type: what the model refuses is its own fault already."""
    items = document.tree.get(key)
    if not isinstance(items, list):
        return []
    return [(index, item) for index, item in enumerate(items) if type(item) is kind]
