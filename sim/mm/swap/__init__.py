"""Swap space: what a design file says of it, the device, and its slots."""

from sim.mm.swap.device import SWAP, SwapDevice
from sim.mm.swap.slots import LOCK_SWAP, SwapSlots
from sim.mm.swap.spec import SwapSpace

__all__ = ["LOCK_SWAP", "SWAP", "SwapDevice", "SwapSlots", "SwapSpace"]
