"""From an experiment file to the points it asks for; every fault in any of its files is reported at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from sim.engine.units import format_duration
from sim.errors import Fault, InputError
from sim.experiment import floors, presets
from sim.experiment.axes import Assignment, assignments, expand_ranges, size
from sim.experiment.document import Document, KeyPath, parse_path
from sim.experiment.explain import distinct
from sim.experiment.filters import check_filters, stays
from sim.experiment.nearest import nearest
from sim.experiment.overrides import (
    MEMBERS,
    Override,
    apply,
    for_members,
    from_mapping,
    from_parameters,
    from_quick,
)
from sim.experiment.points import Point, Swept, derive_seed
from sim.experiment.presets import Kind
from sim.experiment.resolve import (
    Resolved,
    SourceFile,
    load_spec,
    placed,
    read,
    resolve,
    validate,
    variant,
)
from sim.experiment.schedules import FIFO, ScheduleSpec
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
    replayed: Point | None = None
    """The only point, where the decisions of an earlier run are to be repeated."""
    profile: bool = False
    """Whether its points are run with a report of counters and locks."""

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every point, in the order of the result tables."""
        if self.replayed is not None:
            return (self.replayed,)
        spec = self.spec
        return tuple(
            make_point(
                cell.machine, cell.design, cell.workload, cell.placement, cell.threads, spec.seed, replicate,
                spec.limits, cell.assignment.swept, spec.schedule, self.profile,
            )
            for cell in self.cells
            for replicate in range(spec.replicates)
            if _stays(cell, spec, replicate)
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
    schedule: ScheduleSpec = FIFO,
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
        floors.code_version(floors.parts_of(design.spec)),
        machine.spec,
        design.spec,
        workload.spec,
        schedule,
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
    written = read("experiment", path, faults, files)
    if written is None:
        raise InputError(distinct(faults))
    outer = from_quick(written, faults) if quick else []
    outer += [o for o in given if o.target == "experiment"]
    document = expand_ranges(apply(outer, written, faults), faults)
    spec = cast(ExperimentSpec | None, validate("experiment", document, faults))
    own = [o for o in given if o.target != "experiment"]
    inner = from_parameters(document, faults) + own
    machines, designs, workloads = (_members(kind, document, path.parent, inner, faults) for kind in MEMBERS)
    members = (*machines, *designs, *workloads)
    _check(document, machines, designs, workloads, faults)
    check_filters(document, _filterable(document, written, machines, designs, workloads), faults)
    left_out = [name for kind in MEMBERS for name in _named(written, f"{kind}s")]
    special = for_members(document, [member.name for member in members], left_out, faults)
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
    _met: set[tuple[int, int]] = field(default_factory=set)

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
        self._refuse_strangers(machine, design, workload)
        known = workload.spec.placement_names
        if workload is not cell.workload and cell.placement and cell.placement not in known:
            message = f"the workload {workload.name} has no such placement with these values"
            listed = self.spec.placements or ()
            place = ("placements", listed.index(cell.placement)) if cell.placement in listed else ("sweep",)
            self.faults.append(self.document.fault(place, message, value=cell.placement))
        return replace(cell, machine=machine, design=design, workload=workload)

    def _refuse_strangers(
        self, machine: Resolved[MachineSpec], design: Resolved[DesignSpec], workload: Resolved[WorkloadSpec]
    ) -> None:
        """Designs that cannot run on a machine, or lack what a workload needs; each pair once."""
        pairs = {(id(machine), id(design)), (id(design), id(workload))} - self._met
        self._met |= pairs
        if (id(machine), id(design)) in pairs and (refusal := design.spec.refuses(machine.spec)):
            self.faults.append(self.document.fault(("designs",), refusal, value=design.name))
        if (id(design), id(workload)) in pairs and (missing := floors.lacking(design.spec, workload.spec)):
            place: KeyPath = ("designs", [member.name for member in self.designs].index(design.name))
            message = f"{design.name} offers no {', no '.join(missing)}, which {workload.name} needs"
            allowed = ", ".join(offering(workload.spec)) or None
            self.faults.append(self.document.fault(place, message, allowed=allowed))

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
        """Workloads that cannot run on a machine with as many threads as the cells say."""
        counts: dict[object, tuple[Cell, set[int]]] = {}
        for cell in cells:
            known = cell.workload.spec.placement_names or ("",)
            if cell.threads > cell.machine.spec.cpus or cell.placement not in known:
                continue  # refused as it is
            key = (id(cell.machine), id(cell.workload), cell.placement)
            counts.setdefault(key, (cell, set()))[1].add(cell.threads)
        for cell, threads in counts.values():
            workload, placement = cell.workload, cell.placement
            fault = floors.foresee(cell.machine.spec, workload.spec, placement, sorted(threads))
            if fault is not None:
                self.faults.append(in_workload(fault, workload.changed, placement))
            self._refuse_long_windows(workload, placement)

    def _refuse_long_windows(self, workload: Resolved[WorkloadSpec], placement: str) -> None:
        window, limit = workload.spec.window_of(placement), self.spec.limits.simulated_time
        if window is not None and window.least > limit:
            message = f"the window of {workload.name} ends after {format_duration(window.least)}"
            place = ("limits", "simulated_time")
            value = self.document.at(place) or format_duration(limit)
            self.faults.append(self.document.fault(place, message, value=value, allowed="more than that"))

    def _refuse_threads(self, threads: int, machine: Resolved[MachineSpec]) -> None:
        place: KeyPath = ("threads", self.spec.threads.index(threads))
        message = f"more threads than {machine.name} has cpus"
        allowed = f"1 to {machine.spec.cpus}"
        self.faults.append(self.document.fault(place, message, value=threads, allowed=allowed))


def offering(workload: WorkloadSpec) -> list[str]:
    """The presets of designs that offer all that *workload* needs."""
    found = []
    for name in presets.names("design"):
        with suppress(InputError):  # a plug-in that cannot be used offers nothing
            spec = cast("DesignSpec", load_spec("design", name).spec)
            if not floors.lacking(spec, workload):
                found.append(name)
    return found


def in_workload(fault: Fault, document: Document, placement: str) -> Fault:
    """*fault*, whose key is a path of the workload, at the place where that was written."""
    path = document.locate(parse_path(fault.key or ""))
    overlaid: KeyPath = ("placements", placement, *path)
    inside = overlaid in document.marks or isinstance(document.at(overlaid[:3]), list)
    return placed(fault, document.fault(overlaid if inside else path, fault.message))


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
        from_caller = document.mark((f"{kind}s", index)).line is None
        path = presets.find(kind, reference, base, from_caller=from_caller)
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


def _filterable(
    document: Document,
    written: Document,
    machines: Sequence[Resolved[MachineSpec]],
    designs: Sequence[Resolved[DesignSpec]],
    workloads: Sequence[Resolved[WorkloadSpec]],
) -> dict[str, list[str]]:
    """The names that conditions may use: those of the points, and those that the file has and the caller
    has left out. Nobody has looked at the placements of workloads that were left out: any name will do.
    """
    names = {
        "machine": [machine.name for machine in machines],
        "design": [design.name for design in designs],
        "workload": [workload.name for workload in workloads],
    }
    if document.tree.get("workloads") == written.tree.get("workloads"):
        placements = [value for _, value in _items(document, "placements", str)]
        names["placement"] = placements or [n for w in workloads for n in w.spec.placement_names]
    return {key: list(dict.fromkeys([*known, *_named(written, f"{key}s")])) for key, known in names.items()}


def _named(written: Document, key: str) -> list[str]:
    """The names in a list of the file itself, and in that of its quick profile."""
    quick = written.tree.get("quick")
    places = [written.tree.get(key)]
    if isinstance(quick, dict):
        places += [quick.get(key), [quick.get(key.removesuffix("s"))]]  # `machine: x` is one of `machines`
    lists = [place for place in places if isinstance(place, list)]
    references = [item for items in lists for item in items if isinstance(item, str)]
    return [Path(item).stem if presets.is_path(item) else item for item in references]


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
