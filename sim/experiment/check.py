"""Checking files without running them."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from sim.errors import Fault, InputError
from sim.experiment import floors, presets
from sim.experiment.explain import distinct
from sim.experiment.nearest import nearest
from sim.experiment.plan import load
from sim.experiment.presets import KINDS, Kind
from sim.experiment.resolve import Resolved, load_spec
from sim.experiment.yaml_loader import display, read_document


def check_file(path: Path) -> tuple[Kind, str]:
    """Check one file of any kind, and all it refers to: its kind and its name. Raises `InputError`."""
    kind = kind_of(path)
    return kind, load(path).name if kind == "experiment" else load_spec(kind, path).name


def kind_of(path: Path) -> Kind:
    """What a file is: by the folder it lies in, by what it inherits from, or by the keys it has."""
    for kind in KINDS:
        if path.resolve().parent.name == presets.folder(kind).name:
            return kind
    faults: list[Fault] = []
    document = read_document(path, faults)
    if document is None:
        raise InputError(distinct(faults))
    parents = [kind for kind in KINDS if document.tree.get("inherits") in presets.names(kind)]
    if len(parents) == 1:
        return parents[0]
    known = {kind: sum(key in floors.model(kind).model_fields for key in document.tree) for kind in KINDS}
    best = max(known, key=lambda kind: known[kind])
    if list(known.values()).count(known[best]) > 1:
        message = "cannot tell what this file describes: its keys fit no single kind"
        folders = ", ".join(presets.folder(kind).name for kind in KINDS)
        raise InputError(Fault(message, display(path), allowed=f"put it in one of the folders {folders}"))
    return best


def find_any(reference: str) -> list[Resolved[BaseModel]]:
    """All files that a name may mean, whatever their kind, or the one at a path. Raises `InputError`."""
    if presets.is_path(reference):
        path = Path(reference)
        return [load_spec(kind_of(path), path)]
    kinds = [kind for kind in KINDS if reference in presets.names(kind)]
    if not kinds:
        known = [name for kind in KINDS for name in presets.names(kind)]
        raise InputError(
            Fault(
                "no preset of this name",
                value=reference,
                allowed="a name that cortensim list prints, or a path to a .yaml file",
                suggestion=nearest(reference, known),
            )
        )
    return [load_spec(kind, reference) for kind in kinds]
