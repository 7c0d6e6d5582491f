"""The entries of a level-1 table that was filled in bulk: one frame after the other, with the same rights.

They take the room of one. An entry is made when somebody asks for it and stands for itself from then on:

    PresentRun(frame=512)      slot 0, 1, 2 .. 511 say frame 512, 513, 514 .. 1023
    after get(2), set(3, None) slot 2 has an entry that may be changed, slot 3 is empty, the others as before
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from sim.mm.entries import Present, Rights

_ABSENT: Final = object()


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


class PresentRun(dict[int, Any]):
    """Slot -> entry, as the dictionary of any table; what is not in it says *frame* + slot.

    Such pages have been written, so they are dirty, and *accessed* unless another process has done that.
    """

    __slots__ = ("_refilled", "accessed", "copy_on_write", "frame", "rights")

    def __init__(
        self, frame: int, rights: Rights, *, copy_on_write: bool = False, accessed: bool = True
    ) -> None:
        super().__init__()
        self.accessed = accessed
        self.frame = frame
        self.rights = rights
        self.copy_on_write = copy_on_write
        self._refilled: set[int] = set()  # empty for a while: another page, even if it has the frame again

    def __setitem__(self, slot: int, entry: Any) -> None:
        if entry is not None and dict.get(self, slot, _ABSENT) is None:
            self._refilled.add(slot)
        dict.__setitem__(self, slot, entry)

    def get(self, slot: int, default: Any = None) -> Any:
        """The entry in *slot*, which stands for itself from now on."""
        entry = dict.get(self, slot, _ABSENT)
        if entry is _ABSENT:
            entry = self[slot] = self.said(slot)
        return entry

    def said(self, slot: int) -> Present:
        """What the run says of *slot*."""
        frame = self.frame + slot
        return Present(frame, self.rights, 1, self.copy_on_write, accessed=self.accessed, dirty=True)

    def frames(self, start: int, stop: int) -> range | None:
        """The frames of slots [*start*, *stop*), if all of them still have those of the run."""
        for slot in range(start, stop) if len(self) > stop - start else self:
            entry = dict.get(self, slot, _ABSENT)
            if not start <= slot < stop or entry is _ABSENT:
                continue
            if entry.__class__ is not Present or entry.frame != self.frame + slot or slot in self._refilled:
                return None
        return range(self.frame + start, self.frame + stop)

    def is_whole(self) -> bool:
        """Whether every slot still says what the run says."""
        if self._refilled:
            return False
        return all(entry == self.said(slot) and entry.dirty for slot, entry in self.items())

    def share(self) -> None:
        """All entries of an `is_whole` run are copied on a write from now on."""
        self.copy_on_write = True
        for entry in self.values():
            entry.copy_on_write = True

    def alike(self, base: int, slots: int) -> list[Alike]:
        """The entries of a table for *slots* pages from *base* on that do not stand for themselves."""
        parts, start = [], 0
        for slot in [*sorted(self), slots]:
            if start < slot:
                frames = range(self.frame + start, self.frame + slot)
                parts.append(Alike(base + start, frames, self.said(start)))
            start = slot + 1
        return parts

    def clear_slots(self, start: int, stop: int) -> None:
        """Slots [*start*, *stop*) are empty from now on."""
        self.update(dict.fromkeys(range(start, stop)))
