"""The table of pages in memory, and the clock that goes round it (viktorleis/vmcache, ResidentPageSet).

Open addressing with tombstones; entries are set by compare-and-swap and never move. The clock's hand is a
position in it, which whoever evicts moves on by a batch, by compare-and-swap on one word.
"""

from __future__ import annotations

from typing import Final

from sim.engine import Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.workload.buffers.states import BUFFER

EMPTY: Final = -1
TOMBSTONE: Final = -2

_ENTRIES: Final = 8
"""Entries on a line."""
_MASK: Final = (1 << 64) - 1
_FACTOR: Final = 0xC6A4A7935BD1E995
_SHIFT: Final = 47


class ResidentPages:
    """A table for so many *pages* at least, half as many entries more, and to a power of two. The hand is on
    *counters*, a line with words that others write, too. *probe* is the work of one look (ps)."""

    __slots__ = ("_counters", "_entries", "_hand", "_lines", "_machine", "_probe")

    def __init__(self, machine: Machine, pages: int, counters: CacheLine, probe: int) -> None:
        self._machine = machine
        self._counters = counters
        self._probe = probe
        self._lines: dict[int, CacheLine] = {}
        self._entries = [EMPTY] * (1 << (int(pages * 1.5) - 1).bit_length())
        self._hand = 0

    def _line(self, place: int) -> CacheLine:
        number = place // _ENTRIES
        line = self._lines.get(number)
        if line is None:
            line = self._lines[number] = self._machine.line("resident pages", 0)
        return line

    def put(self, page: int) -> None:
        """`insert` that takes no time."""
        place = self._hash(page)
        while self._entries[place] >= 0:
            place = (place + 1) % len(self._entries)
        self._entries[place] = page

    def insert(self, cpu: Cpu, page: int) -> Steps[None]:
        """*page* is in memory."""
        place = self._hash(page)
        while True:
            cpu.work(self._probe, BUFFER)
            yield from self._line(place).read(cpu, BUFFER)
            found = self._entries[place]
            if found < 0:
                yield from self._line(place).write(cpu, BUFFER)
                if self._entries[place] == found:
                    self._entries[place] = page
                    return
            place = (place + 1) % len(self._entries)

    def remove(self, cpu: Cpu, page: int) -> Steps[bool]:
        """It is not; value: whether it was in the table."""
        place = self._hash(page)
        while True:
            cpu.work(self._probe, BUFFER)
            yield from self._line(place).read(cpu, BUFFER)
            found = self._entries[place]
            if found == EMPTY:
                return False
            if found == page:
                yield from self._line(place).write(cpu, BUFFER)
                if self._entries[place] == page:
                    self._entries[place] = TOMBSTONE
                    return True
            place = (place + 1) % len(self._entries)

    def advance(self, cpu: Cpu, batch: int) -> Steps[int]:
        """Move the hand on by *batch* entries; value: where they begin."""
        while True:
            yield from self._counters.read(cpu, BUFFER)
            hand = self._hand
            yield from self._counters.write(cpu, BUFFER)
            if self._hand == hand:
                self._hand = (hand + batch) % len(self._entries)
                return hand

    def at(self, cpu: Cpu, place: int) -> Steps[int | None]:
        """The page at *place*, None if there is none."""
        place %= len(self._entries)
        cpu.work(self._probe, BUFFER)
        line = self._line(place)
        if line.held_by(cpu):
            cpu.stall(self._machine.fabric.hit, BUFFER)
        else:
            yield from line.read(cpu, BUFFER)
        found = self._entries[place]
        return found if found >= 0 else None

    def _hash(self, page: int) -> int:
        """MurmurHash64A of one word, as vmcache has it."""
        mixed = page * _FACTOR & _MASK
        mixed = (mixed ^ mixed >> _SHIFT) * _FACTOR & _MASK
        found = 0x8445D61A4E774912 ^ (8 * _FACTOR & _MASK)
        found = (found ^ mixed) * _FACTOR & _MASK
        found = (found ^ found >> _SHIFT) * _FACTOR & _MASK
        return (found ^ found >> _SHIFT) & len(self._entries) - 1
