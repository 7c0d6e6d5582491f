"""The entries of a level-1 table that was filled in bulk: one frame after the other, with the same rights.

They take the room of one. An entry is made when somebody asks for it and stands for itself from then on:

    PresentRun(frame=512)      slot 0, 1, 2 .. 511 say frame 512, 513, 514 .. 1023
    after get(2), set(3, None) slot 2 has an entry that may be changed, slot 3 is empty, the others as before
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from sim.mm.entries import Present, Rights

_SLOTS: Final = 512
"""Of a table."""


class Alike(NamedTuple):
    """Present entries for the pages from *page* on, which have one of *frames* after the other.

    *entry* is the first one.
    """

    page: int
    frames: range
    entry: Present

    @property
    def pages(self) -> range:
        """All its pages."""
        return range(self.page, self.page + len(self.frames))


Piece: TypeAlias = tuple[int, Present] | Alike
"""A page and its entry, or many alike."""


class _Said:
    """What is in a slot of which a run speaks."""

    __slots__ = ()


SAID: Final = _Said()


class PresentRun:
    """The *entries* of a table; a slot that holds `SAID` has frame *frame* + slot.

    Such pages have been written, so they are dirty, and *accessed* unless another process has done that.
    Slots that were *refilled* were empty for a while: what is there is another page, even if it has the frame
    again.
    """

    __slots__ = ("accessed", "copy_on_write", "entries", "frame", "refilled", "rights")

    def __init__(
        self, frame: int, rights: Rights, *, copy_on_write: bool = False, accessed: bool = True
    ) -> None:
        self.entries: list[Any] = [SAID] * _SLOTS
        self.accessed = accessed
        self.frame = frame
        self.rights = rights
        self.copy_on_write = copy_on_write
        self.refilled: set[int] = set()

    def said(self, slot: int) -> Present:
        """What the run says of *slot*."""
        frame = self.frame + slot
        return Present(frame, self.rights, 1, self.copy_on_write, accessed=self.accessed, dirty=True)

    def frames(self, start: int, stop: int) -> range | None:
        """The frames of slots [*start*, *stop*), if all of them still have those of the run."""
        entries = self.entries
        for slot in range(start, stop):
            entry = entries[slot]
            if entry is SAID:
                continue
            if type(entry) is not Present or entry.frame != self.frame + slot or slot in self.refilled:
                return None
        return range(self.frame + start, self.frame + stop)

    def is_whole(self) -> bool:
        """Whether every slot still says what the run says."""
        if self.refilled:
            return False
        return all(
            entry is SAID or (entry == self.said(slot) and entry.dirty)
            for slot, entry in enumerate(self.entries)
        )

    def is_mapped_alike(self) -> bool:
        """Whether every slot has a page that may be used as the run says."""
        return all(entry is SAID or entry == self.said(slot) for slot, entry in enumerate(self.entries))

    def share(self) -> None:
        """All entries of an `is_whole` run are copied on a write from now on."""
        self.copy_on_write = True
        for entry in self.entries:
            if entry is not SAID:
                entry.copy_on_write = True

    def alike(self, base: int) -> list[Alike]:
        """The entries that do not stand for themselves, of a table for the pages from *base* on."""
        parts: list[Alike] = []
        slot, slots = 0, len(self.entries)
        while slot < slots:
            if self.entries[slot] is SAID:
                parts.append(self.alike_from(slot, base + slot))
                slot += len(parts[-1].frames)
            slot += 1
        return parts

    def alike_from(self, slot: int, page: int) -> Alike:
        """Those from *slot* on, the entry of *page*, up to one of which the run does not speak."""
        end = slot
        while end < len(self.entries) and self.entries[end] is SAID:
            end += 1
        return Alike(page, range(self.frame + slot, self.frame + end), self.said(slot))

    def clear_slots(self, start: int, stop: int) -> None:
        """Slots [*start*, *stop*) are empty from now on."""
        self.entries[start:stop] = [None] * (stop - start)
