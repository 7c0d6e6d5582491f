"""Several lines side by side that one piece of code uses together, where each may be shared with others.

Lines that nobody uses apart from each other are one `CacheLine` of several lines. A span is for memory whose
lines have other users too, such as an object that begins in the middle of a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.engine import Activity
from sim.hardware.line import LINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.engine import Steps
    from sim.hardware.cpu import Cpu
    from sim.hardware.line import CacheLine


class LineSpan:
    """*lines*, at least one, each of its own state. An access waits for the first one that misses; the misses
    beside it overlap with that.
    """

    __slots__ = ("lines",)

    def __init__(self, lines: Sequence[CacheLine]) -> None:
        self.lines = tuple(lines)

    def __repr__(self) -> str:
        return f"span of {self.lines}"

    def read(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        """Load from all lines; what *cpu* holds costs one hit."""
        if cpu.pending:
            yield cpu.take_pending()
        missed, bit, number = False, cpu.bit, cpu.id
        for line in self.lines:
            sharers = line.sharers
            if bit & sharers if sharers else line.owner == number:  # held_by, without the call
                continue
            if not missed or not line.came_along(cpu, activity, write=False):
                yield from line.read(cpu, activity)
            missed = True
        if not missed:
            cpu.pay(line.fabric.hit, activity)

    def store(self, cpu: Cpu, activity: Activity = LINE) -> Steps[None]:
        """Store to all lines; what is *cpu*'s alone costs one hit."""
        if cpu.pending:
            yield cpu.take_pending()
        missed = False
        for line in self.lines:
            if line.exclusive_to(cpu):
                continue
            if not missed or not line.came_along(cpu, activity, write=True):
                yield from line.store(cpu, activity)
            missed = True
        if not missed:
            cpu.pay(line.fabric.hit, activity)

    def held_by(self, cpu: Cpu) -> bool:
        """Whether *cpu* has a valid copy of each."""
        return all(line.held_by(cpu) for line in self.lines)
