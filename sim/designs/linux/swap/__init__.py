"""Swap: what a design file says of it, and the entries that name slots."""

from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.swap.spec import ReclaimCosts, ReclaimSpec, SwapSpec

__all__ = ["ReclaimCosts", "ReclaimSpec", "SwapEntry", "SwapSpec"]
