"""A file with the origin of each of its values, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from sim.cli.topology_drawing import distances, topology_drawing
from sim.files import Document, KeyPath, Resolved, dotted
from sim.terminal import Group, RenderableType, TextTable, styled

if TYPE_CHECKING:
    from sim.hardware import MachineSpec


def spec_view(resolved: Resolved[BaseModel]) -> RenderableType:
    """A file with the origin of each of its values; a machine also with its topology."""
    document = resolved.document
    inherits = len(resolved.files) > 1 and resolved.kind != "experiment"
    table = TextTable(box=None, pad_edge=False, header_style="bold")
    for heading in ("key", "value", "quality", "source", *(["inherited from"] if inherits else [])):
        table.add_column(heading, overflow="fold", no_wrap=heading == "key")
    table.add_column("range, note", overflow="fold", style="dim")
    for path, value in _leaves(document.tree):
        origin = document.provenance.get(path)
        cells = [dotted(path), _inline(value)]
        cells += ["", ""] if origin is None else [origin.quality or "", origin.source or ""]
        if inherits:
            cells.append(_parent(document, path) or "")
        span = " to ".join(_inline(bound) for bound in (origin and origin.range) or ())
        cells.append("; ".join(part for part in (span, origin and origin.note) if part))
        table.add_row(*cells)
    parts: list[RenderableType] = [styled(f"{resolved.kind} {resolved.name}", "bold")]
    parts += [styled(f"from {file.path}", "dim") for file in resolved.files]
    if resolved.kind == "machine":
        spec = cast("MachineSpec", resolved.spec)
        parts += [styled(""), topology_drawing(spec.topology), styled(""), distances(spec)]
    parts += [styled(""), table]
    if sources := _sources(document):
        parts += [styled(""), _source_table(sources)]
    return Group(*parts)


def _parent(document: Document, path: KeyPath) -> str | None:
    """The name of the file that wrote an inherited value."""
    file = document.position(path).file
    return None if file == document.start.file else Path(file).stem


def _sources(document: Document) -> list[tuple[str, str]]:
    """The sources that the values name, with their texts; an id with several meanings says where."""
    files: dict[tuple[str, str], list[str]] = {}
    for origin in document.provenance.values():
        if origin.source and origin.source_text:
            users = files.setdefault((origin.source, origin.source_text), [])
            users.append(Path(origin.position.file).stem)
    ids = [source for source, _ in files]
    return [
        (source if ids.count(source) == 1 else f"{source} in {', '.join(dict.fromkeys(users))}", text)
        for (source, text), users in files.items()
    ]


def _source_table(sources: list[tuple[str, str]]) -> TextTable:
    table = TextTable(box=None, pad_edge=False, header_style="bold")
    table.add_column("source", no_wrap=True)
    table.add_column("is", overflow="fold")
    for key, text in sources:
        table.add_row(key, text)
    return table


def _leaves(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Plain values, and lists of plain values, with their paths."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        for index, value in enumerate(tree):
            yield from _leaves(value, (*path, index))
    else:
        yield path, tree


def _inline(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_inline(item) for item in value)}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)
