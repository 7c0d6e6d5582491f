"""What a design file says of the interval skip list and of what goes with it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from sim.quantities import Cost, Size, Spec

NODE_HEADER: Final = 48
"""Bytes of a node before its links: start, end, VMA, lock and marks, what RCU frees it by."""
LINK: Final = 8


class IntervalCosts(Spec):
    """Cpu work of one step each, with its data in the cpu's own cache."""

    node: Cost
    """Look at one node of a search."""
    lock: Cost
    """Lock(range), beside its search and the locks of the nodes."""
    swap: Cost
    """Put one node in, take one out, or put one in the place of another, without its memory."""


class IntervalSpec(Spec):
    """The concurrent interval skip list, and the switches that its kernel has beside it."""

    levels: PositiveInt
    """Levels of links; the nodes that never go have all of them."""
    branching: Annotated[int, Field(ge=2)]
    """One node of so many reaches the next level."""
    arenas: NonNegativeInt
    """Parts of the address space, in which cpus map each in its own. 0: there are none, and all map in one
    place (8 in `vm.interval_vm_ctl`)."""
    arena_size: Annotated[Size, Field(gt=0)]
    """Bytes of an arena."""
    stats: Literal["shared", "folded", "apart"]
    """How the VMAs, mapped pages and tables of a process are counted: on `shared` lines, as by Linux (16 in
    `vm.interval_vm_ctl`); on each cpu, `folded` into a shared count when a batch is full, which is how
    percpu_counter does it; or `apart`, each cpu on its own, with nothing that all share."""
    costs: IntervalCosts
    """Cpu work of its steps."""
