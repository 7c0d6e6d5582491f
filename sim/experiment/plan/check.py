"""Checking files without running them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from sim.errors import InputError
from sim.experiment import model
from sim.experiment.plan.grid import in_workload
from sim.experiment.plan.loading import load
from sim.files import Kind, distinct, kind_of, load_spec

if TYPE_CHECKING:
    from sim.workload import WorkloadSpec


def check_file(path: Path) -> tuple[Kind, str]:
    """Check one file of any kind, and all it refers to: its kind and its name. Raises `InputError`."""
    kind = kind_of(path)
    if kind == "experiment":
        return kind, load(path).name
    resolved = load_spec(kind, path)
    if kind == "workload":
        spec = cast("WorkloadSpec", resolved.spec)
        faults = {placement: model.never_works(spec, placement) for placement in spec.placement_names or [""]}
        found = [in_workload(fault, resolved.document, name) for name, fault in faults.items() if fault]
        if found:
            raise InputError(distinct(found))
    return kind, resolved.name
