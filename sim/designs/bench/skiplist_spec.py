"""What a design file says of a lock-free skip list."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from sim.quantities import Cost, Size, Spec


class SkipListCosts(Spec):
    """Cpu work with the data in the cpu's own first-level cache. Lines and what does not fit come on top,
    simulated."""

    look_up: Cost
    """A search, beside its steps: the random region, the call and the loop over levels."""
    step: Cost
    """Look at one node: load its link and its region, compare."""
    write: Cost
    """An insertion and a deletion, beside their searches: the random place, the loop."""
    allocate: Cost
    """A new node, filled."""
    free: Cost
    """Let a deleted one go."""


class SkipListSpec(Spec):
    """A lock-free skip list of regions."""

    levels: PositiveInt
    """Levels of links; the head has all of them."""
    branching: Annotated[int, Field(ge=2)]
    """One node of so many reaches the next level."""
    header: Annotated[Size, Field(gt=0)]
    """Bytes of a node before its links: the region, its height, its list."""
    costs: SkipListCosts
    """Cpu work of its steps."""
