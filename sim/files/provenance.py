"""Sourced values: numbers that say how good they are and where they come from.

Any value of a machine, design or workload file may be written plainly, or with its origin:

    same_cluster: 49 ns
    same_cluster: {value: 49 ns, quality: derived, source: VM, note: half a round trip, range: [43 ns, 52 ns]}

The models read plain values only. This module takes the origins out, into a table beside the tree. The
key `value` is therefore reserved: a mapping that has it is a sourced value. A source is a short name, which a
top-level `sources:` of the file, or of one that it inherits from, explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sim.errors import Fault, nearest
from sim.files.document import Document, KeyPath, Position, Provenance, dotted

QUALITIES = ("measured", "published", "derived", "recalled", "estimated", "fitted")
_PARTS = ("value", "quality", "source", "note", "range")


def split_provenance(document: Document, faults: list[Fault]) -> Document:
    """The document with plain values only, its origins in `provenance` and its `sources:` in `sources`."""
    sources = document.tree.get("sources", {})
    if not isinstance(sources, dict) or not all(isinstance(text, str) for text in sources.values()):
        faults.append(document.fault(("sources",), "must map a short name to the text of a source"))
        sources = {}
    plain = _Splitter(document.without("sources"), sources, faults)
    tree = plain.value(document.without("sources").tree, (), ())
    return replace(
        document,
        tree=tree,
        positions=plain.positions,
        keys=plain.keys,
        provenance=plain.provenance,
        sources=sources,
    )


class _Splitter:
    """Walks a document; *old* paths lead through the sourced forms, *new* paths do not."""

    def __init__(self, document: Document, sources: Mapping[str, str], faults: list[Fault]) -> None:
        self.document = document
        self.sources = sources
        self.faults = faults
        self.positions: dict[KeyPath, Position] = {}
        self.keys: dict[KeyPath, Position] = {}
        self.provenance: dict[KeyPath, Provenance] = {}

    def value(self, value: Any, old: KeyPath, new: KeyPath) -> Any:
        if old in self.document.keys:
            self.keys[new] = self.document.keys[old]
        if isinstance(value, dict) and "value" in value and new:
            return self.sourced(value, old, new)
        self.positions[new] = self.document.position(old)
        if isinstance(value, dict):
            return {key: self.value(item, (*old, key), (*new, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*old, i), (*new, i)) for i, item in enumerate(value)]
        return value

    def sourced(self, form: dict[str, Any], old: KeyPath, new: KeyPath) -> Any:
        for key in form:
            if key not in _PARTS:
                self.faults.append(
                    self.document.fault(
                        (*old, key),
                        "unknown key in a sourced value"
                        + (": text with a comma needs quotes" if form[key] is None else ""),
                        at_key=True,
                        allowed=", ".join(_PARTS),
                        suggestion=nearest(key, _PARTS),
                    )
                )
        for key in ("quality", "source", "note"):
            if not isinstance(form.get(key), str | None):
                self.faults.append(self.document.fault((*old, key), "must be text", value=form[key]))
        source = form.get("source")
        quality = form.get("quality")
        if isinstance(quality, str) and quality not in QUALITIES:
            self.faults.append(
                self.document.fault(
                    (*old, "quality"),
                    "unknown quality",
                    value=quality,
                    allowed=", ".join(QUALITIES),
                    suggestion=nearest(quality, QUALITIES),
                )
            )
        if not isinstance(form.get("range", []), list):
            self.faults.append(self.document.fault((*old, "range"), "must be a list", value=form["range"]))
        plain = self.value(form["value"], (*old, "value"), new)
        keys = self.document.keys
        if old in keys:
            self.keys[new] = keys[old]
        self.provenance[new] = Provenance(
            plain,
            quality,
            source,
            form.get("note"),
            tuple(form["range"]) if isinstance(form.get("range"), list) else None,
            self.document.position((*old, "value")),
            self.document.position((*old, "source")),
            self.sources.get(source) if isinstance(source, str) else None,
        )
        return plain


def unexplained(document: Document) -> list[Fault]:
    """The source ids that neither the file nor one that it inherits from explains."""
    faults = []
    for path, origin in document.provenance.items():
        if isinstance(origin.source, str) and origin.source_text is None:
            position = origin.source_position or origin.position
            faults.append(
                Fault(
                    "no `sources:` says what this source is",
                    position.file,
                    position.line,
                    position.column,
                    f"{dotted(path)}.source",
                    origin.source,
                    ", ".join(document.sources) or None,
                    nearest(origin.source, list(document.sources)),
                )
            )
    return faults
