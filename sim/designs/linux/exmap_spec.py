"""What a design file says of exmap (tuhhosg/exmap at 6ea8f03)."""

from __future__ import annotations

from typing import Literal

from sim.quantities import Cost, Spec


class ExmapCosts(Spec):
    """Cpu work of one step each, without system call, lines, locks and flush."""

    call: Cost
    """An ioctl: its parameters are copied and checked, and the interface found."""
    proxy: Cost
    """pread of the device: its way through the file system's code, and its checks (exmap_read_iter)."""
    part: Cost
    """One request word: read it, walk the upper tables, write what came of it."""
    page: Cost
    """One page beyond that: a pointer from or to the bundle, checks of its descriptor, the entry."""


class ExmapSpec(Spec):
    """The module."""

    give: Literal["before-flush", "after-flush"]
    """When a freed page is put into the pool: as its entry is cleared, as the module has it, or when no TLB
    shows it any more. Before that another interface may allocate it while threads still reach it at the old
    address."""
    costs: ExmapCosts
    """Cpu work."""
