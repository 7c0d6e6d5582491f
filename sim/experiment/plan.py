"""From an experiment file to the points it asks for; every fault in any of its files is reported at once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sim.errors import Fault, InputError
from sim.experiment import presets
from sim.experiment.document import Document, KeyPath
from sim.experiment.explain import distinct
from sim.experiment.nearest import nearest
from sim.experiment.overrides import MEMBERS, Override, from_mapping, from_parameters
from sim.experiment.points import Point, derive_seed
from sim.experiment.presets import Kind
from sim.experiment.resolve import Resolved, SourceFile, placed, read, resolve, validate
from sim.experiment.spec import ExperimentSpec, LimitsSpec

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.workload import WorkloadSpec

MAX_POINTS = 100_000

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

    @property
    def name(self) -> str:
        return self.spec.name

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every point, in the order of the result tables."""
        spec = self.spec
        return tuple(
            make_point(machine, design, workload, placement, threads, spec.seed, replicate, spec.limits)
            for machine in self.machines
            for workload in self.workloads
            for placement in spec.placements or workload.spec.placement_names or ("",)
            for design in self.designs
            for threads in spec.threads
            for replicate in range(spec.replicates)
        )


def make_point(
    machine: Resolved[MachineSpec],
    design: Resolved[DesignSpec],
    workload: Resolved[WorkloadSpec],
    placement: str,
    threads: int,
    seed: int,
    replicate: int = 0,
    limits: LimitsSpec | None = None,
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
        hashlib.sha256(digests.encode()).hexdigest(),
        machine.spec,
        design.spec,
        workload.spec,
    )


def load(reference: str | Path, overrides: Mapping[str, object] | Sequence[Override] = ()) -> Experiment:
    """The experiment with this preset name or at this path.

    *overrides* replace values: `{"threads": [1, 8], "workload.layout.leaves": 64}`. They come after the
    experiment's own `parameters`. Raises `InputError` with every fault.
    """
    faults: list[Fault] = []
    given = from_mapping(overrides) if isinstance(overrides, Mapping) else list(overrides)
    path = presets.find("experiment", reference)
    if isinstance(path, Fault):
        raise InputError(path)
    files: list[SourceFile] = []
    document = read("experiment", path, faults, files, [o for o in given if o.target == "experiment"])
    if document is None:
        raise InputError(distinct(faults))
    spec = cast(ExperimentSpec | None, validate("experiment", document, faults))
    inner = from_parameters(document, faults) + [o for o in given if o.target != "experiment"]
    machines, designs, workloads = (_members(kind, document, path.parent, inner, faults) for kind in MEMBERS)
    _check(document, machines, workloads, faults)
    if spec is None or faults:
        raise InputError(distinct(faults))
    members = (*machines, *designs, *workloads)
    used = dict.fromkeys([*files, *(file for member in members for file in member.files)])
    return Experiment(spec, document, machines, designs, workloads, tuple(used))


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
    workloads: Sequence[Resolved[WorkloadSpec]],
    faults: list[Fault],
) -> None:
    """What only the files together can tell: thread counts, placements, and the size of the grid."""
    for key in ("threads", "placements"):
        values = [value for _, value in _items(document, key, int if key == "threads" else str)]
        for index, value in enumerate(values):
            if value in values[:index]:
                faults.append(document.fault((key, index), f"the same value twice in {key}", value=value))
    for index, threads in _items(document, "threads", int):
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
    lists = ("machines", "designs", "workloads", "placements", "threads")
    total = prod(max(1, len(document.tree[key])) for key in lists if isinstance(document.tree.get(key), list))
    replicates = document.tree.get("replicates", 1)
    total *= replicates if isinstance(replicates, int) else 1
    if total > MAX_POINTS:
        faults.append(document.fault((), "too many points", value=total, allowed=f"at most {MAX_POINTS}"))


def _items(document: Document, key: str, kind: type[T]) -> list[tuple[int, T]]:
    """The items of a list that have the right type: what the model refuses is its own fault already."""
    items = document.tree.get(key)
    if not isinstance(items, list):
        return []
    return [(index, item) for index, item in enumerate(items) if type(item) is kind]
