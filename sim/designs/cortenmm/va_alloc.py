"""CortenMM's virtual-address allocators (artifact, kernel/src/vm/vmar/vm_allocator.rs).

The per-core one gives each cpu a slice of the address space and a bump pointer on a line of its own;
addresses are never reused. A fixed mapping looks for the slice that contains it, cpu by cpu, and pushes
that cpu's pointer beyond itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, TypeAlias

from sim.engine import Activity, Steps
from sim.hardware import CacheLine, Cpu, Machine
from sim.mm import USER_PAGES, Mapped
from sim.sync import QueuedSpinLock, QueueNodes

VA_ALLOC: Final = Activity("va allocator")
LOCK_VA: Final = Activity("lock: va allocator")

FIRST_PAGE: Final = 16
"""64 KiB, the lowest user address."""
LAST_PAGE: Final = (1 << 35) - (1 << 18)
"""128 TiB less 1 GiB."""
START_BRK: Final = USER_PAGES // 3 * 2
"""Where a heap begins: behind a program at a fixed address, as Linux has it."""
HEAP_CLEARANCE: Final = 1 << 24
"""Pages behind it that are kept free for it: 64 GiB (USER_HEAP_VM_CLEARANCE)."""


VaAllocator: TypeAlias = "PerCoreAllocator | GlobalAllocator | SearchedTables"


class PerCoreAllocator:
    """One slice and one bump pointer a cpu."""

    __slots__ = (
        "_alloc",
        "_lines",
        "_looked",
        "_next",
        "_scan",
        "_slice",
        "_writes",
        "_written",
    )

    def __init__(self, machine: Machine, *, alloc: int, scan: int) -> None:
        self._alloc = alloc
        self._scan = scan
        self._slice = (LAST_PAGE - FIRST_PAGE) // len(machine.cpus)
        self._next = [FIRST_PAGE + cpu.id * self._slice for cpu in machine.cpus]
        self._lines: list[CacheLine] = [
            machine.line(f"va pointer of {cpu}", cpu.socket) for cpu in machine.cpus
        ]
        self._writes = 0
        self._written: dict[int, int] = {}  # line -> number of its last write, oldest first
        self._looked = [-1] * len(machine.cpus)

    def allocate(self, cpu: Cpu, pages: int) -> Steps[int | None]:
        """Value is the first page of a fresh range: of the cpu's slice, or of the first that has room."""
        index, looked_at = cpu.id, 0
        while True:
            cpu.work(self._alloc, VA_ALLOC)
            yield from self._write(cpu, index)
            start = self._next[index]
            if start + pages < FIRST_PAGE + (index + 1) * self._slice:
                self._next[index] = start + pages
                return start
            if looked_at == len(self._next):
                return None
            index = looked_at
            looked_at += 1

    def claim(self, cpu: Cpu, start: int, pages: int) -> Steps[None]:
        """`allocate_fixed`: look at every slice, compare-and-swap the pointer of the one with *start*, if
        there is one: what lies above all of them, as a stack does, is nobody's."""
        owner = self._slice_of(start)
        cpu.work(self._scan * len(self._lines), VA_ALLOC)
        for line in self._changed_for(cpu):
            yield from line.read(cpu, VA_ALLOC)
        if start >= LAST_PAGE:
            return
        yield from self._write(cpu, owner)
        self._next[owner] = max(self._next[owner], start + pages)

    def copy(self, other: VaAllocator) -> None:
        """A fork gives addresses away from where its parent would."""
        assert isinstance(other, PerCoreAllocator)
        self._next = list(other._next)

    def clear(self) -> None:
        """Nothing is mapped any more."""
        self._next = [FIRST_PAGE + cpu * self._slice for cpu in range(len(self._next))]

    def contradictions(self, mappings: Sequence[Mapped]) -> Iterator[str]:
        """Mappings that reach beyond the pointer of their slice, and of those below."""
        given = list(accumulate(self._next, max))
        for mapping in mappings:
            page = mapping.start
            while page < mapping.end:
                owner = max(0, self._slice_of(page))
                stop = min(mapping.end, FIRST_PAGE + (owner + 1) * self._slice)
                if owner == len(given) - 1:
                    stop = mapping.end
                if page >= LAST_PAGE:
                    break
                if stop > given[owner]:
                    yield f"{mapping} is mapped, but nobody got addresses from {given[owner]:#x} on"
                page = stop

    def _slice_of(self, page: int) -> int:
        return min((page - FIRST_PAGE) // self._slice, len(self._lines) - 1)

    def _write(self, cpu: Cpu, index: int) -> Steps[None]:
        yield from self._lines[index].write(cpu, VA_ALLOC)
        self._writes += 1
        self._written.pop(index, None)
        self._written[index] = self._writes

    def _changed_for(self, cpu: Cpu) -> list[CacheLine]:
        """The lines that *cpu* does not hold: looking at the others costs no more than `scan`."""
        since, self._looked[cpu.id] = self._looked[cpu.id], self._writes
        if since < 0:
            changed = list(self._lines)
        else:
            changed = []
            for index in reversed(self._written):
                if self._written[index] <= since:
                    break
                changed.append(self._lines[index])
        return [line for line in changed if not line.held_by(cpu)]


class GlobalAllocator:
    """The variant without per-core slices: one free range, taken from its low end, under a spin lock."""

    __slots__ = ("_alloc", "_end", "_lock", "_next")

    def __init__(self, machine: Machine, nodes: QueueNodes, *, alloc: int) -> None:
        self._alloc = alloc
        self._next, self._end = FIRST_PAGE, LAST_PAGE
        self._lock = QueuedSpinLock(nodes, machine.line("va allocator"), LOCK_VA)

    def allocate(self, cpu: Cpu, pages: int) -> Steps[int | None]:
        """Value is the first page of a fresh range, None where none is so long."""
        yield from self._lock.acquire(cpu)
        cpu.work(self._alloc, VA_ALLOC)
        start: int | None = None
        if self._next + pages <= self._end:
            start = self._next
            self._next += pages
        yield from self._lock.release(cpu)
        return start

    def claim(self, cpu: Cpu, start: int, pages: int) -> Steps[None]:
        """The range ends before what is mapped in it, or begins behind it: whichever takes less."""
        yield from self._lock.acquire(cpu)
        cpu.work(self._alloc, VA_ALLOC)
        end = start + pages
        if end >= self._next and start <= self._end:
            if max(0, start - self._next) < max(0, self._end - end):
                self._next = max(self._next, min(end, self._end))
            else:
                self._end = min(self._end, max(start, self._next))
        yield from self._lock.release(cpu)

    def copy(self, other: VaAllocator) -> None:
        """A fork gives addresses away from where its parent would."""
        assert isinstance(other, GlobalAllocator)
        self._next, self._end = other._next, other._end

    def clear(self) -> None:
        """Nothing is mapped any more."""
        self._next, self._end = FIRST_PAGE, LAST_PAGE

    def contradictions(self, mappings: Sequence[Mapped]) -> Iterator[str]:
        """Mappings that lie in the free range."""
        for mapping in mappings:
            if mapping.start < self._end and self._next < mapping.end:
                yield f"{mapping} is mapped, but nobody got addresses from {self._next:#x} on"


class SearchedTables:
    """No allocator: room is looked for in the page table (`place`), in one of *slices* for each cpu first."""

    __slots__ = ("slices",)

    def __init__(self, machine: Machine) -> None:
        size = (LAST_PAGE - FIRST_PAGE) // len(machine.cpus)
        self.slices = [range(start, start + size) for start in range(FIRST_PAGE, LAST_PAGE - size + 1, size)]

    def claim(self, cpu: Cpu, start: int, pages: int) -> Steps[None]:
        """The mark is enough."""
        return
        yield

    def copy(self, other: VaAllocator) -> None:
        """The tables are copied."""

    def clear(self) -> None:
        """Nothing is mapped any more."""

    def contradictions(self, mappings: Sequence[Mapped]) -> Iterator[str]:
        """There is nothing that could contradict."""
        yield from ()
