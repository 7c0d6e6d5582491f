"""Which part of a run is drawn: a window of simulated time, some of the cpus, and so many slices at most.

Times that are shown count from the beginning of the measured part, in ps. Unless a window is asked for, all
that the measured part has is drawn, with whatever reaches into it. When there would be more than *most*
slices the drawing ends, for all cpus at the same time; the folded stacks go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.errors import Fault, InputError
from sim.quantities import UnitError, parse_duration

if TYPE_CHECKING:
    from sim.engine import Engine


@dataclass(frozen=True)
class Asked:
    """What is wanted: *begin* to *end* (ps; None: to the end), one of *every* cpus, *most* slices.

    A slice takes some 55 bytes of the file.
    """

    begin: int = 0
    end: int | None = None
    every: int = 1
    most: int = 60_000


class Scope:
    """What is drawn of one run of a point whose workload has a window of its own, or not (*windowed*)."""

    def __init__(self, asked: Asked, engine: Engine, *, windowed: bool) -> None:
        self.asked = asked
        self.drawn = 0
        """Slices so far."""
        self.zero: int | None = None
        """When the measured part began (engine's ps)."""
        self.over: int | None = None
        """When it ended."""
        self.cut: int | None = None
        """Where the drawing ended because of too many slices (shown ps)."""
        self._engine = engine
        self.page = 1 if windowed else 0
        """The page of the accounts that counts."""

    @property
    def now(self) -> int:
        return self._engine._now

    def counts(self, page: int) -> bool:
        """Whether what is on this *page* is in the breakdown."""
        return page == self.page

    @property
    def ends(self) -> int | None:
        """Where the drawing ends, if that is known (shown ps)."""
        given = [time for time in (self.asked.end, self.cut) if time is not None]
        return min(given) if given else None

    def clip(self, begin: int, end: int, page: int) -> tuple[int, int] | None:
        """What is shown of *begin* to *end* (engine's ps) on *page*, in shown ps; None: nothing."""
        zero = self.zero
        if zero is None:
            return None
        if self.cut is None and self.drawn >= self.asked.most:
            self.cut = max(self.asked.begin, self.now - zero)
        first, last = self.asked.begin, self.ends
        begin, end = begin - zero, end - zero
        if begin < 0 and end <= 0 and not self.counts(page):
            return None
        if self.over is not None and begin >= self.over - zero and not self.counts(page):
            return None
        if end < first or (end == first and begin < end) or (last is not None and begin >= last):
            return None
        return max(begin, first), end if last is None else min(end, last)


def parse_window(text: str, *, length: bool = False) -> tuple[int, int | None]:
    """`10us..25us` -> ps; either side may be missing. With *length*, `25us` is that from the beginning.

    Raises `InputError`.
    """
    option = f"--window {text}"
    allowed = "FROM..TO in simulated time since the measured part began: 10us..25us"
    first, dots, last = text.partition("..")
    if length:
        option, allowed = f"--length {text}", "a time, such as 25us"
        first, dots, last = ("", "", text)
    elif not dots:
        raise InputError(Fault("not a window", option, allowed=allowed))
    try:
        begin = parse_duration(first) if first.strip() else 0
        end = parse_duration(last) if last.strip() else None
    except UnitError as error:
        raise InputError(Fault(str(error), option, allowed=allowed)) from None
    if end is not None and end <= begin:
        raise InputError(Fault("nothing lies in it", option, allowed=allowed))
    return begin, end
