"""From the name of a file to its typed spec: read, inherit, strip the origins, override, validate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from sim.errors import Fault, InputError
from sim.experiment import floors, presets
from sim.experiment.axes import expand_ranges
from sim.experiment.document import Document, KeyPath
from sim.experiment.explain import distinct, explain
from sim.experiment.files import real
from sim.experiment.nearest import nearest
from sim.experiment.overrides import Override, apply
from sim.experiment.presets import Kind
from sim.experiment.provenance import split_provenance, unexplained
from sim.experiment.yaml_loader import display, read_document

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True)
class SourceFile:
    """A file that took part in a result."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Resolved(Generic[S]):
    """A spec with all that is known about where it came from."""

    kind: Kind
    spec: S
    digest: str
    """sha256 of what the files say and of the changes, origins and titles aside."""
    document: Document
    """What the files say. A sweep has thousands of variants of one document: they share it."""
    files: tuple[SourceFile, ...]
    changes: tuple[Override, ...] = ()
    """What the experiment says instead."""

    @property
    def name(self) -> str:
        return cast(str, self.document.tree["name"])

    @property
    def changed(self) -> Document:
        """The document with its changes, each with its place."""
        return apply(self.changes, self.document, [])


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
    if document is not None and kind == "experiment":
        document = expand_ranges(document, faults)
    spec = validate(kind, document, faults) if document else None
    if document is None or spec is None:
        return None
    return Resolved(kind, spec, _digest(document.tree), document, tuple(files))


def read(
    kind: Kind, path: Path, faults: list[Fault], files: list[SourceFile], overrides: Sequence[Override] = ()
) -> Document | None:
    """The file at *path* over the files it inherits from, with its overrides, as one plain document.

    *files* collects what was read.
    """
    document = _read_chain(kind, path, faults, files)
    if document is not None and kind in ("machine", "design"):
        faults += unexplained(document)  # a workload may name the source of its one or two numbers in place
    return apply(overrides, document, faults) if document else None


def variant(resolved: Resolved[S], overrides: Sequence[Override], faults: list[Fault]) -> Resolved[S] | None:
    """The same file with other values. None if its model refuses them."""
    kind, document = resolved.kind, resolved.document
    try:
        tree = document.tree_with([(override.inner, override.value) for override in overrides])
        spec = _model(kind, tree).model_validate_json(json.dumps(floors.in_new_form(kind, tree)))
    except (LookupError, ValidationError):  # once more, with the place of each value
        validate(kind, apply(overrides, document, faults), faults)
        return None
    shared = cast(S, _sharing(resolved.spec, spec))
    return replace(resolved, spec=shared, digest=_digest(tree), changes=tuple(overrides))


def _sharing(base: BaseModel, spec: BaseModel) -> BaseModel:
    """*spec*, with all that it has in common with *base* in memory once."""
    if type(spec) is not type(base):
        return spec
    changed = {}
    for name in type(spec).model_fields:
        old, new = getattr(base, name), getattr(spec, name)
        if old != new:
            both = isinstance(old, BaseModel) and isinstance(new, BaseModel)
            changed[name] = _sharing(old, new) if both else new
    return base.model_copy(update=changed)


def _digest(tree: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in tree.items() if key != "title"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _read_chain(
    kind: Kind, path: Path, faults: list[Fault], files: list[SourceFile], below: tuple[Path, ...] = ()
) -> Document | None:
    """The file at *path* over its parents; *below* are the files that led here."""
    document = read_document(path, faults)
    if document is None:
        return None
    files.append(SourceFile(display(path), document.sha256))
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
    chain = (*below, real(path))
    if isinstance(parent, Path) and real(parent) in chain:
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
        if not real(part_path).is_relative_to(real(path.parent)):
            message = "leaves the folder of the experiment"
            faults.append(document.fault(place, message, value=reference))
            continue
        part = read_document(part_path, faults)
        if part is None:
            continue
        files.append(SourceFile(display(part_path), part.sha256))
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
    try:
        model = _model(kind, document.tree)
    except InputError as error:
        faults += [placed(fault, document.fault(("family",), fault.message)) for fault in error.faults]
        return None
    try:
        # As JSON, because strict models take a list for a tuple from there only.
        return model.model_validate_json(json.dumps(floors.in_new_form(kind, document.tree)))
    except ValidationError as error:
        faults += explain(error, model, document)
        return None


def _model(kind: Kind, tree: Mapping[str, Any]) -> type[BaseModel]:
    """The model of a kind of file that says this. Raises `LookupError` for an unknown design family."""
    return floors.model(kind, tree.get("family") if kind == "design" else None)


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
