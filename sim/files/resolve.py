"""From the name of a file to its typed spec: read, inherit, override, validate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from sim.errors import Fault, InputError, nearest
from sim.files import presets, spec_types
from sim.files.document import Document
from sim.files.explain import distinct, explain
from sim.files.inheritance import SourceFile, read_inherited
from sim.files.overrides import Override, apply_overrides
from sim.files.presets import Kind
from sim.files.ranges import expand_ranges

S = TypeVar("S", bound=BaseModel)


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
        return apply_overrides(self.changes, self.document, [])


def load_spec(kind: Kind, reference: str | Path, overrides: Sequence[Override] = ()) -> Resolved[BaseModel]:
    """The machine, design, workload or experiment that *reference* names. Raises `InputError`."""
    faults: list[Fault] = []
    path = presets.find(kind, reference)
    resolved = path if isinstance(path, Fault) else resolve_spec(kind, path, faults, overrides)
    if isinstance(resolved, Fault):
        raise InputError(resolved)
    if resolved is None or faults:
        raise InputError(distinct(faults))
    return resolved


def resolve_spec(
    kind: Kind, path: Path, faults: list[Fault], overrides: Sequence[Override] = ()
) -> Resolved[BaseModel] | None:
    """The spec in the file at *path*; what is wrong goes to *faults*. None if it is unusable."""
    files: list[SourceFile] = []
    document = read_inherited(kind, path, faults, files, overrides)
    if document is not None and kind == "experiment":
        document = expand_ranges(document, faults)
    spec = validate(kind, document, faults) if document else None
    if document is None or spec is None:
        return None
    return Resolved(kind, spec, _digest(document.tree), document, tuple(files))


def variant(resolved: Resolved[S], overrides: Sequence[Override], faults: list[Fault]) -> Resolved[S] | None:
    """The same file with other values. None if its model refuses them."""
    kind, document = resolved.kind, resolved.document
    try:
        tree = document.tree_with([(override.inner, override.value) for override in overrides])
        spec = _model(kind, tree).model_validate_json(json.dumps(spec_types.in_new_form(kind, tree)))
    except (LookupError, ValidationError):  # once more, with the place of each value
        validate(kind, apply_overrides(overrides, document, faults), faults)
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


def validate(kind: Kind, document: Document, faults: list[Fault]) -> BaseModel | None:
    """The typed spec of a plain document; what its model refuses goes to *faults*."""
    family = document.tree.get("family") if kind == "design" else None
    if family is not None and (not isinstance(family, str) or family not in spec_types.families()):
        known = list(spec_types.families())
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
        faults += [fault.placed(document.fault(("family",), fault.message)) for fault in error.faults]
        return None
    try:
        # As JSON, because strict models take a list for a tuple from there only.
        return model.model_validate_json(json.dumps(spec_types.in_new_form(kind, document.tree)))
    except ValidationError as error:
        faults += explain(error, model, document)
        return None


def _model(kind: Kind, tree: Mapping[str, Any]) -> type[BaseModel]:
    """The model of a kind of file that says this. Raises `LookupError` for an unknown design family."""
    return spec_types.of(kind, tree.get("family") if kind == "design" else None)
