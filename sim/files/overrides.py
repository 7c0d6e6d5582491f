"""Values that replace those of files: an experiment's `parameters`, `--set` and `--threads`, a mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sim.errors import Fault, InputError, nearest
from sim.files import spec_types
from sim.files.document import Document, KeyPath, Position, dotted, parse_path
from sim.files.explain import accepts
from sim.files.loader import parse_value
from sim.files.presets import Kind

MEMBERS: tuple[Kind, ...] = ("machine", "design", "workload")
"""The kinds of files that an experiment names, and whose values it may override."""


@dataclass(frozen=True)
class Override:
    """One value, the path at which it goes, and where it was written.

    The path starts with a kind of file (`workload.layout.leaves`) or is of the experiment itself (`seed`).
    """

    path: KeyPath
    value: Any
    position: Position
    written: str
    """The path as the user wrote it, for messages."""

    @property
    def target(self) -> Kind:
        """The kind of file that it changes."""
        return next(
            (kind for kind in MEMBERS if self.path[:1] == (kind,) and len(self.path) > 1), "experiment"
        )

    @property
    def inner(self) -> KeyPath:
        """The path inside the file that it changes."""
        return self.path if self.target == "experiment" else self.path[1:]


def parse_override(text: str, option: str) -> Override:
    """The override in `key.path=value`, where the value is YAML. *option* is what messages call its place.

    `design=x` is short for `designs=[x]`, `topology.sockets=1` for `machine.topology.sockets=1`. Raises
    `InputError`.
    """
    key, equals, written = (part.strip() for part in text.partition("="))
    path = parse_path(key)
    if not equals or not path:
        raise InputError(Fault("must be a path and a value", option, allowed="key.path=value"))
    faults: list[Fault] = []
    value, readable = parse_value(written, option, faults)
    if not readable:
        raise InputError([replace(fault, line=None, column=None, key=key) for fault in faults])
    return _of_a_kind(_plural(Override(path, value, Position(option), key)))


def parse_names(key: str, text: str, option: str) -> Override:
    """The override of a list of names or paths, written `a,b`. What is wrong with a name is found when it is
    looked up."""
    return Override((key,), [name.strip() for name in text.split(",")], Position(option), key)


def parse_choices(text: str, option: str) -> list[Override]:
    """The overrides in `key.path=[value, value, ...]`, one a value. Raises `InputError`."""
    listed = parse_override(text, option)
    if not isinstance(listed.value, list) or not listed.value or listed.target == "experiment":
        allowed = " or ".join(f"{kind}.<key>=[value, ...]" for kind in MEMBERS)
        raise InputError(Fault("must be the path of a value and a list", option, allowed=allowed))
    return [replace(listed, value=value) for value in listed.value]


def from_mapping(values: Mapping[str, object]) -> list[Override]:
    """Overrides given in Python: `{"threads": [1, 8], "workload.layout.leaves": 64}`."""
    return [
        _of_a_kind(_plural(Override(parse_path(key), _plain(value, key), Position(f"override {key!r}"), key)))
        for key, value in values.items()
    ]


def from_parameters(document: Document, faults: list[Fault], at: KeyPath = ("parameters",)) -> list[Override]:
    """The overrides in an experiment's `parameters`, or in another mapping of paths to values."""
    parameters: Any = document.tree
    for part in at:
        parameters = parameters.get(part) if isinstance(parameters, dict) else None
    found = []
    for key, value in parameters.items() if isinstance(parameters, dict) else ():
        place: KeyPath = (*at, key)
        override = Override(parse_path(key), value, document.position(place), dotted(place))
        if override.target != "experiment":
            found.append(override)
        else:
            allowed = ", ".join(f"{kind}.<key>" for kind in MEMBERS)
            faults.append(document.fault(place, "not the path of a value", at_key=True, allowed=allowed))
    return found


def from_quick(document: Document, faults: list[Fault]) -> list[Override]:
    """What an experiment's `quick` puts in place of its own keys."""
    written = document.tree.get("quick")
    if written is None:
        faults.append(document.fault((), "this experiment has no `quick` profile"))
    found = []
    for key, value in written.items() if isinstance(written, dict) else ():
        place: KeyPath = ("quick", key)
        if key in ("name", "quick", "include"):
            faults.append(document.fault(place, "cannot be changed by `quick`", at_key=True))
        else:
            found.append(_plural(Override((key,), value, document.position(place), dotted(place))))
    return found


def for_members(
    document: Document, names: Sequence[str], left_out: Sequence[str], faults: list[Fault]
) -> dict[str, list[Override]]:
    """The overrides in an experiment's `overrides`, by the name of the machine, design or workload.

    Those of names that the caller has *left_out* wait for another run.
    """
    written = document.tree.get("overrides")
    found: dict[str, list[Override]] = {}
    for name in written if isinstance(written, dict) else ():
        if name in names:
            found[name] = from_parameters(document, faults, ("overrides", name))
        elif name not in left_out:
            faults.append(
                document.fault(
                    ("overrides", name),
                    "no machine, design or workload of this experiment",
                    at_key=True,
                    allowed=", ".join(names),
                    suggestion=nearest(name, names),
                )
            )
    return found


def apply_overrides(overrides: Sequence[Override], document: Document, faults: list[Fault]) -> Document:
    """The document with the values replaced."""
    for override in overrides:
        try:
            document = document.with_value(document.locate(override.inner), override.value, override.position)
        except LookupError as error:
            position = override.position
            message = f"no such place in {document.start.file}: {error.args[0]}"
            faults.append(Fault(message, position.file, position.line, position.column, override.written))
    return document


def _plain(value: Any, key: str) -> Any:
    """*value* in the types that files have; arrays and ranges become lists. Raises `InputError`."""
    if hasattr(value, "tolist"):  # numpy, pandas
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(item, key) for name, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(item, key) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    message = f"a {type(value).__name__} cannot stand in a file"
    raise InputError(Fault(message, f"override {key!r}", allowed="numbers, text, lists and mappings"))


def _of_a_kind(override: Override) -> Override:
    """The override with the kind of file in front of its path, where it was left out and only one fits.

    Raises `InputError` where several fit.
    """
    path = [str(part) for part in override.path]
    if not path or path[0] in (*MEMBERS, "include") or accepts(spec_types.of("experiment"), path):
        return override
    kinds = [kind for kind in MEMBERS if any(accepts(model, path) for model in spec_types.all_of(kind))]
    if len(kinds) > 1:
        allowed = " or ".join(f"{kind}.{override.written}" for kind in kinds)
        message = "a key of more than one kind of file"
        raise InputError(Fault(message, override.position.file, key=override.written, allowed=allowed))
    return replace(override, path=(*kinds, *override.path))


def _plural(override: Override) -> Override:
    if override.path[0] in MEMBERS and len(override.path) == 1 and isinstance(override.value, str):
        return replace(override, path=(f"{override.path[0]}s",), value=[override.value])
    return override
