"""Steps become calls of the address space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.hardware import Cpu
from sim.mm import USER, AddressSpace, Mmap
from sim.quantities import PAGE_BYTES
from sim.workload.spec import ComputeStep, MmapStep, RangeStep, Step

if TYPE_CHECKING:
    from sim.workload.layout import Slots


class Worker:
    """A thread as its steps see it: who it is, which request it is at, what it has mapped.

    *mapped* holds the ranges of pages that its mmap steps returned, the last one last.
    """

    __slots__ = ("_slots", "_space", "cpu", "mapped", "request", "thread")

    def __init__(self, space: AddressSpace, cpu: Cpu, slots: Slots, thread: int) -> None:
        self._space = space
        self.cpu = cpu
        self._slots = slots
        self.thread = thread
        self.request = 0
        self.mapped: list[range] = []

    def run(self, steps: Sequence[Step]) -> Steps[None]:
        """Do *steps* one after the other."""
        for step in steps:
            action = step.action
            if isinstance(action, ComputeStep):
                self.cpu.work(action.time, USER)
            elif isinstance(action, MmapStep):
                yield from self._mmap(action)
            else:
                for place in self._places(action):
                    yield from self._space.perform(self.cpu, action.operation(place))

    def _mmap(self, action: MmapStep) -> Steps[None]:
        slots = self._slots
        if action.at == "own slots":
            for place in slots.own(self.thread):
                yield from self._map(action.operation(len(place), place.start))
            return
        pages = _pages(action.size, slots.span if action.at == "layout" else slots.pages)
        if action.at == "slot":
            yield from self._map(action.operation(pages, slots.at(self.thread, self.request)))
        elif action.at == "layout":
            slots.base = yield from self._map(action.operation(pages, slots.base))
        else:
            yield from self._map(action.operation(pages, None))

    def _map(self, operation: Mmap) -> Steps[int]:
        start: int = yield from self._space.perform(self.cpu, operation)
        self.mapped.append(range(start, start + operation.pages))
        return start

    def _places(self, action: RangeStep) -> list[range]:
        """The pages that a step works on, place by place."""
        slots = self._slots
        if action.at == "slot":
            starts, default = [slots.at(self.thread, self.request)], slots.pages
        elif action.at == "every slot":
            starts, default = slots.all(), slots.pages
        elif action.at == "mapped":
            starts, default = [self.mapped[-1].start], len(self.mapped[-1])
        elif action.at == "layout":
            assert slots.base is not None
            starts, default = [slots.base], slots.span
        else:
            return slots.own(self.thread) if action.at == "own slots" else list(self.mapped)
        pages = _pages(action.size, default)
        return [range(start, start + pages) for start in starts]


def _pages(size: int | None, default: int) -> int:
    return default if size is None else -(-size // PAGE_BYTES)
