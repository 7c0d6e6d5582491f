"""Which page frames lie in a core's own caches: those that it filled last.

A page that is freed and given out again soon (the per-cpu free lists are last in, first out) is zeroed in the
cache, many times faster than one that has to be fetched from memory. Here each core has a list of the frames
it has filled, the latest last. It holds as many as the machine file says that the core's caches keep; each
page that comes from elsewhere pushes the oldest one out.

Invariants: a frame is on one core's list at most, the one that filled it last; no list is longer than the
caches hold. What leaves a list is taken to be cold: that it may lie in the last-level cache is left out.
"""

from __future__ import annotations


class WarmPages:
    """The lists of all cores; each holds up to *room* frames."""

    __slots__ = ("_core_of", "_lists", "_room")

    def __init__(self, cores: int, room: int) -> None:
        self._room = room
        self._lists: list[dict[int, None]] = [{} for _ in range(cores)]
        self._core_of: dict[int, int] = {}

    def fill(self, core: int, frame: int) -> bool:
        """*core* writes all of *frame*. Value: whether its caches held it already."""
        before = self._core_of.get(frame)
        if before is not None:
            del self._lists[before][frame]
        if before != core:
            self.displace(core, 1)
        self._lists[core][frame] = None
        self._core_of[frame] = core
        return before == core

    def displace(self, core: int, pages: int) -> None:
        """So many *pages* that are on no list pass through the caches of *core*."""
        held = self._lists[core]
        while held and len(held) + pages > self._room:
            frame = next(iter(held))
            del held[frame], self._core_of[frame]
