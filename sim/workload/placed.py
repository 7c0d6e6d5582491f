"""Steps that work somewhere in an address space: the pages of a step, and the operations that it comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING, Final

from sim.engine import Call, Steps
from sim.mm import (
    USER_PAGES,
    ExmapFree,
    ExmapSetup,
    MmapExmap,
    Operation,
    Prepopulate,
    PrepopulateFolios,
    Shootdown,
    Touch,
    UffdRead,
    UffdWake,
)
from sim.quantities import PAGE_BYTES
from sim.workload.draws import CountDraw, SizeDraw, drawing
from sim.workload.exmap_spec import ExmapAllocStep, ExmapFreeStep, ExmapStep, words_of
from sim.workload.place_spec import (
    BrkStep,
    MmapStep,
    MremapStep,
    MunmapStep,
    PlacedStep,
    ProcessMadviseStep,
    RangeStep,
    ServeStep,
    ShootdownStep,
    TouchStep,
)

if TYPE_CHECKING:
    from sim.workload.thread import Worker

_IMAGE_END: Final = USER_PAGES // 3 * 2
"""The page below which a program's image lies: two thirds of the user addresses (ELF_ET_DYN_BASE)."""

Action = Callable[["Worker"], "Steps[object] | None"]
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
    size, may_fail, name, folio = _size(step), step.may_fail, step.file or step.object_, step.folio

    def mapped(worker: Worker, pages: int, at: int | None) -> Steps[int | None]:
        file = None if name is None else worker.file(name)
        steps = worker.map(step.operation(pages, at, file), may_fail=may_fail)
        return populated(worker, pages, steps) if step.populated else steps

    def populated(worker: Worker, pages: int, steps: Steps[int | None]) -> Steps[int | None]:
        start = yield from steps
        if start is not None:
            whole = Prepopulate(start, pages)
            asked = whole if folio is None else PrepopulateFolios(start, pages, folio // PAGE_BYTES)
            yield from worker.perform(asked, may_fail=may_fail)
        return start

    def anywhere(worker: Worker) -> Steps[int | None]:
        pages = size(worker)
        return mapped(worker, worker.slots.pages if pages is None else pages, None)

    def slot(worker: Worker) -> Steps[int | None]:
        return mapped(worker, _or(size(worker), worker.slots.pages), _slot(step, worker))

    def layout(worker: Worker) -> Steps[None]:
        slots = worker.slots
        base = yield from mapped(worker, _or(size(worker), slots.span), slots.base)
        slots.base = slots.base if base is None else base

    def own_slots(worker: Worker) -> Steps[None]:
        for place in worker.slots.own(worker.index):
            yield from mapped(worker, len(place), place.start)

    def over(worker: Worker) -> Steps[object]:
        place = _part(step, worker, size(worker))
        file = None if name is None else worker.file(name)
        return worker.perform(step.operation(len(place), place.start, file), may_fail=may_fail)

    def below(end: int) -> Action:
        def run(worker: Worker) -> Steps[int | None]:
            pages = _or(size(worker), 1)
            return mapped(worker, pages, end - _pages(step.skip) - pages)

        return run

    actions: dict[str, Action] = {
        "anywhere": anywhere,
        "mapped": over,
        "image": below(_IMAGE_END),
        "stack": below(USER_PAGES),
        "slot": slot,
        "layout": layout,
        "own slots": own_slots,
    }
    return actions[step.at]


@placed_action.register(ExmapStep)
def _exmap(step: ExmapStep) -> Action:
    size, frames = _size(step), step.pool // PAGE_BYTES

    def run(worker: Worker) -> Steps[None]:
        count = worker.slots.threads if step.interfaces == "threads" else step.interfaces
        at_layout = step.at == "layout"
        yield from worker.perform(ExmapSetup(frames, count))
        pages = _or(size(worker), worker.slots.span if at_layout else 0)
        start = yield from worker.map(MmapExmap(pages, worker.slots.base if at_layout else None))
        if at_layout:
            worker.slots.base = start

    return run


@placed_action.register(ExmapAllocStep)
def _exmap_alloc(step: ExmapAllocStep) -> Action:
    places, batch = _places(step), step.batch

    def run(worker: Worker) -> Steps[None]:
        for place in places(worker):
            for start in range(0, len(place), batch):
                pages = place[start : start + batch]
                yield from worker.perform(step.call(worker.index, pages))
                if step.touch:
                    worker.touched += len(pages)
                    yield Call(worker.space.perform(worker.cpu, Touch(pages)))

    return run


@placed_action.register(ExmapFreeStep)
def _exmap_free(step: ExmapFreeStep) -> Action:
    places, batch = _places(step), step.batch

    def run(worker: Worker) -> Steps[None]:
        for place in places(worker):
            for start in range(0, len(place), batch):
                yield from worker.perform(ExmapFree(worker.index, words_of(place[start : start + batch])))

    return run


@placed_action.register(RangeStep)
def _range(step: RangeStep) -> Action:
    """munmap, mprotect, madvise: a call for each range, or for each of its pages that is meant."""
    places = _places(step)

    def pages_apart(worker: Worker) -> list[range]:
        return [range(page, page + 1) for place in places(worker) for page in place]

    calls = places if step.every == 1 else pages_apart
    may_fail = step.may_fail

    def run(worker: Worker) -> Steps[object]:
        found = calls(worker)
        if len(found) == 1:
            return worker.perform(step.operation(found[0]), may_fail=may_fail)
        return several(worker, found)

    def several(worker: Worker, found: Sequence[range]) -> Steps[None]:
        for place in found:
            yield from worker.perform(step.operation(place), may_fail=may_fail)

    return run


@placed_action.register(MunmapStep)
def _munmap(step: MunmapStep) -> Action:
    """The same, of objects as a whole."""
    places, apart, may_fail = _places(step), step.every > 1, step.may_fail

    def run(worker: Worker) -> Steps[None]:
        for place in places(worker):
            for part in [range(page, page + 1) for page in place] if apart else (place,):
                yield from worker.perform(step.operation(worker.whole(part)), may_fail=may_fail)

    def one(worker: Worker) -> Steps[object]:
        found = places(worker)
        if len(found) == 1:
            return worker.perform(step.operation(worker.whole(found[0])), may_fail=may_fail)
        return run(worker)

    return run if apart else one


@placed_action.register(ProcessMadviseStep)
def _process_madvise(step: ProcessMadviseStep) -> Action:
    """One call for all ranges."""
    places, apart, may_fail = _places(step), step.every > 1, step.may_fail

    def run(worker: Worker) -> Steps[object]:
        found = places(worker)
        if apart:
            found = [range(page, page + 1) for place in found for page in place]
        return worker.perform(step.operation_on(found), may_fail=may_fail)

    return run


@placed_action.register(TouchStep)
def _touch(step: TouchStep) -> Action:
    write, whole, order = step.write, step.bytes == "all", step.order

    def touch(worker: Worker, place: range) -> Touch:
        pages: Sequence[int] = place
        if order == "random":
            pages = worker.stream(step.stream).sample(place, len(place))
        elif order == "drawn":
            pages = list(dict.fromkeys(worker.stream(step.stream).choices(place, k=len(place))))
        worker.touched += len(pages)
        return Touch(pages, write, whole)

    return _each(_places(step), touch)


@placed_action.register(ServeStep)
def _serve(step: ServeStep) -> Action:
    """One message; where the page is there by now, or not to be had, who waits looks again."""
    places = _places(step)

    def run(worker: Worker) -> Steps[None]:
        page = yield from worker.perform(UffdRead())
        if page is None:
            worker.done = True
            return
        refused = yield from worker.perform(step.answer(page, places(worker)[0]), may_fail=True)
        if refused is not None:
            yield from worker.perform(UffdWake(page))

    return run


@placed_action.register(MremapStep)
def _mremap(step: MremapStep) -> Action:
    size, new_size, may_fail = _size(step), _drawn(step.new_size), step.may_fail

    def run(worker: Worker) -> Steps[int | None]:
        if step.at == "slot":
            start = _slot(step, worker)
            place = range(start, start + _or(size(worker), worker.slots.pages))
        else:
            last = worker.mapped[-1]
            place = range(last.start, last.start + _or(size(worker), len(last)))
        to = None if step.to is None else worker.slots.at(worker.index, worker.request)
        return worker.remap(step.operation(place, new_size(worker), to), may_fail=may_fail)

    return run


@placed_action.register(BrkStep)
def _brk(step: BrkStep) -> Action:
    size, mark, may_fail = _size(step, least=0), step.mark, step.may_fail

    def marked(worker: Worker) -> Steps[None]:
        return worker.set_break(worker.mark + _or(size(worker), 0), mark=mark, may_fail=may_fail)

    def current(worker: Worker) -> Steps[None]:
        here = yield from worker.ask_break()
        pages = _or(size(worker), 0)
        if pages or mark:
            yield from worker.set_break(here + pages, mark=mark, may_fail=may_fail)

    return current if step.at == "break" else marked


@placed_action.register(ShootdownStep)
def _shootdown(step: ShootdownStep) -> Action:
    targets = 1 if step.targets == "next" else step.targets

    def shootdown(worker: Worker, place: range) -> Shootdown:
        if not isinstance(targets, int):
            return Shootdown(place)
        cpu, cpus = worker.cpu, worker.space.machine.cpus
        after = [cpus[(cpu.id + 1 + other) % len(cpus)] for other in range(min(targets, len(cpus) - 1))]
        return Shootdown(place, [holder for holder in after if holder is not cpu])

    return _each(_places(step), shootdown)


def _part(step: PlacedStep, worker: Worker, pages: int | None) -> range:
    """So many *pages* of what the mmap returned that *step* means; None: all, what it skips aside."""
    whole = worker.mapped[-1 - step.back]
    start = whole.start + _pages(step.skip)
    return range(start, start + (whole.stop - start if pages is None else pages))


def _each(places: Places, ask: Callable[[Worker, range], Operation]) -> Action:
    """An operation on each of *places*."""

    def run(worker: Worker) -> Steps[None]:
        for place in places(worker):
            yield Call(worker.space.perform(worker.cpu, ask(worker, place)))

    return run


def _size(step: PlacedStep, least: int = 1) -> Size:
    return (lambda worker: None) if step.size is None else _drawn(step.size, least)


def _drawn(size: int | SizeDraw, least: int = 1) -> Callable[[Worker], int]:
    """How many pages *size* is; *least* at least where it is drawn."""
    if isinstance(size, SizeDraw):
        draw, name = drawing(size, 1), size.stream
        return lambda worker: max(least, _pages(draw(worker.stream(name))))
    pages = _pages(size)
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
        return [_part(step, worker, size(worker))]

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
        "earlier slots": lambda worker: worker.slots.own(worker.index, worker.request),
        "all mapped": lambda worker: list(worker.mapped),
    }[step.at]


def _or(pages: int | None, default: int) -> int:
    return default if pages is None else pages
