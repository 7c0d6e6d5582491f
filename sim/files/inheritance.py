"""A file over those that it inherits from or includes, as one document whose values know their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.errors import Fault
from sim.files import presets
from sim.files.disk import display, real
from sim.files.document import Document, KeyPath
from sim.files.loader import read_document
from sim.files.overrides import Override, apply_overrides
from sim.files.presets import Kind
from sim.files.provenance import split_provenance, unexplained


@dataclass(frozen=True)
class SourceFile:
    """A file that took part in a result."""

    path: str
    sha256: str


def read_inherited(
    kind: Kind, path: Path, faults: list[Fault], files: list[SourceFile], overrides: Sequence[Override] = ()
) -> Document | None:
    """The file at *path* over the files it inherits from, with its overrides, as one plain document.

    *files* collects what was read.
    """
    document = _read_chain(kind, path, faults, files)
    if document is not None and kind in ("machine", "design"):
        faults += unexplained(document)  # a workload may name the source of its one or two numbers in place
    return apply_overrides(overrides, document, faults) if document else None


def _read_chain(
    kind: Kind, path: Path, faults: list[Fault], files: list[SourceFile], below: tuple[Path, ...] = ()
) -> Document | None:
    """The file at *path* over its parents; *below* are the files that led here."""
    document = read_document(path, faults)
    if document is None:
        return None
    files.append(SourceFile(display(path), document.sha256))
    if kind == "experiment":
        document = _included(_in_full(document, faults), path, faults, files)
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
        faults.append(parent.placed(place))
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
        part = _in_full(part, faults)
        below = below.overlaid(part) if below else part
    document = document.without("include")
    return below.without("include").overlaid(document) if below else document


def _in_full(document: Document, faults: list[Fault]) -> Document:
    """An experiment's keys as its model reads them.

    `machine: x` is short for `machines: [x]`, and `limits` is what `budget` was called up to version 0.1.
    """
    if "limits" in document.tree and "budget" not in document.tree:
        document = document.renamed("limits", "budget")
    if "machine" not in document.tree:
        return document
    if "machines" in document.tree:
        faults.append(document.fault(("machine",), "write `machine` or `machines`, not both", at_key=True))
        return document.without("machine")
    position = document.position(("machine",))
    document = document.renamed("machine", "machines")
    if not isinstance(document.tree["machines"], str):
        return document
    return document.with_value(("machines",), [document.tree["machines"]], position)
