"""What a Linux design file says of a drive that programs read past the page cache."""

from __future__ import annotations

from sim.mm import BlockDevice
from sim.quantities import Cost


class DriveSpec(BlockDevice):
    """A block device that programs read directly."""

    call: Cost
    """The code of such a read: files, the block device's own, and the end of it."""
    pin: Cost
    """Find a page by its address and pin it (get_user_pages_fast), and let it go."""
