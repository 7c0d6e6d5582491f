"""What a Linux design file says of morsels."""

from __future__ import annotations

from typing import Literal

from sim.quantities import Cost, Spec


class MorselCosts(Spec):
    """Cpu work of one step each, without lines, locks, and the kernel's own part in a call."""

    create: Cost
    """The driver's part in making one: check the order, build the ID."""
    map: Cost
    """The driver's part in mapping one: the tag of the ID, rights, the entry."""
    unmap: Cost
    """The notifier that takes its entry out: find the VMA's morsel, check that the entry is its."""
    fault: Cost
    """The driver's handler, beside what it does on each level."""
    level: Cost
    """Read an entry and go down one level, or find it empty."""
    entry: Cost
    """Build an entry for a new page, and look whether it was stored."""
    destroy: Cost
    """The driver's part in destroying one."""
    destroy_slot: Cost
    """Look at one slot of a table that is taken apart."""


class MorselSpec(Spec):
    """Morsels, as the kernel module of the thesis has them (Linux 5.17), an add-on."""

    prebuilt: bool
    """Whether orders 3 and 4 are made with all tables down to the PMD tables, as in the prototype: the
    kernel's fault path goes down to there before the driver is asked, and would make tables of its own."""
    fault_lock: Literal["mmap_lock", "none"]
    """What a fault in a morsel holds: mmap_lock for reading, as in the prototype, or nothing: the entry that
    refers to the morsel says all that is to be known."""
    costs: MorselCosts
    """Cpu work of each step."""


class ObjectSpec(Spec):
    """What a program gets that asks for memory as an object."""

    kind: Literal["shm", "anonymous", "morsel"] = "shm"
    """A file in memory (POSIX shared memory); shared anonymous memory, which one process maps once, or a
    morsel."""
    populate: bool = False
    """Whether all pages are mapped with the object (MAP_POPULATE), else when they are touched."""
