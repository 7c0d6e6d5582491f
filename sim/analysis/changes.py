"""What can be taken away from a run, one thing at a time: a lock, a line, a cost, a switch.

    lock: mmap_lock                      a kind of lock, or a name of one with * and ?
    handover: mmap_lock                  what that lock itself costs: its owners wait for each other alone
    line: mmap_lock.*                    lines by their names
    transfers, zeroing, ...              what configs/whatif.yaml makes free, by values of files
    machine.memory.clear_page            one number or cost of a file: 0; `=half`, `=120 ns` for another value
    design.switches.lru_drain_on_zap     a switch that is true or false: the other one; `=VALUE` for others

Most are values of files. For locks and lines the model has a way of its own (`sim.sync.without`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from sim.errors import Fault, InputError, nearest
from sim.files import (
    MEMBERS,
    Override,
    Position,
    dotted,
    from_mapping,
    load_spec,
    parse_override,
    parse_path,
    presets,
    read_document,
    variant,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sim.experiment import Cell, Point
    from sim.files import Document, KeyPath, Kind, Resolved
    from sim.sync import Without

FORMS = "`lock: NAME`, `handover: NAME`, `line: NAME`, a name of configs/whatif.yaml, or a value's path"
LOCK, HANDOVER, LINE = "lock: ", "handover: ", "line: "
_NUMBER = re.compile(r"\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?")


class Way(StrEnum):
    """What a change is, and so what its gain says."""

    EXACT = "exact"
    """The lock does not exist in the run."""
    ESTIMATE = "estimate"
    """The lock is there, and what threads wait for it is given back to them."""
    BOUND = "bound"
    """The lock is there and costs nothing: its gain is a lower bound."""
    LINE = "line"
    """The line is always here."""
    COST = "cost"
    """Numbers of files are others."""
    SWITCH = "switch"
    """The design does something else, as another kernel does."""


@dataclass(frozen=True)
class Change:
    """One thing less. *values* are for the files that have the keys; locks and lines stand as patterns."""

    name: str
    title: str
    way: Way
    activities: tuple[str, ...] = ()
    """Patterns: what it takes from, for the share that it had."""
    values: tuple[Override, ...] = ()
    locks: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    both: tuple[Change, ...] = field(default=(), repr=False)
    """The two that it is made of."""

    def as_estimate(self) -> Change:
        """The same with locks whose waiting is given back, where this one is without them."""
        if self.both:
            return together(*(one.as_estimate() for one in self.both))
        return replace(self, way=Way.ESTIMATE) if self.way is Way.EXACT else self

    @property
    def without(self) -> Without | None:
        """Locks and lines for the point."""
        from sim.sync import Without

        if self.both:
            one, other = (part.without or Without() for part in self.both)
            return (one | other) or None
        of = {way: self.locks if self.way is way else () for way in Way}
        return Without(of[Way.EXACT], of[Way.BOUND], of[Way.ESTIMATE], self.lines) or None

    def takes_from(self, activity: str) -> bool:
        return any(fnmatchcase(activity, pattern) for pattern in self.activities)


def together(one: Change, other: Change) -> Change:
    """Both at once."""
    weakest = (Way.BOUND, Way.ESTIMATE)
    way = next((way for way in weakest if way in (one.way, other.way)), one.way)
    return Change(
        f"{one.name} + {other.name}",
        f"{one.title}; {other.title}",
        way,
        (*one.activities, *other.activities),
        (*one.values, *other.values),
        (*one.locks, *other.locks),
        (*one.lines, *other.lines),
        both=(one, other),
    )


def read_catalogue(path: Path | None = None) -> dict[str, Change]:
    """What configs/whatif.yaml makes free, by name. Raises `InputError`."""
    path = path or presets.root() / "configs" / "whatif.yaml"
    faults: list[Fault] = []
    document = read_document(path, faults)
    if document is None:
        raise InputError(faults)
    found: dict[str, Change] = {}
    for name, entry in document.tree.items():
        if not isinstance(entry, dict) or set(entry) != {"title", "activities", "values"}:
            faults.append(document.fault((name,), "must have `title`, `activities` and `values`"))
            continue
        values = tuple(from_mapping(entry["values"]))
        found[name] = Change(name, str(entry["title"]), Way.COST, tuple(entry["activities"]), values)
        faults += _not_of_files(document, name, values)
    if faults:
        raise InputError(faults)
    return found


def _not_of_files(document: Document, name: str, values: Sequence[Override]) -> Iterator[Fault]:
    allowed = " or ".join(f"{kind}.<key>" for kind in MEMBERS)
    for value in values:
        if value.target not in MEMBERS:
            place: KeyPath = (name, "values", value.written)
            yield document.fault(place, "no value of a file", at_key=True, allowed=allowed)


def lock_change(pattern: str) -> Change:
    """Without the locks of this activity or name."""
    kind = pattern.removeprefix(LOCK)
    activities = (pattern,) if pattern.startswith(LOCK) else ()
    return Change(
        f"{LOCK}{kind}", "there is no such lock", Way.EXACT, activities, locks=(f"{LOCK}{kind}", kind)
    )


def parse_change(text: str, catalogue: Mapping[str, Change]) -> Change:
    """What `--without` says. Raises `InputError`."""
    option, written = f"--without {text}", text.strip()
    for prefix in (LOCK, HANDOVER, LINE):
        if not written.startswith(prefix.strip()):
            continue
        pattern = written.removeprefix(prefix.strip()).strip()
        if not pattern:
            raise InputError(Fault("names nothing", option, allowed=FORMS))
        if prefix == LOCK:
            return lock_change(f"{LOCK}{pattern}")
        if prefix == HANDOVER:
            lock, title = lock_change(f"{LOCK}{pattern}"), "the lock costs nothing"
            return replace(lock, name=f"{HANDOVER}{pattern}", title=title, way=Way.BOUND)
        title = f"lines called {pattern} are always here"
        return Change(f"{LINE}{pattern}", title, Way.LINE, lines=(pattern,))
    if written in catalogue:
        return catalogue[written]
    key, equals, value = (part.strip() for part in written.partition("="))
    path = parse_path(key)
    if len(path) < 2:
        raise InputError(
            Fault("nothing that can be taken away", option, value=written, allowed=_allowed(catalogue),
                  suggestion=nearest(written, list(catalogue)))
        )  # fmt: skip
    override = parse_override(f"{key}={value if equals else 0}", option)
    if override.target not in MEMBERS:
        raise InputError(Fault("no value of a machine, design or workload", option, key=key, allowed=FORMS))
    if not equals:
        override = replace(override, value=_TAKEN_AWAY)
    name = dotted(override.path) + (f"={value}" if equals else "")
    title = f"{dotted(override.path)} is {value}" if equals else f"{dotted(override.path)} is taken away"
    way = Way.SWITCH if "switches" in override.path else Way.COST
    return Change(name, title, way, values=(override,))


def _allowed(catalogue: Mapping[str, Change]) -> str:
    named = ", ".join(catalogue)
    return f"`lock: NAME`, `handover: NAME`, `line: NAME`, {named}, or a path: machine.kernel.syscall"


_TAKEN_AWAY = "= taken away"
"""Stands for 0, or for the other value of a switch, until the file is known."""


# -- what a file becomes ------------------------------------------------------------------------------------


def changed_point(cell: Cell, change: Change, seed: int, replicate: int, **options: Any) -> Point | None:
    """The point of *cell* with one thing less; None where its files have nothing of that.

    Raises `InputError` where a file refuses the value.
    """
    from sim.experiment import make_point

    members: dict[Kind, Resolved[Any]] = {
        "machine": cell.machine,
        "design": cell.design,
        "workload": cell.workload,
    }
    for kind, resolved in members.items():
        values = _values(change, kind, resolved)
        if values:
            faults: list[Fault] = []
            made = variant(resolved, (*resolved.changes, *values), faults)
            if made is None:
                raise InputError(faults)
            members[kind] = made
    without = change.without
    if without is None and all(members[kind] is getattr(cell, kind) for kind in MEMBERS):
        return None
    point = make_point(
        members["machine"], members["design"], members["workload"], cell.placement, cell.threads, seed,
        replicate, swept=cell.assignment.swept, **options,
    )  # fmt: skip
    return replace(point, without=without)


def _values(change: Change, kind: Kind, resolved: Resolved[BaseModel]) -> list[Override]:
    """What *change* replaces in a file: where it has the key, and says something else."""
    found = []
    for wanted in change.values:
        if wanted.target != kind:
            continue
        before = said(resolved, wanted.inner)
        if before is None:
            continue
        value = _value(resolved, wanted, before)
        if value != before:
            found.append(replace(wanted, value=value))
    return found


def said(resolved: Resolved[BaseModel], path: KeyPath) -> Any:
    """What a file, with its changes, has at *path*: as it is written, or else by default; None if nothing."""
    document = resolved.changed
    if (written := document.at(document.locate(path))) is not None:
        return written
    value: Any = resolved.spec
    for part in path:
        value = getattr(value, str(part), None)
    return str(value) if value is not None and not isinstance(value, bool | int | float | str) else value


def _value(resolved: Resolved[BaseModel], wanted: Override, before: Any) -> Any:
    """The new value, where it depends on the one *before* or on another one of the same file."""
    value = wanted.value
    if value == _TAKEN_AWAY:
        return _nothing_of(before, wanted)
    if value == "half":
        return _half(before, wanted)
    if isinstance(value, str) and value.startswith("= "):
        return said(resolved, parse_path(value[2:])[1:])
    return value


def _nothing_of(before: Any, wanted: Override) -> Any:
    if isinstance(before, bool):
        return not before
    if isinstance(before, int | float):
        return 0
    if isinstance(before, str) and (number := _NUMBER.search(before)):
        return f"0 {before[number.end() :].split('+')[0].strip()}"
    raise InputError(
        Fault("neither a number nor a switch that is true or false", wanted.position.file, key=wanted.written,
              value=before, allowed=f"{wanted.written}=VALUE")
    )  # fmt: skip


def _half(before: Any, wanted: Override) -> Any:
    if isinstance(before, float) or (isinstance(before, int) and not isinstance(before, bool)):
        return before / 2 if isinstance(before, float) or before % 2 else before // 2
    if isinstance(before, str) and _NUMBER.search(before):
        return _NUMBER.sub(lambda number: f"{float(number[0].replace('_', '')) / 2:.12g}", before)
    raise InputError(
        Fault("half of what is no number", wanted.position.file, key=wanted.written, value=before)
    )


# -- what is tried when nobody says what --------------------------------------------------------------------


def candidates(
    breakdown: Mapping[str, float], design: Resolved[Any], catalogue: Mapping[str, Change], least: float
) -> list[Change]:
    """What takes at least a share *least* of an operation's time, and the switches of the design.

    *breakdown* is ns an operation by activity.
    """
    total = sum(breakdown.values())
    large = [activity for activity, ns in breakdown.items() if ns >= least * total]
    large.sort(key=lambda activity: -breakdown[activity])
    locks = [lock_change(activity) for activity in large if activity.startswith(LOCK)]
    costs = [change for change in catalogue.values() if any(map(change.takes_from, large))]
    return [*locks, *costs, *switches(design)]


def switches(design: Resolved[Any]) -> list[Change]:
    """Each switch of *design* that another kernel of its family has otherwise, as that one has it."""
    found: dict[str, Change] = {}
    mine = dict(_switches_of(design.spec))
    for name, other in _relatives(design.spec.family):
        for path, value in other:
            if path in mine and mine[path] != value:
                key = f"design.{path}={_written(value)}"
                override = Override(("design", *path.split(".")), value, Position(f"switch of {name}"), key)
                found.setdefault(key, Change(key, f"{path} as in {name}", Way.SWITCH, values=(override,)))
    return list(found.values())


@cache
def _relatives(family: str) -> tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]:
    """The switches of all designs on board of a family: mainline kernels first, the newest of them first."""

    def newest_first(name: str) -> tuple[int, list[int], str]:
        return name.count("-"), [-int(number) for number in re.findall(r"\d+", name)], name

    found = []
    for name in sorted(presets.names("design"), key=newest_first):
        spec: Any = load_spec("design", name).spec
        if spec.family == family:
            found.append((name, tuple(_switches_of(spec))))
    return tuple(found)


def _switches_of(spec: BaseModel) -> Iterator[tuple[str, Any]]:
    """The booleans and named choices of a design: those under `switches`, or its own where it has none."""
    section = getattr(spec, "switches", None)
    holder, prefix = (spec, "") if section is None else (section, "switches.")
    for name, info in type(holder).model_fields.items():
        annotation = info.annotation
        named = get_origin(annotation) is Literal and all(isinstance(v, str) for v in get_args(annotation))
        if (annotation is bool or named) and name not in ("name", "family"):
            yield f"{prefix}{name}", getattr(holder, name)


def _written(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
