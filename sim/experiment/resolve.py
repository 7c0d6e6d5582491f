"""From the name of a file to its typed spec: read, inherit, strip the origins, override, validate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from sim.errors import Fault, InputError
from sim.experiment import floors, presets
from sim.experiment.document import Document
from sim.experiment.explain import distinct, explain
from sim.experiment.nearest import nearest
from sim.experiment.overrides import Override, apply
from sim.experiment.presets import Kind
from sim.experiment.provenance import split_provenance
from sim.experiment.yaml_loader import display, read_document

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True)
class SourceFile:
    """A file that took part in a result."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Resolved(Generic[S]):
    """A spec with all that is known about where it came from."""

    kind: Kind
    spec: S
    document: Document
    files: tuple[SourceFile, ...]

    @property
    def name(self) -> str:
        return cast(str, self.document.tree["name"])

    @property
    def digest(self) -> str:
        """sha256 of what the files say, origins and titles aside."""
        tree = {key: value for key, value in self.document.tree.items() if key != "title"}
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def load_spec(kind: Kind, reference: str | Path, overrides: Sequence[Override] = ()) -> Resolved[BaseModel]:
    """The machine, design, workload or experiment that *reference* names. Raises `InputError`."""
    faults: list[Fault] = []
    path = presets.find(kind, reference)
    resolved = path if isinstance(path, Fault) else resolve(kind, path, faults, overrides)
    if isinstance(resolved, Fault):
        raise InputError(resolved)
    if resolved is None or faults:
        raise InputError(distinct(faults))
    return resolved


def resolve(
    kind: Kind, path: Path, faults: list[Fault], overrides: Sequence[Override] = ()
) -> Resolved[BaseModel] | None:
    """The spec in the file at *path*; what is wrong goes to *faults*. None if it is unusable."""
    files: list[SourceFile] = []
    document = read(kind, path, faults, files, overrides)
    spec = validate(kind, document, faults) if document else None
    return Resolved(kind, spec, document, tuple(files)) if document and spec else None


def read(
    kind: Kind, path: Path, faults: list[Fault], files: list[SourceFile], overrides: Sequence[Override] = ()
) -> Document | None:
    """The file at *path* over the files it inherits from, with its overrides, as one plain document.

    *files* collects what was read.
    """
    document = _read_chain(kind, path, faults, files)
    return apply(overrides, document, faults) if document else None


def _read_chain(
    kind: Kind, path: Path, faults: list[Fault], files: list[SourceFile], below: tuple[Path, ...] = ()
) -> Document | None:
    """The file at *path* over its parents; *below* are the files that led here."""
    document = read_document(path, faults)
    if document is None:
        return None
    files.append(SourceFile(display(path), hashlib.sha256(path.read_bytes()).hexdigest()))
    if kind == "experiment":
        document = _one_machine(document, faults)
    else:
        document = split_provenance(document, faults)
    name = document.tree.get("name")
    if isinstance(name, str) and name != path.stem:
        message = "the name must be that of the file"
        faults.append(document.fault(("name",), message, value=name, allowed=path.stem))
    if "inherits" not in document.tree:
        return document
    reference = document.tree["inherits"]
    place = document.fault(("inherits",), "must be the name of a file of the same kind", value=reference)
    parent = presets.find(kind, reference, path.parent) if isinstance(reference, str) else place
    chain = (*below, path.resolve())
    if isinstance(parent, Path) and parent.resolve() in chain:
        names = " -> ".join(file.stem for file in (*chain, parent))
        parent = Fault(f"inherits from itself: {names}")
    if isinstance(parent, Fault):
        faults.append(placed(parent, place))
        return None
    inherited = _read_chain(kind, parent, faults, files, chain)
    return inherited.overlaid(document.without("inherits")) if inherited else None


def validate(kind: Kind, document: Document, faults: list[Fault]) -> BaseModel | None:
    """The typed spec of a plain document; what its model refuses goes to *faults*."""
    family = document.tree.get("family") if kind == "design" else None
    if family is not None and (not isinstance(family, str) or family not in floors.families()):
        known = list(floors.families())
        faults.append(
            document.fault(
                ("family",),
                "unknown design family",
                value=family,
                allowed=", ".join(known),
                suggestion=nearest(str(family), known),
            )
        )
        return None
    if kind == "workload" and document.tree.get("family") == "bench":
        family = "bench"
    model = floors.model(kind, family)
    try:
        # As JSON, because strict models take a list for a tuple from there only.
        return model.model_validate_json(json.dumps(document.tree))
    except ValidationError as error:
        faults += explain(error, model, document)
        return None


def _one_machine(document: Document, faults: list[Fault]) -> Document:
    """`machine: x` is short for `machines: [x]`."""
    if "machine" not in document.tree:
        return document
    if "machines" in document.tree:
        faults.append(document.fault(("machine",), "write `machine` or `machines`, not both", at_key=True))
        return document.without("machine")
    mark = document.mark(("machine",))
    document = document.renamed("machine", "machines")
    if not isinstance(document.tree["machines"], str):
        return document
    return document.with_value(("machines",), [document.tree["machines"]], mark)


def placed(fault: Fault, at: Fault) -> Fault:
    """*fault*, which knows what is wrong, at the place of *at*, which knows where."""
    return Fault(
        fault.message,
        at.file,
        at.line,
        at.column,
        at.key,
        at.value if fault.value is None else fault.value,
        fault.allowed,
        fault.suggestion,
    )
