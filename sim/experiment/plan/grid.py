"""The grid of an experiment: its files with swept values and overrides, and what does not fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from sim.errors import Fault, InputError
from sim.experiment import model
from sim.experiment.plan.axes import Assignment
from sim.experiment.plan.experiment import Cell
from sim.files import (
    Document,
    ExperimentSpec,
    KeyPath,
    Override,
    Resolved,
    load_spec,
    parse_path,
    presets,
    variant,
)
from sim.quantities import format_duration

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.workload import WorkloadSpec

S = TypeVar("S", bound=BaseModel)


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
                cell.stays(spec, replicate)
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
        if cell.threads > machine.spec.cpus and not workload.spec.shares_cpus(cell.placement):
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
        if (id(design), id(workload)) in pairs and (missing := model.lacking(design.spec, workload.spec)):
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
            too_many = cell.threads > cell.machine.spec.cpus
            shares = cell.workload.spec.shares_cpus(cell.placement)
            if cell.placement not in known or (too_many and not shares):
                continue  # refused as it is
            key = (id(cell.machine), id(cell.workload), cell.placement, cell.design.spec.swap_pages)
            counts.setdefault(key, (cell, set()))[1].add(cell.threads)
        for cell, threads in counts.values():
            workload, placement = cell.workload, cell.placement
            fault = model.foresee(
                cell.machine.spec, cell.design.spec, workload.spec, placement, sorted(threads)
            )
            if fault is not None:
                self.faults.append(in_workload(fault, workload.changed, placement))
            self._refuse_long_windows(workload, placement)

    def _refuse_long_windows(self, workload: Resolved[WorkloadSpec], placement: str) -> None:
        window, most = workload.spec.window_of(placement), self.spec.budget.simulated_time
        if window is not None and window.least > most:
            message = f"the window of {workload.name} ends after {format_duration(window.least)}"
            place = ("budget", "simulated_time")
            value = self.document.at(place) or format_duration(most)
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
            if not model.lacking(spec, workload):
                found.append(name)
    return found


def in_workload(fault: Fault, document: Document, placement: str) -> Fault:
    """*fault*, whose key is a path of the workload, at the place where that was written."""
    path = document.locate(parse_path(fault.key or ""))
    overlaid: KeyPath = ("placements", placement, *path)
    inside = overlaid in document.positions or isinstance(document.at(overlaid[:3]), list)
    return fault.placed(document.fault(overlaid if inside else path, fault.message))
