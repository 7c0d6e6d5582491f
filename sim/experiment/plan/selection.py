"""Some of the points of an experiment, chosen on the command line.

--point design=linux-6.13,threads=64      all of its parts hold
--point threads=">= 64"                   a range or a comparison, as in the filters of an experiment
--point ... --point ...                   one of them holds
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.errors import Fault, InputError, nearest
from sim.experiment.plan.filters import stays
from sim.experiment.plan.points import Point
from sim.files import POINT_KEYS, parse_value

_FORM = "key=value,key=value, such as design=linux-6.13,threads=64"


def choose(points: Sequence[Point], texts: Sequence[str]) -> tuple[Point, ...]:
    """Those of *points* for which one of *texts* holds, in their order; all without any.

    Raises `InputError` for a text that is of another form, names what no point has, or leaves none.
    """
    if not texts:
        return tuple(points)
    properties = [_properties(point) for point in points]
    faults: list[Fault] = []
    conditions = [_condition(text, properties, faults) for text in texts]
    if faults:
        raise InputError(faults)
    for text, condition in zip(texts, conditions, strict=True):
        if not any(stays(values, (condition,), ()) for values in properties):
            raise InputError(Fault("no point is like this", f"--point {text}", allowed=_known(properties)))
    return tuple(
        point for point, values in zip(points, properties, strict=True) if stays(values, conditions, ())
    )


def _properties(point: Point) -> dict[str, Any]:
    return {key: getattr(point, key) for key in POINT_KEYS} | dict(point.swept)


def _condition(text: str, properties: Sequence[dict[str, Any]], faults: list[Fault]) -> dict[str, Any]:
    """What *text* asks for; faults of it go to *faults*."""
    option, condition = f"--point {text}", {}
    for part in text.split(","):
        key, equals, written = (piece.strip() for piece in part.partition("="))
        if not (key and equals and written):
            faults.append(Fault("not of this form", option, value=part, allowed=_FORM))
            continue
        value, read = written, False
        if not written.startswith((">", "<", "!")):
            value, read = parse_value(written, option, faults)
        known = {name: None for values in properties for name in values}
        if key not in known:
            faults.append(
                Fault("not a property of a point", option, key=key, allowed=", ".join(known),
                      suggestion=nearest(key, known))
            )  # fmt: skip
        elif isinstance(value, str) and all(isinstance(one[key], str) for one in properties if key in one):
            names = {one[key]: None for one in properties if key in one}
            if value not in names:
                faults.append(
                    Fault(f"no {key} of these points", option, key=key, value=value,
                          allowed=", ".join(names), suggestion=nearest(value, names))
                )  # fmt: skip
        condition[key] = value if read else written
    return condition


def _known(properties: Sequence[dict[str, Any]]) -> str:
    """The values of all keys, for a message."""
    keys = {name: None for values in properties for name in values}
    parts = []
    for key in keys:
        values = {str(one[key]): None for one in properties if one.get(key, "") != ""}
        if len(values) > 1:
            parts.append(f"{key}={'|'.join(values)}")
    return ", ".join(parts) or "leave --point out"
