"""What stands in a page table for a page that is swapped out (include/linux/swapops.h, 6.13)."""

from __future__ import annotations

from sim.mm import NOTHING, Status
from sim.mm.entries import SWAPPED


class SwapEntry(Status):
    """A swap pte: its *slot*. What may be done with the page the VMA says.

    *exclusive*: only this process has the page (pte_swp_exclusive), so that a write need not copy it. Entries
    are compared by identity: one that was replaced by another of the same slot meanwhile is another.
    """

    __slots__ = ("exclusive",)

    def __init__(self, slot: int, *, exclusive: bool) -> None:
        super().__init__(NOTHING, SWAPPED, slot)
        self.exclusive = exclusive

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @classmethod
    def of(cls, slot: int, *, exclusive: bool) -> SwapEntry:
        """The entry of a page in *slot*."""
        return cls(slot, exclusive=exclusive)

    @property
    def place(self) -> int:
        """The slot."""
        assert self.slot is not None
        return self.slot
