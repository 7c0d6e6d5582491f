"""What design files say of memory cgroups."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, NonNegativeInt, PositiveInt

from sim.quantities import Cost, Spec


def _none_or_number(value: Any) -> Any:
    if value != "none" and (type(value) is not int or value < 0):
        raise ValueError("must be none, or how many levels below the root the cgroup is, from 0 on")
    return value


class ObjectCosts(Spec):
    """Work for an object of a cache that is `accounted`, with the statistics, in a cgroup below the root."""

    charge: Cost
    """When it is allocated (__memcg_slab_post_alloc_hook)."""
    uncharge: Cost
    """When it is freed (__memcg_slab_free_hook)."""


class MemcgSpec(Spec):
    """Memory cgroups. All processes are in one."""

    levels: Annotated[Literal["none"] | NonNegativeInt, BeforeValidator(_none_or_number)]
    """How many levels below the root that is: 0 is the root itself, if the machine does not say otherwise
    (`kernel.cgroup_levels`); `none`: there are no memory cgroups."""
    objects: ObjectCosts | None = None
    """Objects of slabs are charged one by one (since 5.9). Absent: they are not charged."""
    charge_batch: PositiveInt
    """Pages that a cpu takes from the counters at once (MEMCG_CHARGE_BATCH)."""
    uncharge_batch: PositiveInt
    """Pages that are given up together, and those of them that are free taken out of the counters at once."""
