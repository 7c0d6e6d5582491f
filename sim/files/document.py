"""A configuration file as a plain tree that still knows where each of its values stands.

The tree is what the typed models read; the *positions* beside it are what error messages need. Both are
keyed by path: the tuple of mapping keys and list indices that leads to a value from the root.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sim.errors import Fault

KeyPath = tuple[str | int, ...]

_PIECE = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")
_INDEX = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Position:
    """Where something was written. *file* may also be a command-line option; then it has no line."""

    file: str
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """How good a number is and where it comes from, as its file says."""

    value: Any
    quality: str | None
    source: str | None
    note: str | None
    range: tuple[Any, ...] | None
    position: Position
    source_position: Position | None = None
    source_text: str | None = None
    """What the source id stands for where the value was written; elsewhere it may stand for another."""


@dataclass(frozen=True)
class Document:
    """One file, or several overlaid. Invariant: the root has a position, and so has all that a file wrote."""

    tree: dict[str, Any]
    positions: Mapping[KeyPath, Position]
    keys: Mapping[KeyPath, Position] = field(default_factory=dict)
    provenance: Mapping[KeyPath, Provenance] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    """Of the bytes of the one file that it was read from."""

    @property
    def start(self) -> Position:
        """The beginning of the file."""
        return self.positions[()]

    def position(self, path: KeyPath) -> Position:
        """Where the value at *path* stands, or its nearest enclosing value if there is none."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]

    def fault(self, path: KeyPath, message: str, *, at_key: bool = False, **details: Any) -> Fault:
        """A fault about *path*, placed at its value or, *at_key*, at the key in front of it."""
        position = self.keys[path] if at_key and path in self.keys else self.position(path)
        return Fault(message, position.file, position.line, position.column, dotted(path) or None, **details)

    def without(self, key: str) -> Document:
        """The document less one top-level key."""
        return replace(
            self,
            tree={k: v for k, v in self.tree.items() if k != key},
            positions={p: m for p, m in self.positions.items() if p[:1] != (key,)},
            keys={p: m for p, m in self.keys.items() if p[:1] != (key,)},
            provenance={p: s for p, s in self.provenance.items() if p[:1] != (key,)},
        )

    def renamed(self, old: str, new: str) -> Document:
        """The document with a top-level key spelt differently; messages still point at the old spelling."""

        def move(path: KeyPath) -> KeyPath:
            return (new, *path[1:]) if path[:1] == (old,) else path

        return replace(
            self,
            tree={new if k == old else k: v for k, v in self.tree.items()},
            positions={move(p): m for p, m in self.positions.items()},
            keys={move(p): m for p, m in self.keys.items()},
            provenance={move(p): s for p, s in self.provenance.items()},
        )

    def at(self, path: KeyPath) -> Any:
        """The value at *path*; None if there is none."""
        tree: Any = self.tree
        for part in path:
            tree = _below(tree, part)
        return tree

    def locate(self, path: KeyPath) -> KeyPath:
        """*path*, in which people have written all parts apart, as the path of this tree.

        Indices of lists become numbers, and names with dots in them are put together again.
        """
        tree: Any = self.tree
        found: KeyPath = ()
        while path:
            length, used = 1, path[0]
            if isinstance(tree, list) and str(used).isdecimal():
                used = int(used)
            elif isinstance(tree, dict):
                lengths = range(len(path), 0, -1)
                length = next((end for end in lengths if _joined(path[:end]) in tree), 1)
                used = _joined(path[:length])
            tree = _below(tree, used)
            found, path = (*found, used), path[length:]
        return found

    def tree_with(self, values: Sequence[tuple[KeyPath, Any]]) -> dict[str, Any]:
        """The tree alone with other values. Raises `LookupError` as `with_value` does."""
        tree: Any = self.tree
        for path, value in values:
            try:
                tree, _ = _set(tree, self.locate(path), value)
            except ValueError as error:
                raise LookupError(str(error)) from error
        return cast(dict[str, Any], tree)

    def with_value(self, path: KeyPath, value: Any, position: Position) -> Document:
        """The document with *value*, written at *position*, at *path*; mappings on the way are made.

        Raises `LookupError` if *path* leads through a plain value or beside the end of a list.
        """
        try:
            tree, path = _set(self.tree, path, value)
        except ValueError as error:
            raise LookupError(str(error)) from error
        here = len(path)
        positions = {p: m for p, m in self.positions.items() if p[:here] != path}
        return replace(
            self,
            tree=tree,
            positions={path[:length]: position for length in range(1, here)}
            | positions
            | {(*path, *below): position for below, _ in _walk(value)},
            provenance={p: s for p, s in self.provenance.items() if p[:here] != path},
        )

    def with_items(self, path: KeyPath, items: Sequence[Any], positions: Sequence[Position]) -> Document:
        """The document with a list at *path*, each of its items written at a position of its own."""
        document = self.with_value(path, list(items), self.position(path))
        return replace(
            document,
            positions=dict(document.positions)
            | {
                (*path, index, *below): position
                for index, (item, position) in enumerate(zip(items, positions, strict=True))
                for below, _ in _walk(item)
            },
        )

    def overlaid(self, child: Document) -> Document:
        """This document under *child*: mappings merge deeply, anything else is replaced whole."""
        tree = _merge(self.tree, child.tree)
        kept = {path for path, _ in _walk(tree)} - set(child.positions)
        added = {path: _explained(origin, self.sources) for path, origin in child.provenance.items()}
        return Document(
            tree,
            positions={p: m for p, m in self.positions.items() if p in kept} | dict(child.positions),
            keys={p: m for p, m in self.keys.items() if p in kept} | dict(child.keys),
            provenance={p: s for p, s in self.provenance.items() if p in kept} | added,
            sources={**self.sources, **child.sources},
        )


def _below(tree: Any, part: str | int) -> Any:
    """What is under a key or index; None if there is none."""
    try:
        return tree[part]
    except (LookupError, TypeError):
        return None


def _joined(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def _explained(origin: Provenance, sources: Mapping[str, str]) -> Provenance:
    """*origin* with the text of its source, if it has none yet and *sources* know it."""
    if origin.source is None or origin.source_text is not None:
        return origin
    return replace(origin, source_text=sources.get(origin.source))


def _set(tree: Any, path: KeyPath, value: Any) -> tuple[Any, KeyPath]:
    """A copy of *tree* with *value* at *path*, and the path with text indices of lists made numbers."""
    if not path:
        return value, ()
    if isinstance(tree, list):
        index = int(path[0])
        item, rest = _set(tree[index], path[1:], value)
        return [*tree[:index], item, *tree[index + 1 :]], (index, *rest)
    if not isinstance(tree, dict):
        raise LookupError(path[0])
    item, rest = _set(tree.get(str(path[0]), {}), path[1:], value)
    return {**tree, str(path[0]): item}, (str(path[0]), *rest)


def parse_path(text: str) -> tuple[str, ...]:
    """The parts of a path as `dotted` writes it, indices as text too; none if it is not one."""
    pieces = [_PIECE.fullmatch(piece) for piece in text.split(".")]
    if not all(pieces):
        return ()
    return tuple(part for piece in pieces if piece for part in (piece[1], *_INDEX.findall(piece[2])))


def dotted(path: KeyPath) -> str:
    """A path as people write it: `layout.leaves`, `steps[2].size`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _walk(tree: Any, path: KeyPath = ()) -> list[tuple[KeyPath, Any]]:
    found: list[tuple[KeyPath, Any]] = [(path, tree)]
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += _walk(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            found += _walk(value, (*path, index))
    return found
