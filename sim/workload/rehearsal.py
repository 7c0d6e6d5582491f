"""A workload's steps gone through without a machine: do they touch what is mapped, and how much is that?

The same code that a run executes (`placed`) is given address spaces that keep books and cost nothing.
Threads come one after the other, so only what holds for every order of threads may be concluded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import lru_cache
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

from sim.engine import Activity, Call, Steps
from sim.errors import Fault
from sim.mm import (
    USER_PAGES,
    Brk,
    ExmapCall,
    ExmapFree,
    File,
    Madvise,
    MapObject,
    Mincore,
    Mlock,
    Mmap,
    MmapExmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Operation,
    Prepopulate,
    PrepopulateFolios,
    ProcessMadvise,
    Touch,
)
from sim.mm.runs import Runs
from sim.quantities import PAGE_BYTES
from sim.workload.draws import CountDraw, SizeDraw, drawing
from sim.workload.layout import Slots
from sim.workload.placed import Action, placed_action
from sim.workload.processes import homes, members
from sim.workload.roles import roles_of
from sim.workload.step_spec import placed_steps
from sim.workload.thread import Worker

if TYPE_CHECKING:
    from sim.engine import Engine
    from sim.hardware import Cpu
    from sim.mm import AddressSpace
    from sim.workload.place_spec import PlacedStep
    from sim.workload.plan import WorkloadPlan
    from sim.workload.step_spec import ForkStep, SignalsStep, Step
    from sim.workload.things_spec import Stack

MAX_STEPS: Final = 200_000
"""After so many touches, or steps, the rehearsal breaks off: it must not take as long as a run."""
END: Final = 512
"""So many requests at either end of a round show what goes wrong in it."""

_START: Final = itemgetter(0)
_END: Final = itemgetter(1)

_OverRange = Prepopulate | PrepopulateFolios | Munmap | Mprotect | Madvise | Mlock | Munlock | Mincore | Msync


def _brings_in(operation: Operation) -> bool:
    """Whether all pages of its range are there afterwards."""
    if isinstance(operation, Madvise):
        return operation.advice in ("populate_read", "populate_write")
    return isinstance(operation, Mlock) and not operation.on_fault


class RefusedStepError(Exception):
    """A step that no kernel would carry out; the message says why. Never leaves this module."""


class TooLongError(Exception):
    """The rehearsal has used up its touches, and says nothing."""


class Ledger:
    """Which pages are mapped, as sorted disjoint [start, end), and which have been touched.

    The heap goes from page 1 to before page *heap* of a place of its own: no step touches it.
    """

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        """In order; none overlaps another."""
        self._in_ranges = 0
        self.touched: set[int] = set()
        self.populated = Runs()
        self.heap = 1
        self.of_others = Runs()
        """Pages of which nobody knows whether they are there: threads that are not played map them."""
        self._next = USER_PAGES  # above all that a fixed mapping may claim
        self._touches = 0

    @property
    def held(self) -> int:
        """How many pages have been touched, or populated in bulk."""
        return len(self.touched) + (self.populated.total if self.populated else 0)

    @property
    def mapped(self) -> int:
        return self.heap - 1 + self._in_ranges

    def perform(self, cpu: object, operation: Operation) -> Steps[int | None]:
        """What `AddressSpace.perform` does, in no time."""
        return self._do(operation)
        yield

    def _do(self, operation: Operation) -> int | None:
        if isinstance(operation, Touch):
            for page in operation.pages:
                self._touch(page)
        elif isinstance(operation, Mmap | MmapShared | MmapFile | MmapHuge | MmapExmap):
            return self._mmap(operation)
        elif isinstance(operation, MapObject):
            return self._mmap(Mmap(operation.pages, operation.at))
        elif isinstance(operation, Mremap):
            return self._mremap(operation)
        elif isinstance(operation, ExmapCall):
            for part in operation.parts:
                if not self._covers(part):
                    raise RefusedStepError("works on pages that are not mapped")
                if isinstance(operation, ExmapFree):
                    self._forget(part.start, part.stop)
        elif isinstance(operation, Brk):
            self.heap = operation.at or self.heap
            return self.heap
        elif isinstance(operation, ProcessMadvise):
            for part in operation.parts:
                self._do(Madvise(part.start, len(part), operation.advice))
        elif isinstance(operation, _OverRange):
            if operation.pages <= 0:
                raise RefusedStepError("works on nothing")
            pages = range(operation.at, operation.at + operation.pages)
            if self._is_beyond(pages):
                raise RefusedStepError("works beyond the 128 TiB of user addresses")
            if not isinstance(operation, Munmap) and not self._covers(pages):
                raise RefusedStepError("works on pages that are not mapped")
            if isinstance(operation, Prepopulate | PrepopulateFolios):
                self.populated.cut(pages.start, pages.stop)
                self.touched -= {page for page in self.touched if page in pages}
                self.populated.add(pages.start, pages.stop, 1)
            elif isinstance(operation, Munmap):
                self._cut(pages.start, pages.stop)
            elif isinstance(operation, Madvise) and operation.advice in ("dontneed", "dontneed_locked"):
                self._forget(pages.start, pages.stop)
            elif _brings_in(operation):
                for page in pages:
                    self._touch(page)
        return None

    def _mmap(self, asked: Mmap | MmapShared | MmapFile | MmapHuge | MmapExmap) -> int:
        pages, at = asked.pages, asked.at
        if pages <= 0:
            raise RefusedStepError("maps nothing")
        if at is None:
            at, self._next = self._next, self._next + pages + 1
        elif self._is_beyond(range(at, at + pages)):
            raise RefusedStepError("maps beyond the 128 TiB of user addresses")
        elif not asked.replace and self._overlapping(at, at + pages):
            raise RefusedStepError("maps where something is mapped, and is not to replace it")
        self._cut(at, at + pages)
        self._add(at, at + pages)
        if self.mapped > USER_PAGES:
            raise RefusedStepError("maps more than the 128 TiB of user addresses")
        if asked.populate:
            for page in range(at, at + pages):
                self._touch(page)
        return at

    def _mremap(self, asked: Mremap) -> int:
        """As the kernel would, if only the threads that are played were there."""
        at, pages, new_pages = asked.at, asked.pages, asked.new_pages
        if pages <= 0 or new_pages <= 0:
            raise RefusedStepError("works on nothing")
        if not self._covers(range(at, at + pages)):
            raise RefusedStepError("works on pages that are not mapped")
        if asked.to is None and new_pages <= pages:
            self._cut(at + new_pages, at + pages)
            return at
        end = at + new_pages
        if asked.to is None and not self._overlapping(at + pages, end):
            self._add(at + pages, end)
            self._next = max(self._next, end + 1)
            return at
        if not asked.may_move:
            raise RefusedStepError("grows into what is mapped, and may not move")
        if asked.to is not None and at < asked.to + new_pages and asked.to < at + pages:
            raise RefusedStepError("moves memory to where a part of it is")
        stays = at + min(pages, new_pages)
        touched = [page - at for page in self.touched if at <= page < stays]
        populated = self.populated.within(at, stays)
        start = self._mmap(Mmap(new_pages, asked.to))
        self._cut(at, at + pages)
        self.touched.update(start + offset for offset in touched)
        for run in populated:
            self.populated.add(start + run.start - at, start + run.end - at, 1)
        return start

    def _is_beyond(self, pages: range) -> bool:
        """Whether some lie neither where a fixed mapping may be, nor where the kernel has chosen a place."""
        return pages.stop > USER_PAGES and not USER_PAGES <= pages.start <= pages.stop <= self._next

    def _covers(self, pages: range) -> bool:
        """Whether all of *pages* are mapped, or may be."""
        page = pages.start
        there = self._overlapping(pages.start, pages.stop)
        parts = self.ranges[there.start : there.stop]
        if self.of_others:
            unknown = self.of_others.within(pages.start, pages.stop)
            parts = sorted(parts + [(run.start, run.end) for run in unknown])
        for start, end in parts:
            if start <= page < end:
                page = end
        return page >= pages.stop

    def _touch(self, page: int) -> None:
        self._touches += 1
        if self._touches > MAX_STEPS:
            raise TooLongError
        if page in self.touched or page in self.populated or page in self.of_others:
            return
        above = bisect_right(self.ranges, page, key=_END)
        if above == len(self.ranges) or self.ranges[above][0] > page:
            raise RefusedStepError("touches pages that are not mapped")
        self.touched.add(page)

    def _overlapping(self, start: int, end: int) -> range:
        """Which of `ranges` have a part in [start, end)."""
        first = bisect_right(self.ranges, start, key=_END)
        return range(first, bisect_left(self.ranges, end, first, key=_START))

    def _add(self, start: int, end: int) -> None:
        """[start, end), in which nothing is, is mapped."""
        insort(self.ranges, (start, end))
        self._in_ranges += end - start

    def _cut(self, start: int, end: int) -> None:
        there = self._overlapping(start, end)
        if there:
            low, high = self.ranges[there[0]][0], self.ranges[there[-1]][1]
            kept = [part for part in ((low, start), (end, high)) if part[0] < part[1]]
            self._in_ranges += sum(high - low for low, high in kept)
            self._in_ranges -= sum(high - low for low, high in self.ranges[there.start : there.stop])
            self.ranges[there.start : there.stop] = kept
        self._forget(start, end)

    def _forget(self, start: int, end: int) -> None:
        self.populated.cut(start, end)
        if len(self.touched) < end - start:
            self.touched = {page for page in self.touched if not start <= page < end}
        else:
            self.touched.difference_update(range(start, end))


class Rehearsal:
    """Some of the threads of *plan*, one after the other, when so many run.

    *fault* is the first step that cannot work, its key that of the file; *held* and *mapped* are the pages
    that exist at the end, None where that would take too long to find out, *most* those of one moment, and
    *steps* is how many were played. Steps at slots of other threads are left out, and of the whole layout the
    parts that others map: what they find there depends on what those have done.
    """

    def __init__(self, plan: WorkloadPlan, threads: int, played: tuple[int, ...], ends: bool = False) -> None:
        self._ends = ends
        self.fault: Fault | None = None
        self.held: int | None = None
        self.mapped = 0
        self.most = 0
        self._plan = plan
        roles = [number or 0 for number in roles_of(plan, threads)]
        self._roles = [plan.parts[number] for number in roles]
        self._home = homes(plan, roles)
        self._members = members(plan, self._home)
        self._ledgers = [Ledger() for _ in self._members]
        self._slots = [
            Slots(plan, len(members), Random(0)) if plan.layout and members else None
            for members in self._members
        ]
        self._set_up: set[int] = set()
        self._actions: dict[int, Action] = {}
        self.steps = 0
        self._looked_at = 0
        self._key = ""
        try:
            self._play(played)
        except RefusedStepError as refusal:
            self.fault = Fault(f"{refusal}", key=self._key)
        except TooLongError:
            return
        self.held = self._touched
        self.mapped = sum(ledger.mapped for ledger in self._ledgers)

    @property
    def shared(self) -> bool:
        """Whether threads map or unmap what others use: then their order decides what is left."""
        lists = [steps for part in self._plan.parts for _, steps in part.lists()]
        actions = [
            step.mmap or step.munmap or step.mremap or step.brk
            for steps in lists
            for _, step in placed_steps(steps, "")
        ]
        return any(
            action is not None
            and (action.at in ("layout", "every slot", "break", "mark") or action.of != "own")
            for action in actions
        )

    @property
    def _touched(self) -> int:
        if len(self._ledgers) == 1:
            return self._ledgers[0].held
        return sum(ledger.held for ledger in self._ledgers)

    @property
    def _requests(self) -> Iterable[int]:
        """Those of a round that are played."""
        whole = range(self._plan.round)
        if self._ends and len(whole) > 2 * END:
            return [*whole[:END], *whole[-END:]]
        return whole

    def _play(self, played: tuple[int, ...]) -> None:
        for process in range(self._plan.numbered):
            if self._members[process]:
                self._set_up_process(process)
        for thread in played:
            self._set_up_process(self._home[thread])
            self._thread(thread)

    def _set_up_process(self, process: int) -> None:
        if process not in self._set_up:
            self._set_up.add(process)
            worker = self._worker(0)
            self._enter(worker, process)
            self._steps("program", self._plan.program, worker)
            worker.forget_mapped()
            self._steps("setup", self._plan.setup, worker)

    def _thread(self, thread: int) -> None:
        plan, part, worker = self._plan, self._roles[thread], self._worker(thread)
        self._enter(worker, self._home[thread])
        if plan.stack is not None:
            self._stack(plan.stack, self._ledgers[worker.process])
        for _ in self._ledgers if plan.visits else (0,):
            self._steps(part.prepare, part.role.prepare, worker)
            if plan.visits:
                self._enter(worker, (worker.process + 1) % len(self._ledgers))
        worker.keep_mapped()
        if part.role.past:
            worker.request = plan.round
            self._steps(part.past, part.role.past, worker)
        for round_ in range(2 if plan.window else 1):
            if round_:
                self._steps(part.refill, part.role.refill, worker)
                worker.forget_mapped()
            for request in self._requests:
                worker.request = request
                self._steps(part.steps, part.role.steps, worker)

    def _worker(self, thread: int) -> Worker:
        worker = Worker(thread, cast("Cpu", _IdleCpu()), cast("Engine", _Streams()))
        worker.file = lambda name: File(name, 0)
        return worker

    def _enter(self, worker: Worker, process: int) -> None:
        worker.process = process
        worker.space = cast("AddressSpace", self._ledgers[process])
        if (slots := self._slots[process]) is not None:
            worker.slots = slots
        members = self._members[process]
        worker.index = members.index(worker.number) if worker.number in members else 0

    def _steps(self, key: str, steps: Sequence[Step], worker: Worker) -> None:
        for index, step in enumerate(steps):
            self.steps += 1
            if self.steps > MAX_STEPS:
                raise TooLongError
            place = f"{key}[{index}]"
            if (placed := step.placed) is not None:
                if placed.of == "own" and step.shootdown is None:
                    self._key = place
                    self._placed_among_others(placed, worker)
            elif step.fork is not None:
                self._child(place, step.fork, worker)
            elif step.signals is not None:
                self._signals(place, step.signals, worker)
            elif step.switch_mm:
                self._enter(worker, (worker.process + 1) % len(self._ledgers))
            else:
                for inner, inside in self._done_inside(step, worker):
                    self._steps(f"{place}.{inner}", inside, worker)

    def _placed_among_others(self, step: PlacedStep, worker: Worker) -> None:
        """*step*, of which only that is judged which the thread has mapped itself, or nobody maps.

        Left out where that cannot be told, or there would be too many pages to look at.
        """
        if step.at not in ("layout", "every slot"):
            self._placed(step, worker)
            return
        if (others := self._of_others(worker)) is None:
            return
        ledger = self._ledgers[worker.process]
        ledger.of_others = others
        self._placed(step, worker)
        ledger.of_others = Runs()

    def _of_others(self, worker: Worker) -> Runs | None:
        """Pages that the other threads of the process map in slots, each its own part of the layout."""
        steps = [each for _, each in self._plan.all_steps()]
        mmaps = [each.mmap for each in steps if each.mmap is not None]
        maps = [mmap for mmap in mmaps if mmap.at in ("slot", "own slots")]
        found = Runs()
        if not maps or any(mmap.at == "layout" for mmap in mmaps):
            return found
        slots = worker.slots
        self._looked_at += slots.threads * slots.slots + slots.span
        if any(each.mremap for each in steps) or self._looked_at > MAX_STEPS:
            return None
        reach = slots.pages
        for mmap in maps:
            if isinstance(mmap.size, SizeDraw):
                return None
            reach = max(reach, -(-(mmap.size or 0) // PAGE_BYTES))
        alone = all(mmap.of == "own" for mmap in maps)
        for thread in range(slots.threads):
            if thread != worker.index or not alone:
                for slot in range(slots.slots):
                    start = slots.at(thread, slot)
                    found.cut(start, start + reach)
                    found.add(start, start + reach, 1)
        return found

    def _child(self, place: str, step: ForkStep, worker: Worker) -> None:
        """The child of *step* begins with what its parent has, and nothing of what it does is seen there."""
        parent, mapped = worker.space, len(worker.mapped)
        worker.space = cast("AddressSpace", Ledger() if step.exec else deepcopy(parent))
        self._steps(f"{place}.fork.steps", step.steps, worker)
        worker.space = parent
        del worker.mapped[mapped:]

    def _signals(self, place: str, step: SignalsStep, worker: Worker) -> None:
        """An access to what is not mapped is a signal; what the rights forbid is not known here."""
        for index, each in enumerate(step.steps):
            if each.placed is None:
                continue
            self._key = f"{place}.signals.steps[{index}]"
            try:
                self._placed(each.placed, worker)
            except RefusedStepError:
                if each.touch is None:
                    raise
                if step.then == "end":
                    raise TooLongError from None  # what the others do when it has gone is not known
                self._steps(f"{place}.signals.handler", step.handler, worker)
                if step.then == "retry":
                    self._key = f"{place}.signals.steps[{index}]"
                    self._placed(each.placed, worker)

    def _done_inside(self, step: Step, worker: Worker) -> Iterator[tuple[str, Sequence[Step]]]:
        """The lists of steps inside *step* that are done this time."""
        if step.maybe is not None:
            done = worker.stream(step.maybe.stream).random() < step.maybe.probability
            name = "maybe.steps" if done else "maybe.otherwise"
            yield name, step.parts[name]
            return
        times: int = 1
        if step.repeat is not None:
            asked = step.repeat.times
            times = drawing(asked, 1)(worker.stream(asked.stream)) if isinstance(asked, CountDraw) else asked
        for _ in range(times):
            yield from step.parts.items()

    def _placed(self, step: PlacedStep, worker: Worker) -> None:
        if id(step) not in self._actions:
            self._actions[id(step)] = placed_action(step)
        steps = self._actions[id(step)](worker)
        if steps is not None:
            try:
                _drive(steps)
            except RefusedStepError:
                if not step.may_fail:
                    raise
        self.most = max(self.most, self._touched)

    def _stack(self, stack: Stack, ledger: Ledger) -> None:
        self._key = "stack.size"
        size = stack.size // PAGE_BYTES
        _drive(ledger.perform(None, Mmap(size)))
        self._key = "stack.touched"
        top = ledger.ranges[-1][1]
        _drive(ledger.perform(None, Touch(range(top - stack.touched // PAGE_BYTES, top))))


@lru_cache(maxsize=256)
def rehearse(plan: WorkloadPlan, threads: int, played: tuple[int, ...], ends: bool = False) -> Rehearsal:
    """The rehearsal of some of so many threads; one of the same plan is not repeated.

    *ends*: only the first and the last requests of a long round. What a step finds is the same in between,
    but nobody may ask then how much memory there is at the end.
    """
    return Rehearsal(plan, threads, played, ends)


class _IdleCpu:
    """A cpu that is charged for nothing."""

    id = 0

    def work(self, time: int, activity: Activity) -> None:
        pass


class _Streams:
    """Random streams for a thread that is not run."""

    def stream(self, name: str) -> Random:
        return Random(name)


def _drive(steps: Steps[Any]) -> object:
    """Go through *steps*, which take no time here; value: what they return."""
    value: object = None
    try:
        while True:
            asked = steps.send(value)
            value = _drive(asked.steps) if isinstance(asked, Call) else None
    except StopIteration as stop:
        return stop.value
