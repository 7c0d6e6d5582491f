"""Which points of a grid are left out: the conditions in `only` and `exclude`.

    only:                                            exclude:
      - {threads: "<= 128"}                            - {design: linux-6.13, threads: "> 256"}
      - {design: [cortenmm-rw, cortenmm-adv]}          - {workload: unmap, placement: high}

A condition holds if all of its keys do; a key holds if the point's value is the one written, one of those
in a list, in a range, or on the right side of a comparison. A point stays if any condition of `only` holds
(or there is none) and none of `exclude` does.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sim.errors import Fault, nearest
from sim.files import POINT_KEYS, Document, RangeError, parse_range

Properties = Mapping[str, Any]
"""What a condition sees of a point: the values of `POINT_KEYS` and of the swept paths."""

_COMPARISON = re.compile(r"\s*(<=|>=|<|>|!=)\s*(-?\d+(?:\.\d+)?)\s*\Z")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "!=": operator.ne,
}


def stays(values: Properties, only: Sequence[Properties], exclude: Sequence[Properties]) -> bool:
    """Whether the point with these values belongs to the experiment."""
    if only and not any(_holds(condition, values) for condition in only):
        return False
    return not any(_holds(condition, values) for condition in exclude)


def check_filters(document: Document, names: Mapping[str, Sequence[str]], faults: list[Fault]) -> None:
    """Faults for conditions on what no point has. *names* are the values a key may have, where a list."""
    swept = [
        path
        for key in ("sweep", "zip")
        if isinstance(values := document.tree.get(key), dict)
        for path in values
    ]
    for filter_key in ("only", "exclude"):
        conditions = document.tree.get(filter_key)
        for index, condition in enumerate(conditions if isinstance(conditions, list) else ()):
            for key, wanted in condition.items() if isinstance(condition, dict) else ():
                place = (filter_key, index, key)
                if key not in POINT_KEYS and key not in swept:
                    known = [*POINT_KEYS, *swept]
                    faults.append(
                        document.fault(
                            place,
                            "not a property of a point",
                            at_key=True,
                            allowed=", ".join(known),
                            suggestion=nearest(key, known),
                        )
                    )
                for word in wanted if isinstance(wanted, list) else [wanted]:
                    if key in ("threads", "replicate") and not _counts(word):
                        allowed = 'a number, a range such as 1..64, or a comparison such as "<= 64"'
                        faults.append(document.fault(place, "matches no number", value=word, allowed=allowed))
                    elif key in names and word not in names[key]:
                        faults.append(
                            document.fault(
                                place,
                                f"no {key} of this experiment",
                                value=word,
                                allowed=", ".join(names[key]),
                                suggestion=nearest(str(word), names[key]),
                            )
                        )


def _counts(word: Any) -> bool:
    """Whether a whole number can match *word*."""
    if not isinstance(word, str):
        return type(word) in (int, float)
    try:
        return bool(_COMPARISON.match(word) or parse_range(word))
    except RangeError:
        return False


def _holds(condition: Properties, values: Properties) -> bool:
    return all(key in values and _matches(wanted, values[key]) for key, wanted in condition.items())


def _matches(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, list | tuple):
        return any(_matches(one, value) for one in wanted)
    if isinstance(wanted, str) and isinstance(value, int | float):
        if comparison := _COMPARISON.match(wanted):
            return _COMPARE[comparison[1]](value, float(comparison[2]))
        try:
            return value in parse_range(wanted)
        except RangeError:
            return False
    return bool(wanted == value)
