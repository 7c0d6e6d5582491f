"""What a Linux design file says of page-table replicas."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.quantities import Cost, Spec


class ReplicasSpec(Spec):
    """A page table for each node, an add-on: a cpu walks that of its node."""

    method: Literal["numapte", "mitosis"]
    """When a node gets a level-1 table: at its first fault there, and flushes ask only the nodes that have
    one (`numapte`); or as soon as one is made, with all entries at all times (`mitosis`)."""
    prefetch: Annotated[int, Field(ge=0, le=9)] = 0
    """With `numapte`: a node's new table begins with the 2**prefetch entries around the one that is asked for
    (sysctl_hydra_repl_order)."""
    follow: Cost
    """From one replica of an entry to the next: the pointer in struct page and where the entry lies in its
    page (pgtable_repl_set_pte), without the lines."""
    look: Cost
    """A fault looks for the owner's entry and takes it over (try_lazy_repl), without locks and lines."""
