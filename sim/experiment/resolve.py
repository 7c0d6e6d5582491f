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
from sim.experiment.axes import expand_ranges
from sim.experiment.document import Document, KeyPath
from sim.experiment.explain import distinct, explain
from sim.experiment.nearest import nearest
from sim.experiment.overrides import Override, apply, from_quick
from sim.experiment.presets import Kind
from sim.experiment.provenance import split_provenance, unexplained
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
    kind: Kind,
    path: Path,
    faults: list[Fault],
    files: list[SourceFile],
    overrides: Sequence[Override] = (),
    quick: bool = False,
) -> Document | None:
    """The file at *path* over the files it inherits from, with its overrides, as one plain document.

    *files* collects what was read. *quick* puts an experiment's quick profile in force.
    """
    document = _read_chain(kind, path, faults, files)
    if document is None:
        return None
    if kind in ("machine", "design"):  # a workload may name the source of its one or two numbers in place
        faults += unexplained(document)
    if quick:
        document = apply(from_quick(document, faults), document, faults)
    document = apply(overrides, document, faults)
    return expand_ranges(document, faults) if kind == "experiment" else document


def variant(resolved: Resolved[S], overrides: Sequence[Override], faults: list[Fault]) -> Resolved[S] | None:
    """The same file with other values. None if its model refuses them."""
    document = apply(overrides, resolved.document, faults)
    spec = validate(resolved.kind, document, faults)
    return Resolved(resolved.kind, cast(S, spec), document, resolved.files) if spec else None


def _read_chain(
    kind: Kind, path: Path, faults: list[Fault], files: list[SourceFile], below: tuple[Path, ...] = ()
) -> Document | None:
    """The file at *path* over its parents; *below* are the files that led here."""
    document = read_document(path, faults)
    if document is None:
        return None
    files.append(SourceFile(display(path), hashlib.sha256(path.read_bytes()).hexdigest()))
    if kind == "experiment":
        document = _included(_one_machine(document, faults), path, faults, files)
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


def _included(document: Document, path: Path, faults: list[Fault], files: list[SourceFile]) -> Document:
    """An experiment over the files in its `include`: parts that several experiments share.

    They lie in or below the experiment's own folder, and include nothing themselves.
    """
    written = document.tree.get("include")
    references = written if isinstance(written, list) else [] if written is None else [written]
    below: Document | None = None
    for index, reference in enumerate(references):
        place: KeyPath = ("include", index) if isinstance(written, list) else ("include",)
        if not isinstance(reference, str) or not reference:
            faults.append(document.fault(place, "must be the path of a YAML file", value=reference))
            continue
        part_path = path.parent / reference
        if not part_path.resolve().is_relative_to(path.parent.resolve()):
            message = "leaves the folder of the experiment"
            faults.append(document.fault(place, message, value=reference))
            continue
        part = read_document(part_path, faults)
        if part is None:
            continue
        files.append(SourceFile(display(part_path), hashlib.sha256(part_path.read_bytes()).hexdigest()))
        if "include" in part.tree:
            faults.append(part.fault(("include",), "an included file cannot include another", at_key=True))
        part = _one_machine(part, faults)
        below = below.overlaid(part) if below else part
    document = document.without("include")
    return below.without("include").overlaid(document) if below else document


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
    try:
        model = floors.model(kind, family)
    except InputError as error:
        faults += [placed(fault, document.fault(("family",), fault.message)) for fault in error.faults]
        return None
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
