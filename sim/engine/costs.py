"""Costs resolved once: the values of a spec on a core of one clock.

    cost = at_clock(spec.costs, machine.spec.clock)
    cpu.work(cost.vma_alloc, VMA_WORK)

A spec has costs as they are written, cycles and time (`CycleCost`). Model code wants picoseconds, and wants
them without looking anything up. `AtClock` has the spec's keys as slots, each cost an integer. mypy knows
them: `tools/typed_costs.py` gives each its type and refuses one that the spec does not have.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from pydantic import BaseModel

from sim.quantities import CycleCost

S = TypeVar("S", bound=BaseModel)


class AtClock(Generic[S]):
    """The values of an S: costs in ps, what is no cost (or a spec of its own) as it is. Nothing changes."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name} is what the files say, for the whole run")


def at_clock(spec: S, clock: int) -> AtClock[S]:
    """*spec* on a core of *clock* Hz. The values are shared by all who ask for the same spec and clock."""
    return _resolved(_Same(spec), clock)


def at_clocks(spec: S, clock: int, others: Collection[str], other: int) -> AtClock[S]:
    """The same, with the costs named *others* on a core of *other* Hz."""
    resolved, rest = _resolve(spec, clock), at_clock(spec, other)
    for name in others:
        object.__setattr__(resolved, name, getattr(rest, name))
    return resolved


class _Same:
    """A spec that is equal to itself alone: specs do not change, and to compare them would take longer than
    to resolve them."""

    __slots__ = ("spec",)

    def __init__(self, spec: BaseModel) -> None:
        self.spec = spec

    def __hash__(self) -> int:
        return id(self.spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.spec is self.spec


@lru_cache(maxsize=256)
def _resolved(same: _Same, clock: int) -> AtClock[Any]:
    return _resolve(same.spec, clock)


def _resolve(spec: S, clock: int) -> AtClock[S]:
    resolved = _slotted(type(spec))()
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        object.__setattr__(resolved, name, value.at(clock) if isinstance(value, CycleCost) else value)
    return resolved


@cache
def _slotted(model: type[BaseModel]) -> type[AtClock[Any]]:
    return type(model.__name__, (AtClock,), {"__slots__": tuple(model.model_fields)})
