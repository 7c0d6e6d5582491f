"""LLFree's lower level: a bit for each frame and a count for each 2 MiB, changed by atomics alone.

    area      2 MiB: 512 bits in one cache line (set: in use), and an entry: how many are free, or HUGE
    tree      so many areas, whose entries are side by side in one line

    get, small   entry -= pages | first aligned run of zero bits := ones     no run: entry += pages, next area
    get, huge    entry 512 -> HUGE (two at once for 4 MiB); the bits stay zero
    put, small   bits := zero   | entry += pages
    put, huge    entry HUGE -> 512
    put of a part of what was taken whole   bits := ones, entry HUGE -> 0 | then as any other

The entry is counted down first and up last, so it never says more than there is: whoever gets through has a
bit for sure, or finds that others' blocks lie in the way of a longer run.

Source: luhsra/llfree-rs at d176e83 (January 2023, what was measured), core/src/lower/cache.rs; the same at
441c8d1 in core/src/lower.rs and bitfield.rs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.engine import Steps
from sim.errors import ModelError
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm.allocators.pooled import ALLOCATE, NONE

if TYPE_CHECKING:
    from sim.engine.costs import AtClock
    from sim.mm.allocators.spec import LlfreeSpec

HUGE_ORDER: Final = 9
AREA: Final = 1 << HUGE_ORDER
"""Frames of an area."""
HUGE: Final = -1
"""The entry of an area that was taken whole."""
FULL: Final = (1 << AREA) - 1
ROW_ORDER: Final = 6
"""A row of bits is one word: what one atomic changes."""
_ROWS: Final = AREA >> ROW_ORDER
_ROW: Final = (1 << (1 << ROW_ORDER)) - 1
_STARTS: Final = [sum(1 << at for at in range(0, AREA, 1 << order)) for order in range(HUGE_ORDER + 1)]
"""Of each order, where a block may begin."""
_BYTES: Final = 64 + 2
"""Of an area: its bits and its entry."""


def first_run(bits: int, width: int, order: int) -> int:
    """Where the first aligned run of 2**order zeros begins in *bits*, which are *width* many; or `NONE`."""
    for step in range(order):
        bits |= bits >> (1 << step)
    free = ~bits & _STARTS[order] & ((1 << width) - 1)
    return (free & -free).bit_length() - 1


class Lower:
    """Bit fields and entries of the *frames* from 0 on, which are whole areas."""

    __slots__ = (
        "_bit_lines",
        "_cold",
        "_cost",
        "_entry_lines",
        "_home",
        "_machine",
        "_rmw",
        "_title",
        "areas",
        "bits",
        "children",
        "entries",
    )

    def __init__(
        self, machine: Machine, title: str, home: int, frames: int, cost: AtClock[LlfreeSpec]
    ) -> None:
        self._machine = machine
        self._title = title
        self._home = home
        self._cost = cost
        self._rmw = machine.fabric.rmw
        self.children: int = cost.tree_children
        self.areas = frames >> HUGE_ORDER
        self.entries = [AREA] * self.areas
        self.bits: dict[int, int] = {}
        """Of areas in which a bit is set."""
        self._bit_lines: dict[int, CacheLine] = {}
        self._entry_lines: dict[int, CacheLine] = {}
        memory = machine.spec.memory
        core = memory.core_cache
        fits = core is not None and self.areas * _BYTES <= memory.llc
        self._cold = core.miss.at(machine.spec.clock) if core is not None and fits else -1
        if cost.first_load is not None:
            self._cold = cost.first_load

    # -- lines ----------------------------------------------------------------------------------------------

    def _line(self, lines: dict[int, CacheLine], number: int, name: str, cpu: Cpu) -> CacheLine:
        """Line *number*. Who uses it first finds it in the last-level cache, where that holds them all, or
        where the file says."""
        line = lines.get(number)
        if line is None:
            near = self._cold >= 0
            title = f"{name} {number} of {self._title}"
            line = self._machine.line(title, self._home, owner=cpu.id if near else -1)
            lines[number] = line
            if near:
                cpu.stall(self._cold, ALLOCATE)
        return line

    def _entry_line(self, area: int, cpu: Cpu) -> CacheLine:
        return self._line(self._entry_lines, area // self.children, "entries", cpu)

    def _bit_line(self, area: int, cpu: Cpu) -> CacheLine:
        return self._line(self._bit_lines, area, "bits", cpu)

    # -- taking ---------------------------------------------------------------------------------------------

    def get(self, cpu: Cpu, start: int, order: int) -> Steps[int]:
        """Value: a block in the tree of frame *start*, searched from that frame's row on; or `NONE`."""
        first = start >> HUGE_ORDER
        tree = first // self.children * self.children
        areas = min(self.children, self.areas - tree)
        if order >= HUGE_ORDER:
            return (yield from self._get_huge(cpu, tree, areas, first - tree, order))
        pages = 1 << order
        line = self._entry_line(first, cpu)
        for step in range(areas):
            area = tree + (first - tree + step) % areas
            if self.entries[area] < pages:
                cpu.work(self._cost.scan, ALLOCATE)
                continue
            if line.exclusive_to(cpu):
                cpu.stall(self._rmw, ALLOCATE)
            else:
                yield from line.write(cpu, ALLOCATE)
                if self.entries[area] < pages:
                    continue
            self.entries[area] -= pages
            row = start >> ROW_ORDER & _ROWS - 1 if not step and order <= ROW_ORDER else 0
            at = yield from self._set(cpu, area, row, order)
            if at != NONE:
                return (area << HUGE_ORDER) + at
            if line.exclusive_to(cpu):
                cpu.stall(self._rmw, ALLOCATE)
            else:
                yield from line.write(cpu, ALLOCATE)
            self.entries[area] += pages
        return NONE

    def _set(self, cpu: Cpu, area: int, row: int, order: int) -> Steps[int]:
        """Set the first aligned run of 2**order zeros of *area*, from *row* on: its begin, or `NONE`."""
        line = self._bit_line(area, cpu)
        if self._search(cpu, area, row, order, counted=False) == NONE:
            yield from line.read(cpu, ALLOCATE)
            return NONE
        atomics = max(1, 1 << order >> ROW_ORDER)
        if line.exclusive_to(cpu):
            cpu.stall(atomics * self._rmw, ALLOCATE)
        else:
            yield from line.write(cpu, ALLOCATE, again=atomics - 1)
        at = self._search(cpu, area, row, order, counted=True)
        if at != NONE:
            self.bits[area] = self.bits.get(area, 0) | ((1 << (1 << order)) - 1) << at
        return at

    def _search(self, cpu: Cpu, area: int, row: int, order: int, *, counted: bool) -> int:
        """Where a run begins; *counted*: each row that is looked at in vain takes its time."""
        bits = self.bits.get(area, 0)
        if order >= ROW_ORDER:
            at = first_run(bits, AREA, order)
            if counted:
                cpu.work((at >> ROW_ORDER if at != NONE else _ROWS) * self._cost.scan, ALLOCATE)
            return at
        for step in range(_ROWS):
            shift = (row + step & _ROWS - 1) << ROW_ORDER
            at = first_run(bits >> shift & _ROW, 1 << ROW_ORDER, order)
            if at != NONE:
                if counted and step:
                    cpu.work(step * self._cost.scan, ALLOCATE)
                return shift + at
        return NONE

    def _get_huge(self, cpu: Cpu, tree: int, areas: int, offset: int, order: int) -> Steps[int]:
        together = 1 << order - HUGE_ORDER
        line = self._entry_line(tree, cpu)
        offset -= offset % together
        for step in range(0, areas, together):
            area = tree + (offset + step) % areas
            if not self._whole(area, together):
                cpu.work(self._cost.scan, ALLOCATE)
                continue
            if line.exclusive_to(cpu):
                cpu.stall(self._rmw, ALLOCATE)
            else:
                yield from line.write(cpu, ALLOCATE)
                if not self._whole(area, together):
                    continue
            for each in range(area, area + together):
                self.entries[each] = HUGE
            return area << HUGE_ORDER
        return NONE

    def _whole(self, area: int, together: int) -> bool:
        """Whether so many areas from *area* on are entirely free."""
        end = area + together
        return end <= self.areas and all(self.entries[each] == AREA for each in range(area, end))

    # -- giving back ----------------------------------------------------------------------------------------

    def put(self, cpu: Cpu, frame: int, order: int) -> Steps[None]:
        """A block comes back. Raises `ModelError` if it is free."""
        area = frame >> HUGE_ORDER
        line = self._entry_line(area, cpu)
        if order >= HUGE_ORDER:
            if line.exclusive_to(cpu):
                cpu.stall(self._rmw, ALLOCATE)
            else:
                yield from line.write(cpu, ALLOCATE)
            self._put_huge(area, order)
            return
        if not line.held_by(cpu):
            yield from line.read(cpu, ALLOCATE)
        bits = self._bit_line(area, cpu)
        if self.entries[area] == HUGE:
            yield from bits.write(cpu, ALLOCATE, again=_ROWS - 1)
            yield from line.write(cpu, ALLOCATE)
            if self.entries[area] == HUGE:
                self._break(area)
        atomics = max(1, 1 << order >> ROW_ORDER)
        if bits.exclusive_to(cpu):
            cpu.stall(atomics * self._rmw, ALLOCATE)
        else:
            yield from bits.write(cpu, ALLOCATE, again=atomics - 1)
        self._clear(frame, order)
        if line.exclusive_to(cpu):
            cpu.stall(self._rmw, ALLOCATE)
        else:
            yield from line.write(cpu, ALLOCATE)
        self.entries[area] += 1 << order

    def _put_huge(self, area: int, order: int) -> None:
        for each in range(area, area + (1 << order - HUGE_ORDER)):
            if self.entries[each] != HUGE:
                raise ModelError(f"{self._title}: area {each} is given back whole and was not taken so")
            self.entries[each] = AREA

    def _break(self, area: int) -> None:
        """What was taken whole is 512 frames in use from now on."""
        self.bits[area] = FULL
        self.entries[area] = 0

    def _clear(self, frame: int, order: int) -> None:
        area, run = frame >> HUGE_ORDER, ((1 << (1 << order)) - 1) << (frame & AREA - 1)
        bits = self.bits.get(area, 0)
        if bits & run != run:
            raise ModelError(f"{self._title}: frame {frame} is given back and is free")
        if bits == run:
            del self.bits[area]
        else:
            self.bits[area] = bits ^ run

    # -- in no time -----------------------------------------------------------------------------------------

    def get_now(self, tree: int, order: int) -> int:
        """A block of tree number *tree*, or `NONE`."""
        first = tree * self.children
        areas = range(first, min(first + self.children, self.areas))
        if order >= HUGE_ORDER:
            together = 1 << order - HUGE_ORDER
            for area in areas[::together]:
                if self._whole(area, together):
                    for each in range(area, area + together):
                        self.entries[each] = HUGE
                    return area << HUGE_ORDER
            return NONE
        for area in areas:
            if self.entries[area] >= 1 << order:
                bits = self.bits.get(area, 0)
                at = first_run(bits, AREA, order)
                if at != NONE:
                    self.bits[area] = bits | ((1 << (1 << order)) - 1) << at
                    self.entries[area] -= 1 << order
                    return (area << HUGE_ORDER) + at
        return NONE

    def get_area_now(self, tree: int) -> int:
        """The first of 512 single frames that are all of an area of tree number *tree*, or `NONE`."""
        frame = self.get_now(tree, HUGE_ORDER)
        if frame != NONE:
            self._break(frame >> HUGE_ORDER)
        return frame

    def put_now(self, frame: int, order: int) -> None:
        area = frame >> HUGE_ORDER
        if order >= HUGE_ORDER:
            self._put_huge(area, order)
            return
        if self.entries[area] == HUGE:
            self._break(area)
        self._clear(frame, order)
        self.entries[area] += 1 << order

    # -- the end state --------------------------------------------------------------------------------------

    def free_in(self, tree: int) -> int:
        """Free frames of tree number *tree*, as its entries count them."""
        first = tree * self.children
        return sum(max(0, entry) for entry in self.entries[first : first + self.children])

    def contradictions(self) -> Iterator[str]:
        """Each entry counts the zeros of its bits; what was taken whole has none set."""
        for area, bits in self.bits.items():
            entry = self.entries[area]
            if entry == HUGE:
                yield f"{self._title}: area {area} was taken whole and has bits set"
            elif entry != AREA - bits.bit_count():
                free = AREA - bits.bit_count()
                yield f"{self._title}: entry {area} counts {entry} free frames and {free} bits are zero"
        for area, entry in enumerate(self.entries):
            if entry != AREA and entry != HUGE and area not in self.bits:
                yield f"{self._title}: entry {area} counts {entry} free frames and no bit is set"

    def recount(self) -> None:
        """Recovery after a crash: the bits are right, and each entry is made of them again."""
        for area, entry in enumerate(self.entries):
            if entry == HUGE:
                self.bits.pop(area, None)
            else:
                self.entries[area] = AREA - self.bits.get(area, 0).bit_count()
