"""How far the costs in a file may be off, by what the file says of their quality.

    same_cluster: {value: 49 ns, quality: derived, range: [43 ns, 52 ns]}    43 to 52 ns
    send: {value: 200 ns, quality: estimated}                                200 ns / 1.3 to 200 ns x 1.3

Costs are durations, cycles, clocks and bandwidths; and numbers without a unit, if they have a range.
Counts, sizes and switches are what they are. What was fitted counts as measured: where other costs are
wrong the fit is as well, and the rows that it was made for do not tell. Two costs of one section that are
written alike are one cost, such as both distances of a machine with one cluster a socket.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sim.errors import InputError
from sim.files import KeyPath, Override, Position, dotted
from sim.quantities import UnitError, parse_bandwidth, parse_cost, parse_frequency

if TYPE_CHECKING:
    from pydantic import BaseModel

    from sim.files import Kind, Provenance, Resolved

T = TypeVar("T")

SPREADS: Mapping[str, float] = {
    "measured": 0.05,
    "published": 0.05,
    "fitted": 0.05,
    "derived": 0.15,
    "recalled": 0.15,
    "estimated": 0.30,
}
"""By which factor, less 1, a cost of this quality may be off in either direction, if it has no range."""
_NOMINAL_CLOCK = 2_500_000_000
"""Hertz: for a value in cycles whose range is in ns."""
_LEAST_REACH = 1 / 64
_NUMBER = re.compile(r"\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class Uncertain:
    """One cost of a file, and between which factors of its value the true one lies."""

    path: KeyPath
    value: str | float
    low: float
    high: float
    identity: str
    """Its file and path where it was first written: files that inherit it have one and the same cost."""

    @property
    def section(self) -> str:
        """The part of the file that it is in."""
        return str(self.path[0])

    def at(self, share: float) -> str | float:
        """The value at a *share* of the way from low to high, in logarithms; 0 is low."""
        factor: float = self.low * (self.high / self.low) ** share
        if not isinstance(self.value, str):
            return self.value * factor
        return _NUMBER.sub(lambda number: f"{float(number[0].replace('_', '')) * factor:.6g}", self.value)

    @property
    def neutral(self) -> float:
        """The share at which the value is the file's own."""
        return 0.0 if self.high == self.low else math.log(1 / self.low) / math.log(self.high / self.low)


def uncertain(resolved: Resolved[BaseModel]) -> Iterator[Uncertain]:
    """The costs of a machine's or a design's file that may be off, in the order of the file."""
    alike: dict[tuple[KeyPath, str], Uncertain] = {}
    for path, origin in resolved.document.provenance.items():
        if resolved.document.at(path) != origin.value:
            continue  # replaced by a file that says nothing of its quality
        if (factors := _factors(origin)) is not None and factors[0] < factors[1]:
            identity = f"{Path(origin.position.file).stem} {dotted(path)}"
            cost = Uncertain(path, origin.value, *factors, identity)
            yield replace(alike.setdefault((path[:-1], str(origin.value)), cost), path=path)


def drawn(
    costs: Iterable[Uncertain], kind: Kind, sample: int, samples: int, seed: int, reach: Mapping[str, float]
) -> list[Override]:
    """All *costs* of a file in one of so many *samples* (0, 1, ...), each somewhere in its interval.

    A Latin hypercube: over the samples each cost is once in each of *samples* equal parts of its interval.
    What a cost gets depends on itself and the seed alone. *reach* is as for `placed`.
    """
    costs = list(costs)
    shares = {cost.identity: latin_share(cost, sample, samples, seed) for cost in costs}
    return placed(costs, kind, shares, reach, f"sample {sample}")


def placed(
    costs: Iterable[Uncertain],
    kind: Kind,
    shares: Mapping[str, float],
    reach: Mapping[str, float],
    where: str,
) -> list[Override]:
    """Those *costs* of a file whose identity has one of the *shares*, each there in its interval.

    A *reach* below 1 of a section takes its costs so much less far from the file's values. *where* is what
    messages say of where the values come from.
    """
    changes = []
    for cost in costs:
        if cost.identity in shares:
            far = reach.get(cost.section, 1.0)
            share = cost.neutral + far * (shares[cost.identity] - cost.neutral)
            path = f"{kind}.{dotted(cost.path)}"
            changes.append(Override((kind, *cost.path), cost.at(share), Position(where), path))
    return changes


def within_order(
    costs: Sequence[Uncertain],
    changes: Callable[[Mapping[str, float]], Sequence[Override]],
    load: Callable[[Sequence[Override]], T],
) -> tuple[T, bool]:
    """What *load* makes of a file with the *changes* of its *costs*, and whether they reach all they were to.

    Some costs must keep an order (same_cluster below cross_cluster). Where the file is refused for that, the
    sections in question come nearer to its own values, by halves. Raises `InputError` for other faults.
    """
    reach = {cost.section: 1.0 for cost in costs}
    while True:
        try:
            return load(changes(reach)), min(reach.values()) == 1.0
        except InputError as error:
            wrong = {fault.key.split(".")[0] for fault in error.faults if fault.key} & set(reach)
            if not wrong or min(reach[section] for section in wrong) < _LEAST_REACH:
                raise
            reach |= {section: reach[section] / 2 for section in wrong}


def latin_share(cost: Uncertain, sample: int, samples: int, seed: int) -> float:
    """Where a *cost* is in its interval in one of so many *samples*: a Latin hypercube."""
    draw = random.Random(hashlib.sha256(f"{seed} {samples} {cost.identity}".encode()).digest())
    parts = list(range(samples))
    draw.shuffle(parts)
    places = [draw.random() for _ in parts]
    return (parts[sample] + places[sample]) / samples


def _factors(origin: Provenance) -> tuple[float, float] | None:
    """Between which factors of its value a cost lies; None if it is no cost, or nothing is known."""
    value = origin.value
    size = _size(value)
    if not size:
        return None
    if origin.range is not None and len(origin.range) == 2:
        ends = [_size(end) for end in origin.range]
        if all(ends):
            low, high = sorted(end / size for end in ends if end)
            return min(low, 1.0), max(high, 1.0)
    if not isinstance(value, str) or origin.quality is None:
        return None
    factor = 1 + SPREADS[origin.quality]
    return 1 / factor, factor


def _size(value: Any) -> float | None:
    """How large a cost is, in some unit; None if it is none."""
    if isinstance(value, float):
        return value
    if not isinstance(value, str):
        return None
    try:
        cost = parse_cost(value)
    except UnitError:
        pass
    else:
        return cost.at(_NOMINAL_CLOCK)
    for parse in (parse_frequency, parse_bandwidth):
        try:
            return parse(value)
        except UnitError:
            continue
    return None
