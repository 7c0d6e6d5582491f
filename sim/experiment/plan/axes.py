"""What an experiment varies beside its lists of names: the values in `sweep` and `zip`, by path.

    sweep:                                                   zip:
      machine.coherence.cross_socket: [150 ns, 215 ns]         workload.requests: [32, 64]
      workload.layout.leaves: 1..64 x2                         workload.layout.leaves: [64, 128]

Each path of `sweep` is an axis of its own, so all combinations run; the paths of `zip` together are one
axis, whose first values belong together, and so on. Swept values are columns of the result tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from sim.errors import Fault
from sim.experiment.plan.points import Swept
from sim.files import MEMBERS, Document, KeyPath, Override, parse_path

Setting = tuple[Override, ...]
"""The values along one axis that belong together."""


_IDENTITY = (("name",), ("family",), ("inherits",))
"""Keys that make a file another one, not the same one with another value."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One combination of swept values."""

    overrides: Setting = ()

    @property
    def swept(self) -> Swept:
        return tuple((override.written, _cell(override.value)) for override in self.overrides)


def assignments(document: Document, given: Sequence[Override], faults: list[Fault]) -> Iterator[Assignment]:
    """Every combination of swept values, the last axis fastest. *given* values must not hide swept ones."""
    axes: list[list[Setting]] = [
        [(override,) for override in axis] for axis in _axes(document, "sweep", faults)
    ]
    zipped = _axes(document, "zip", faults)
    if len({len(axis) for axis in zipped}) > 1:
        lengths = ", ".join(f"{axis[0].written}: {len(axis)}" for axis in zipped)
        faults.append(document.fault(("zip",), "the lists must be equally long", value=lengths))
        zipped = []
    _refuse_hidden([axis[0][0] for axis in axes] + [axis[0] for axis in zipped], given, faults)
    together: list[list[Setting]] = [*axes, [*zip(*zipped, strict=True)]] if zipped else [*axes]
    return (Assignment(tuple(o for step in steps for o in step)) for steps in product(*together))


def size(document: Document) -> int:
    """How many combinations there are, without building them."""
    count = 1
    for key in ("sweep", "zip"):
        values = document.tree.get(key)
        lengths = [len(v) for v in values.values() if isinstance(v, list)] if isinstance(values, dict) else []
        for length in lengths if key == "sweep" else lengths[:1]:
            count *= max(1, length)
    return count


def _axes(document: Document, key: str, faults: list[Fault]) -> list[list[Override]]:
    """The values of each path in `sweep` or `zip`; a value that is no list is the model's to refuse."""
    written = document.tree.get(key)
    axes = []
    for path, values in written.items() if isinstance(written, dict) else ():
        place: KeyPath = (key, path)
        parts = parse_path(path)
        if parts[:1] not in [(kind,) for kind in MEMBERS] or parts[1:2] in ((), *_IDENTITY):
            allowed = ", ".join(f"{kind}.<key>" for kind in MEMBERS)
            faults.append(document.fault(place, "not the path of a value", at_key=True, allowed=allowed))
            continue
        if not isinstance(values, list) or not values:
            continue
        seen = [json.dumps(value, sort_keys=True) for value in values]
        for index, value in enumerate(values):
            if seen[index] in seen[:index]:
                faults.append(document.fault((*place, index), "the same value twice in a sweep", value=value))
        axes.append(
            [
                Override(parts, value, document.position((*place, index)), path)
                for index, value in enumerate(values)
            ]
        )
    return axes


def _refuse_hidden(axes: Sequence[Override], given: Sequence[Override], faults: list[Fault]) -> None:
    """A swept value that another one overwrites would make its column a lie."""
    for one, other in [*combinations(axes, 2), *((axis, value) for value in given for axis in axes)]:
        shared = min(len(one.path), len(other.path))
        if one.path[:shared] == other.path[:shared]:
            position = other.position
            faults.append(
                Fault(
                    f"{one.written} is swept already",
                    position.file,
                    position.line,
                    position.column,
                    other.written,
                )
            )


def _cell(value: Any) -> Any:
    """A value as a cell of a table."""
    return json.dumps(value) if isinstance(value, dict | list) or value is None else value
