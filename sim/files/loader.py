"""YAML files, read the strict way.

PyYAML implements YAML 1.1 and is forgiving: `010` is 8, `1:30` is 90, `no` is False, `1e6` is text, a
repeated key wins silently and a few lines of nested aliases fill the memory. An experiment that ran with
another value than its author meant is worse than one that did not run, so this loader

- resolves plain scalars by the YAML 1.2 core schema (`1e6` is a number) and refuses the few on which
  1.1 and 1.2 disagree: quote them, or write them plainly;
- refuses repeated keys, tags, merge keys, more than a few aliases, deep nesting and large files;
- keeps line and column of every key and value.

It reads PyYAML's event stream, so no Python object is ever built from a tag. Faults are collected, not
raised, as far as the syntax allows: a user mends a file in one go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from sim.errors import Fault
from sim.files.disk import display, read_input
from sim.files.document import Document, KeyPath, Position, dotted

MAX_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_NODES = 20_000
MAX_ALIASES = 32

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = ("", "~", "null", "Null", "NULL")

_SOME_READ = "some YAML readers take this for"
_AMBIGUOUS = (  # pattern, what else it may be, what to write
    (r"(?i:yes|no|on|off)", "true or false", "true, false, or the word in quotes"),
    (r"[-+]?0[0-9_]+|0o[0-7]+|0b[01_]+", "an octal or binary number", "a decimal number, or text in quotes"),
    (r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?", "a base-60 number", "a plain number, or text in quotes"),
    (r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?", "one number", "digits without underscores, or text in quotes"),
    (r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt\s].*)?", "a date", "the date in quotes"),
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(path: Path, faults: list[Fault]) -> Document | None:
    """The YAML mapping in the file at *path*. What is wrong goes to *faults*; None if nothing is usable."""
    shown = display(path)
    data = read_input(path, shown, MAX_BYTES)
    if isinstance(data, Fault):
        faults.append(data)
        return None
    text = _decode(data, shown, faults)
    if text is None:
        return None
    document = parse_document(text, shown, faults)
    return document and replace(document, sha256=sha256(data).hexdigest())


def parse_document(text: str, file: str, faults: list[Fault]) -> Document | None:
    """The YAML mapping in *text*; *file* is the name that messages give it."""
    events = _events(text, file, faults)
    if events is None:
        return None
    builder = _Builder(file, events, faults)
    tree = builder.root()
    if not isinstance(tree, dict):
        if tree is not _BROKEN:
            faults.append(
                Fault("the file must be a mapping of keys to values", file, 1, 1, value=_short(tree))
            )
        return None
    return Document(tree, builder.positions, builder.keys)


def parse_value(text: str, file: str, faults: list[Fault]) -> tuple[Any, bool]:
    """One YAML value, as written on a command line, and whether it could be read."""
    before = len(faults)
    events = _events(text, file, faults)
    value = _Builder(file, events, faults).root() if events else None
    return value, len(faults) == before


def _decode(data: bytes, file: str, faults: list[Fault]) -> str | None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place(data[: error.start].decode("utf-8", "replace"))
        faults.append(Fault(f"not UTF-8 text: byte 0x{data[error.start]:02x}", file, line, column))
        return None
    if control := _CONTROL.search(text):
        line, column = _place(text[: control.start()])
        faults.append(
            Fault(f"not a text file: control character 0x{ord(control[0]):02x}", file, line, column)
        )
        return None
    return text


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def _events(text: str, file: str, faults: list[Fault]) -> list[Any] | None:
    """The events of the one document in *text*, or None with a fault: syntax, depth, size, emptiness."""
    events: list[Any] = []
    try:
        fault = _collect(text, file, events)
    except yaml.YAMLError as error:
        fault = _before(error, text, file) or _syntax_fault(error, file)
    if fault is None:
        blank = len(events) == 1 and isinstance(events[0], yaml.ScalarEvent) and not events[0].value
        if not events or blank:
            fault = Fault("the file is empty", file, 1, 1)
    if fault is None:
        return events
    faults.append(fault)
    return None


def _collect(text: str, file: str, events: list[Any]) -> Fault | None:
    """Add the events of *text* to *events* until it breaks a limit, which is the fault.

    Raises `yaml.YAMLError` for broken syntax.
    """
    depth = documents = 0
    stream: Any = yaml.parse(text, Loader=_Loader)
    for event in stream:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                return Fault("a second YAML document: one a file", file, line, column)
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            return Fault(f"nested deeper than {MAX_DEPTH} levels", file, line, column)
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            events.append(event)
        if len(events) > 2 * MAX_NODES:
            return Fault(f"more than {MAX_NODES} values", file, line, column)
    return None


def _before(error: yaml.YAMLError, text: str, file: str) -> Fault | None:
    """The limit that *text* breaks before the place of *error*, if any.

    The scanner reads ahead of the parser, up to the 1024 characters that a key may have. An error far inside,
    such as libyaml's own limit of nesting, is thus raised before the first event of what stands before it.
    """
    position = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if position is None:
        return None
    try:
        return _collect(text[: position.index], file, [])
    except yaml.YAMLError:  # cut off in the middle
        return None


def _syntax_fault(error: yaml.YAMLError, file: str) -> Fault:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Fault(f"not valid YAML: {str(error).splitlines()[0]}", file)
    position: Any = error.problem_mark or error.context_mark
    words = ", ".join(part for part in (error.context, error.problem) if part)
    place = (position.line + 1, position.column + 1) if position else (None, None)
    return Fault(f"not valid YAML: {words}", file, *place)


class _TooMuchError(Exception):
    """Aliases expand beyond all measure: the rest of the file is not worth reading."""


_BROKEN = object()


@dataclass
class _Builder:
    """Turns events into a tree and its positions. An alias replays the events of its anchor."""

    file: str
    events: list[Any]
    faults: list[Fault]
    positions: dict[KeyPath, Position] = field(default_factory=dict)
    keys: dict[KeyPath, Position] = field(default_factory=dict)
    anchors: dict[str, int] = field(default_factory=dict)
    open_anchors: list[str] = field(default_factory=list)
    aliases: int = 0

    def root(self) -> Any:
        try:
            value, _ = self.value(0, (), 0)
        except _TooMuchError:
            return _BROKEN
        return value

    def value(self, at: int, path: KeyPath, depth: int) -> tuple[Any, int]:
        """The value that starts at event *at*, and the index of the event after it."""
        event = self.events[at]
        position = self.position(event)
        self.positions[path] = position
        if len(self.positions) > MAX_NODES or depth > MAX_DEPTH:
            self.fault(position, path, "aliases expand to too many values")
            raise _TooMuchError
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path, depth), at + 1
        if event.anchor is not None:
            self.anchors[event.anchor] = at
        if event.tag is not None and event.tag != "!":
            self.fault(position, path, "YAML tags are not allowed", value=event.tag)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event, path), at + 1
        self.open_anchors.append(event.anchor)
        build = self.mapping if isinstance(event, yaml.MappingStartEvent) else self.sequence
        result = build(at + 1, path, depth + 1)
        self.open_anchors.pop()
        return result

    def alias(self, event: Any, path: KeyPath, depth: int) -> Any:
        position = self.position(event)
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            self.fault(position, path, f"more than {MAX_ALIASES} aliases")
            raise _TooMuchError
        if event.anchor in self.open_anchors:
            self.fault(position, path, "an alias to a value that contains it", value=f"*{event.anchor}")
        elif event.anchor not in self.anchors:
            self.fault(position, path, "an alias without its anchor", value=f"*{event.anchor}")
        else:
            value, _ = self.value(self.anchors[event.anchor], path, depth)
            return value
        return None

    def mapping(self, at: int, path: KeyPath, depth: int) -> tuple[dict[str, Any], int]:
        tree: dict[str, Any] = {}
        while not isinstance(self.events[at], yaml.MappingEndEvent):
            event = self.events[at]
            position = self.position(event)
            if not isinstance(event, yaml.ScalarEvent):
                self.fault(position, path, "a key must be plain text")
                _, at = self.value(at, (*path, "?"), depth)
                _, at = self.value(at, (*path, "?"), depth)
                continue
            key = event.value
            if key == "<<":
                self.fault(position, path, "merge keys are not allowed: use `inherits`", value="<<")
            first = self.keys.get((*path, key))
            if key in tree and first is not None:
                self.fault(position, (*path, key), f"repeated key, first written on line {first.line}")
                positions = dict(self.positions)
                _, at = self.value(at + 1, (*path, key), depth)
                self.positions = positions
                continue
            self.keys[(*path, key)] = position
            tree[key], at = self.value(at + 1, (*path, key), depth)
        return tree, at + 1

    def sequence(self, at: int, path: KeyPath, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while not isinstance(self.events[at], yaml.SequenceEndEvent):
            item, at = self.value(at, (*path, len(items)), depth)
            items.append(item)
        return items, at + 1

    def scalar(self, event: Any, path: KeyPath) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        for pattern, meaning, allowed in _AMBIGUOUS:
            if re.fullmatch(pattern, text):
                self.fault(self.position(event), path, f"{_SOME_READ} {meaning}", value=text, allowed=allowed)
                return text
        if text in _NULLS:
            return None
        if text in _WORDS:
            return _WORDS[text]
        number = _number(text)
        if isinstance(number, Fault):
            self.fault(self.position(event), path, number.message, value=_short(text))
            return text
        return text if number is None else number

    def position(self, event: Any) -> Position:
        return Position(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def fault(self, position: Position, path: KeyPath, message: str, **details: Any) -> None:
        key = dotted(path) or None
        self.faults.append(Fault(message, position.file, position.line, position.column, key, **details))


def _number(text: str) -> int | float | Fault | None:
    """*text* as a YAML 1.2 number, None if it is none, a fault if it is one that no quantity can be."""
    if _NOT_FINITE.match(text):
        return Fault("not a finite number")
    if _HEX.match(text):
        return int(text, 16) if len(text) <= 18 else Fault("a number out of range (64 bits)")
    if _INT.match(text):
        if len(text) > 20 or not -(1 << 63) <= (whole := int(text)) < 1 << 63:
            return Fault("a number out of range (64 bits)")
        return whole
    if not _FLOAT.match(text):
        return None
    number = float(text)
    if number in (float("inf"), float("-inf")):
        return Fault("not a finite number")
    if "." not in text and number.is_integer() and abs(number) < 1 << 53:
        return int(number)  # 1e6 is how people write a million
    return number


def _short(value: object, limit: int = 60) -> object:
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= limit else text[: limit - 1] + "…"
