"""What a design file says of swap space, whatever kernel uses it."""

from __future__ import annotations

from typing import Protocol, Self

from pydantic import PositiveInt, model_validator

from sim.errors import RuleError
from sim.mm.drive_spec import BlockDevice
from sim.quantities import PAGE_BYTES, Cost, Size, Spec


class CompressedDevice(Spec):
    """A block device in memory that compresses (zram): who reads or writes a page does it itself.

    The memory that the compressed pages take is not taken here.
    """

    compress: Cost
    """Write a page."""
    decompress: Cost
    """Read a page."""


class SlotSpec(Spec):
    """How swap slots are handed out (mm/swap_slots.c, mm/swapfile.c)."""

    cache: PositiveInt
    """Slots that a cpu takes at once, and gives back at once (SWAP_SLOTS_CACHE_SIZE)."""
    cluster: PositiveInt
    """Slots whose counts one lock guards (SWAPFILE_CLUSTER)."""
    cache_space: PositiveInt
    """Slots whose part of the swap cache one lock guards (SWAP_ADDRESS_SPACE_PAGES)."""


class SlotCosts(Protocol):
    """What slots cost, in ps."""

    @property
    def slot(self) -> int:
        """Take a swap slot from the cpu's cache, or put it back."""

    @property
    def refill_slot(self) -> int:
        """Find one free slot, or free it, under the lock of the swap device."""

    @property
    def count_slot(self) -> int:
        """Count one user of a slot more or less."""


class SwapSpace(Spec):
    """A swap device."""

    size: Size
    """How much memory fits onto the device."""
    compressed: CompressedDevice | None = None
    """The device is memory (zram)."""
    block: BlockDevice | None = None
    """It is a drive. One of the two."""
    slots: SlotSpec
    """How swap slots are handed out."""

    @model_validator(mode="after")
    def _one_device(self) -> Self:
        if (self.compressed is None) == (self.block is None):
            raise RuleError(
                "a swap device is either `compressed` memory or a `block` device",
                {"compressed": "its costs, or nothing", "block": "its latencies, or nothing"},
            )
        return self

    @model_validator(mode="after")
    def _whole_pages(self) -> Self:
        if not self.size or self.size % PAGE_BYTES:
            raise ValueError("`size` must be a whole number of pages of 4 KiB")
        return self
