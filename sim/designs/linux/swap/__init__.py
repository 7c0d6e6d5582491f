"""Swap space: what a design file says of it, the device, its slots, and the entries that name them."""

from sim.designs.linux.swap.device import SWAP, SwapDevice
from sim.designs.linux.swap.entry import SwapEntry
from sim.designs.linux.swap.slots import LOCK_SWAP, SwapSlots
from sim.designs.linux.swap.spec import ReclaimCosts, ReclaimSpec, SwapSpec

__all__ = [
    "LOCK_SWAP",
    "SWAP",
    "ReclaimCosts",
    "ReclaimSpec",
    "SwapDevice",
    "SwapEntry",
    "SwapSlots",
    "SwapSpec",
]
