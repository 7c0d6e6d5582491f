"""Steps that allocate memory in user space, by the workload's `allocator`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, NonNegativeInt

from sim.quantities import Size, Spec
from sim.workload.draws import STREAM, AnySize


def _or_all(value: object) -> object:
    return None if value == "all" else value


class MallocStep(Spec):
    """malloc, and write what was allocated."""

    size: AnySize
    """How many bytes."""
    name: str = "block"
    """Under which name `mfree` and `realloc` find it."""
    written: Annotated[Size | None, BeforeValidator(_or_all)] = None
    """How much of it, from its beginning on, the program then writes. Absent, or `all`: all of it. What the
    allocator itself writes comes on top."""
    shared: bool = False
    """Whether any thread of the process may free it by its name; else the one that allocated it."""
    stream: str = STREAM
    """Random stream of a drawn size."""


class MfreeStep(Spec):
    """free: of what is allocated under a name, the oldest first, until so many are left."""

    name: str = "block"
    """Under which name it was allocated."""
    keep: NonNegativeInt = 0
    """How many are left."""
    above: NonNegativeInt | None = None
    """Nothing is freed before there are more than so many. Absent: `keep`."""
    shared: bool = False
    """Whether they are those that all threads share."""


class ReallocStep(Spec):
    """realloc of what was allocated last under a name."""

    size: AnySize
    """How many bytes it has afterwards."""
    name: str = "block"
    """Under which name it was allocated."""
    shared: bool = False
    """Whether that is one which all threads share."""
    hand_over: bool = False
    """Whether any thread may free it from then on, as what is `shared`."""
    stream: str = STREAM
    """Random stream of a drawn size."""
