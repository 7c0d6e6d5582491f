"""Values that a workload draws at random: sizes, times and counts.

A value is drawn each time that its step is done. Each thread has a random stream of each name of its own, so
what one thread draws does not depend on what others do. Two steps that name the same stream take turns at
it; two streams have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Annotated, Any, Self

from pydantic import Discriminator, NonNegativeInt, PositiveInt, Tag, model_validator

from sim.quantities import Cost, CycleCost, Size, Spec

STREAM = "steps"
"""The stream of steps that name none."""

Draw = Callable[[Random], int]
"""Takes a thread's random stream; gives a size in bytes, a time in ps, or a count."""


class _DrawSpec(Spec):
    """Exactly one of `uniform`, `exponential` and `choice`."""

    weights: tuple[PositiveInt, ...] | None = None
    """With `choice`: how often each value is drawn, relative to the others. Absent: all as often."""
    stream: str = STREAM
    """Name of the random stream."""

    @model_validator(mode="after")
    def _one_distribution(self) -> Self:
        given = [name for name in ("uniform", "exponential", "choice") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of uniform, exponential and choice; this one has {len(given)}")
        choice = getattr(self, "choice")  # noqa: B009 the subclasses have it
        ends = getattr(self, "uniform")  # noqa: B009 as well
        if ends is not None and isinstance(ends[0], int) and ends[0] > ends[1]:
            raise ValueError("`uniform` names the least value first")
        if self.weights is not None and (choice is None or len(self.weights) != len(choice)):
            raise ValueError("`weights` has a number for each value of `choice`")
        return self


class SizeDraw(_DrawSpec):
    """A random size: `uniform` between two, `exponential` around a mean, or a `choice`."""

    uniform: tuple[Size, Size] | None = None
    """Least and greatest size, each as likely as what lies between."""
    exponential: Size | None = None
    """Mean of an exponential distribution."""
    choice: tuple[Size, ...] | None = None
    """One of these."""


class TimeDraw(_DrawSpec):
    """A random time: `uniform` between two, `exponential` around a mean, or a `choice`."""

    uniform: tuple[Cost, Cost] | None = None
    """Shortest and longest time, each as likely as what lies between."""
    exponential: Cost | None = None
    """Mean of an exponential distribution."""
    choice: tuple[Cost, ...] | None = None
    """One of these."""


class CountDraw(_DrawSpec):
    """A random count: `uniform` between two, `exponential` around a mean, or a `choice`."""

    uniform: tuple[NonNegativeInt, NonNegativeInt] | None = None
    """Least and greatest count, each as likely as what lies between."""
    exponential: PositiveInt | None = None
    """Mean of an exponential distribution, rounded."""
    choice: tuple[NonNegativeInt, ...] | None = None
    """One of these."""


def _form(value: Any) -> str:
    return "draw" if isinstance(value, dict | _DrawSpec) else "value"


AnySize = Annotated[
    Annotated[Size, Tag("value")] | Annotated[SizeDraw, Tag("draw")],
    Discriminator(_form),
]
"""`16 KiB`, or a size to be drawn each time: `{uniform: [4 KiB, 64 KiB]}`."""
AnyTime = Annotated[
    Annotated[Cost, Tag("value")] | Annotated[TimeDraw, Tag("draw")],
    Discriminator(_form),
]
"""`1 us` or `300 cycles`, or a time to be drawn each time: `{exponential: 1 us}`."""
AnyCount = Annotated[
    Annotated[PositiveInt, Tag("value")] | Annotated[CountDraw, Tag("draw")],
    Discriminator(_form),
]
"""`16`, or a count to be drawn each time: `{uniform: [1, 16]}`."""

AnyTimes = Annotated[
    Annotated[NonNegativeInt, Tag("value")] | Annotated[CountDraw, Tag("draw")],
    Discriminator(_form),
]
"""The same, and 0."""


def _plain(value: int | CycleCost, clock: int) -> int:
    return value.at(clock) if isinstance(value, CycleCost) else value


def drawing(spec: SizeDraw | TimeDraw | CountDraw, clock: int) -> Draw:
    """How to draw a value of *spec*; times are in ps on a core of *clock* hertz."""
    if spec.uniform is not None:
        least, greatest = sorted(_plain(end, clock) for end in spec.uniform)
        return lambda random: least + int(random.random() * (greatest - least + 1))
    if spec.exponential is not None:
        mean = _plain(spec.exponential, clock)
        return lambda random: round(random.expovariate(1) * mean)
    assert spec.choice is not None
    values = [_plain(value, clock) for value in spec.choice]
    weights = spec.weights
    return lambda random: random.choices(values, weights)[0]


def bounds_of(spec: SizeDraw | TimeDraw | CountDraw, clock: int) -> tuple[int, int]:
    """The least and the greatest value that *spec* can give, for an exponential one its mean."""
    if spec.exponential is not None:
        return 0, _plain(spec.exponential, clock)
    values = [_plain(value, clock) for value in spec.uniform or spec.choice or ()]
    return min(values), max(values)
