"""Steps become calls of the address space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sim.engine import ThreadBody
from sim.engine.units import PAGE_BYTES
from sim.hardware import Cpu
from sim.mm import USER, AddressSpace
from sim.workload.spec import ComputeStep, MmapStep, RangeStep, Step

if TYPE_CHECKING:
    from sim.workload.layout import Slots


def run_steps(
    space: AddressSpace, cpu: Cpu, steps: Sequence[Step], slots: Slots, *, thread: int, request: int
) -> ThreadBody:
    """Run *steps* as request *request* of *thread* on *cpu*."""
    mapped = range(0)
    for step in steps:
        action = step.action
        if isinstance(action, ComputeStep):
            cpu.work(action.time, USER)
        elif isinstance(action, MmapStep):
            mapped = yield from _mmap(space, cpu, action, slots, thread, request)
        else:
            for place in _places(action, slots, thread, request, mapped):
                yield from _range_step(space, cpu, step, place)


def _mmap(
    space: AddressSpace, cpu: Cpu, action: MmapStep, slots: Slots, thread: int, request: int
) -> ThreadBody:
    pages = _pages(action.size, slots.span if action.at == "layout" else slots.pages)
    at = slots.at(thread, request) if action.at == "slot" else slots.base if action.at == "layout" else None
    start: int = yield from space.mmap(cpu, pages, at)
    if action.at == "layout":
        slots.base = start
    return range(start, start + pages)


def _range_step(space: AddressSpace, cpu: Cpu, step: Step, place: range) -> ThreadBody:
    if step.munmap is not None:
        yield from space.munmap(cpu, place.start, len(place))
    elif step.touch is not None:
        for page in place:
            yield from space.touch(cpu, page, write=step.touch.write)


def _places(action: RangeStep, slots: Slots, thread: int, request: int, mapped: range) -> list[range]:
    """The pages that a step works on, place by place."""
    if action.at == "slot":
        starts, default = [slots.at(thread, request)], slots.pages
    elif action.at == "every slot":
        starts, default = slots.all(), slots.pages
    elif action.at == "mapped":
        starts, default = [mapped.start], len(mapped)
    else:
        assert slots.base is not None
        starts, default = [slots.base], slots.span
    pages = _pages(action.size, default)
    return [range(start, start + pages) for start in starts]


def _pages(size: int | None, default: int) -> int:
    return default if size is None else -(-size // PAGE_BYTES)
