"""From an experiment file to the points it asks for; every fault in any of its files is reported at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from sim.errors import Fault, InputError, nearest
from sim.experiment.plan.axes import assignments, size
from sim.experiment.plan.experiment import Experiment
from sim.experiment.plan.filters import check_filters
from sim.experiment.plan.grid import Grid
from sim.files import (
    MEMBERS,
    Document,
    ExperimentSpec,
    KeyPath,
    Kind,
    Override,
    Resolved,
    SourceFile,
    apply_overrides,
    distinct,
    expand_ranges,
    for_members,
    from_mapping,
    from_parameters,
    from_quick,
    presets,
    read_inherited,
    resolve_spec,
    validate,
)

if TYPE_CHECKING:
    from sim.designs import DesignSpec
    from sim.hardware import MachineSpec
    from sim.workload import WorkloadSpec

MAX_POINTS = 100_000

S = TypeVar("S", bound=BaseModel)
T = TypeVar("T")


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
    written = read_inherited("experiment", path, faults, files)
    if written is None:
        raise InputError(distinct(faults))
    outer = from_quick(written, faults) if quick else []
    outer += [o for o in given if o.target == "experiment"]
    document = expand_ranges(apply_overrides(outer, written, faults), faults)
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


def _members(
    kind: Kind, document: Document, base: Path, overrides: Sequence[Override], faults: list[Fault]
) -> tuple[Resolved[Any], ...]:
    """The machines, designs or workloads that an experiment names, less those that have faults."""
    mine = [override for override in overrides if override.target == kind]
    members: list[Resolved[Any]] = []
    for index, reference in _items(document, f"{kind}s", str):
        place = document.fault((f"{kind}s", index), f"the same {kind} twice", value=reference)
        from_caller = document.position((f"{kind}s", index)).line is None
        path = presets.find(kind, reference, base, from_caller=from_caller)
        if isinstance(path, Fault):
            faults.append(path.placed(place))
            continue
        member = resolve_spec(kind, path, faults, mine)
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
            if threads > cpus and not any(_shares_cpus(workload) for workload in workloads):
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


def _shares_cpus(workload: Resolved[WorkloadSpec]) -> bool:
    """Whether some placement of *workload* may have more threads than there are cpus."""
    return any(workload.spec.shares_cpus(name) for name in workload.spec.placement_names or ("",))
