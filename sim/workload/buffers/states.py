"""The word of each page (viktorleis/vmcache at 1157828, PageState): 8 bits of state, 56 of version.

    unlocked --- marked by the clock ---> marked --- lock to evict ---> locked
       ^ ^------- used: mark taken away ----'                             |
       '----- unlock, version + 1 ---- locked <--- lock to bring in --- evicted, version + 1

Who only reads stores nothing: it loads the word before and after, and begins anew where it was locked, or the
version is another one. Readers that lock, and writers, are not here: look-ups do neither.
"""

from __future__ import annotations

from typing import Final

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine

BUFFER: Final = Activity("buffer manager")

UNLOCKED: Final = 0
LOCKED: Final = 253
MARKED: Final = 254
EVICTED: Final = 255

_WORDS: Final = 8
"""Words on a line."""


class PageStates:
    """The words of so many pages, all evicted."""

    __slots__ = ("_lines", "_machine", "state", "version")

    def __init__(self, machine: Machine, pages: int) -> None:
        self._machine = machine
        self._lines: dict[int, CacheLine] = {}
        self.state = [EVICTED] * pages
        self.version = [0] * pages

    def _line(self, page: int) -> CacheLine:
        number = page // _WORDS
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = self._machine.line("page states", 0)
        return line

    def load(self, cpu: Cpu, page: int) -> Steps[tuple[int, int]]:
        """Value: state and version."""
        yield from self._line(page).read(cpu, BUFFER)
        return self.state[page], self.version[page]

    def swap(self, cpu: Cpu, page: int, found: tuple[int, int], state: int) -> Steps[bool]:
        """Compare-and-swap of what was *found* for *state* and the same version; value: whether it worked."""
        yield from self._line(page).write(cpu, BUFFER)
        if (self.state[page], self.version[page]) != found:
            return False
        self.state[page] = state
        return True

    def unlock(self, cpu: Cpu, page: int, state: int) -> Steps[None]:
        """The page, which *cpu*'s thread has locked, is in *state* and of a new version."""
        yield from self._line(page).store(cpu, BUFFER)
        assert self.state[page] == LOCKED
        self.state[page] = state
        self.version[page] += 1
