"""What kind a file is, and all files that a name may mean."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from sim.errors import Fault, InputError, nearest
from sim.files import presets, spec_types
from sim.files.disk import display, real
from sim.files.document import Document
from sim.files.explain import distinct
from sim.files.loader import read_document
from sim.files.presets import KINDS, Kind
from sim.files.resolve import Resolved, load_spec


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


def kind_of(path: Path) -> Kind:
    """What a file is: by its keys and those of the files it inherits from, else by the folder it lies in,
    or the one above."""
    faults: list[Fault] = []
    document = read_document(path, faults)
    if document is None:
        raise InputError(distinct(faults))
    keys = _keys(path, document, faults)
    fitting = {
        kind: max(len(keys & set(model.model_fields)) for model in spec_types.all_of(kind)) for kind in KINDS
    }
    fitting["experiment"] += len(keys & {"machine", "include"})  # read before its model is
    best = [kind for kind in KINDS if fitting[kind] == max(fitting.values())]
    if len(best) > 1:  # few keys fit several kinds, of which some need more
        best = [
            kind for kind in best if any(_needs(model) <= keys for model in spec_types.all_of(kind))
        ] or best
    above = [folder.name for folder in real(path).parents[:2]]
    here = [kind for kind in best if presets.folder(kind).name in above]
    if len(best) > 1 and not here:
        message = "cannot tell what this file describes: its keys fit no single kind"
        folders = ", ".join(presets.folder(kind).name for kind in KINDS)
        allowed = f"put it in one of the folders {folders}"
        raise InputError(distinct(faults) or Fault(message, display(path), allowed=allowed))
    return (here or best)[0]


def _keys(path: Path, document: Document, faults: list[Fault], below: tuple[Path, ...] = ()) -> set[str]:
    """The top-level keys of a file, and of what it inherits from where that is of one kind."""
    keys = set(spec_types.in_new_form("workload", document.tree))
    reference, chain = document.tree.get("inherits"), (*below, real(path))
    if isinstance(reference, str):
        found = {presets.find(kind, reference, path.parent) for kind in KINDS}
        parents = [parent for parent in found if isinstance(parent, Path) and real(parent) not in chain]
        parent = read_document(parents[0], faults) if len(parents) == 1 else None
        if parent is not None:
            keys |= _keys(parents[0], parent, faults, chain)
    return keys


def _needs(model: type[BaseModel]) -> set[str]:
    """The keys that a file of this model cannot leave out."""
    return {name for name, field in model.model_fields.items() if field.is_required()}
