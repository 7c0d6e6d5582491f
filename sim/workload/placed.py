"""Steps that work somewhere in an address space: the pages of a step, and the operations that it comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

from sim.engine import Steps
from sim.mm import Shootdown, Touch
from sim.quantities import PAGE_BYTES
from sim.workload.draws import CountDraw, SizeDraw, drawing
from sim.workload.step_spec import MmapStep, PlacedStep, RangeStep, ShootdownStep, TouchStep

if TYPE_CHECKING:
    from sim.workload.thread import Worker

Action = Callable[["Worker"], "Steps[None] | None"]
"""Does a step for a thread. None where that is private work, which takes no generator."""

Places = Callable[["Worker"], Sequence[range]]
"""The ranges of pages that a step works on, each with those of its pages that are meant."""

Size = Callable[["Worker"], "int | None"]
"""How many pages a step asks for; None: all of its place."""


@singledispatch
def placed_action(step: PlacedStep) -> Action:
    """What *step* does."""
    raise NotImplementedError(type(step).__name__)


@placed_action.register(MmapStep)
def _mmap(step: MmapStep) -> Action:
    size = _size(step)

    def anywhere(worker: Worker) -> Steps[None]:
        pages = size(worker)
        yield from worker.map(step.operation(worker.slots.pages if pages is None else pages, None))

    def slot(worker: Worker) -> Steps[None]:
        pages = _or(size(worker), worker.slots.pages)
        yield from worker.map(step.operation(pages, _slot(step, worker)))

    def layout(worker: Worker) -> Steps[None]:
        slots = worker.slots
        pages = _or(size(worker), slots.span)
        slots.base = yield from worker.map(step.operation(pages, slots.base))

    def own_slots(worker: Worker) -> Steps[None]:
        for place in worker.slots.own(worker.index):
            yield from worker.map(step.operation(len(place), place.start))

    return {"anywhere": anywhere, "slot": slot, "layout": layout, "own slots": own_slots}[step.at]


@placed_action.register(RangeStep)
def _range(step: RangeStep) -> Action:
    """munmap, mprotect, madvise: a call for each range, or for each of its pages that is meant."""
    places, every = _places(step), step.every

    def run(worker: Worker) -> Steps[None]:
        for place in places(worker):
            if every == 1:
                yield from worker.space.perform(worker.cpu, step.operation(place))
                continue
            for page in place:
                yield from worker.space.perform(worker.cpu, step.operation(range(page, page + 1)))

    return run


@placed_action.register(TouchStep)
def _touch(step: TouchStep) -> Action:
    places, whole = _places(step), step.bytes == "all"

    def run(worker: Worker) -> Steps[None]:
        for place in places(worker):
            pages: Sequence[int] = place
            if step.order == "random":
                pages = worker.stream(step.stream).sample(pages, len(pages))
            yield from worker.space.perform(worker.cpu, Touch(pages, step.write, whole))

    return run


@placed_action.register(ShootdownStep)
def _shootdown(step: ShootdownStep) -> Action:
    places, targets = _places(step), step.targets
    number = 1 if targets == "next" else targets

    def run(worker: Worker) -> Steps[None]:
        cpu, holders = worker.cpu, None
        if isinstance(number, int):
            cpus = worker.space.machine.cpus
            after = [cpus[(cpu.id + 1 + other) % len(cpus)] for other in range(min(number, len(cpus) - 1))]
            holders = [holder for holder in after if holder is not cpu]
        for place in places(worker):
            yield from worker.space.perform(cpu, Shootdown(place, holders))

    return run


def _size(step: PlacedStep) -> Size:
    if isinstance(step.size, SizeDraw):
        draw, name = drawing(step.size, 1), step.size.stream
        return lambda worker: max(1, _pages(draw(worker.stream(name))))
    pages = None if step.size is None else _pages(step.size)
    return lambda worker: pages


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES)


def _slot(step: PlacedStep, worker: Worker) -> int:
    """The first page of the slot that *step* means."""
    slots = worker.slots
    owner = worker.index
    if step.of == "next":
        owner = (owner + 1) % slots.threads
    elif step.of == "first":
        owner = 0
    elif step.of == "any":
        owner = int(worker.stream(step.stream).random() * slots.threads)
    request = worker.request
    if step.which == "first":
        request = 0
    elif step.which == "any":
        request = int(worker.stream(step.stream).random() * slots.slots)
    return slots.at(owner, request)


def _places(step: RangeStep) -> Places:
    """The pages that *step* means: of its place every so many, and of those the first ones."""
    whole, every, pages = _ranges(step), step.every, step.pages
    if pages is None:
        return whole if every == 1 else lambda worker: [place[::every] for place in whole(worker)]
    if isinstance(pages, CountDraw):
        draw, name = drawing(pages, 1), pages.stream

        def drawn(worker: Worker) -> Sequence[range]:
            count = draw(worker.stream(name))
            return [place[::every][:count] for place in whole(worker)]

        return drawn
    return lambda worker: [place[::every][:pages] for place in whole(worker)]


def _ranges(step: RangeStep) -> Places:
    """The ranges that the place of *step* is, in full."""
    size = _size(step)

    def ranges(starts: Sequence[int], pages: int) -> list[range]:
        return [range(start, start + pages) for start in starts]

    def slot(worker: Worker) -> Sequence[range]:
        return ranges([_slot(step, worker)], _or(size(worker), worker.slots.pages))

    def every_slot(worker: Worker) -> Sequence[range]:
        return ranges(worker.slots.all(), _or(size(worker), worker.slots.pages))

    def mapped(worker: Worker) -> Sequence[range]:
        last = worker.mapped[-1]
        return ranges([last.start], _or(size(worker), len(last)))

    def layout(worker: Worker) -> Sequence[range]:
        base = worker.slots.base
        assert base is not None
        return ranges([base], _or(size(worker), worker.slots.span))

    return {
        "slot": slot,
        "every slot": every_slot,
        "mapped": mapped,
        "layout": layout,
        "own slots": lambda worker: worker.slots.own(worker.index),
        "all mapped": lambda worker: list(worker.mapped),
    }[step.at]


def _or(pages: int | None, default: int) -> int:
    return default if pages is None else pages
