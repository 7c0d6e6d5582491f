"""A workload's steps gone through without a machine: do they touch what is mapped, and how much is that?

The same code that a run executes (`Worker`) is given an address space that keeps books and costs nothing.
Threads come one after the other, so only what holds for every order of threads may be concluded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any, cast

from sim.engine import Steps
from sim.errors import Fault
from sim.mm import (
    LEVELS,
    PAGES_PER_ENTRY,
    SLOTS,
    Madvise,
    Mmap,
    Mprotect,
    Munmap,
    Operation,
    Touch,
)
from sim.quantities import PAGE_BYTES
from sim.workload.layout import Slots
from sim.workload.steps import Worker

if TYPE_CHECKING:
    from sim.hardware import Cpu
    from sim.mm import AddressSpace
    from sim.workload.spec import Step, WorkloadPlan

USER_PAGES = PAGES_PER_ENTRY[LEVELS] * SLOTS // 2
"""The lower half of the address space, 128 TiB: the other one is the kernel's."""
MAX_TOUCHES = 200_000
"""After so many the rehearsal breaks off: it must not take as long as a run."""


class RefusedStepError(Exception):
    """A step that no kernel would carry out; the message says why. Never leaves this module."""


class TooLongError(Exception):
    """The rehearsal has used up its touches, and says nothing."""


class Ledger:
    """Which pages are mapped, as sorted disjoint [start, end), and which have been touched."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.touched: set[int] = set()
        self._next = USER_PAGES  # above all that a fixed mapping may claim
        self._touches = 0

    @property
    def mapped(self) -> int:
        return sum(end - start for start, end in self.ranges)

    def perform(self, cpu: object, operation: Operation) -> Steps[int | None]:
        """What `AddressSpace.perform` does, in no time."""
        return self._do(operation)
        yield

    def _do(self, operation: Operation) -> int | None:
        if isinstance(operation, Mmap):
            return self._mmap(operation.pages, operation.at)
        if isinstance(operation, Touch):
            for page in operation.pages:
                self._touch(page)
        elif isinstance(operation, Munmap | Mprotect | Madvise):
            if operation.pages <= 0:
                raise RefusedStepError("works on nothing")
            pages = range(operation.at, operation.at + operation.pages)
            if not isinstance(operation, Munmap) and not self._covers(pages):
                raise RefusedStepError("works on pages that are not mapped")
            if isinstance(operation, Munmap):
                self._cut(pages.start, pages.stop)
            elif isinstance(operation, Madvise):
                self._forget(pages.start, pages.stop)
        return None

    def _mmap(self, pages: int, at: int | None) -> int:
        if pages <= 0:
            raise RefusedStepError("maps nothing")
        if at is None:
            at, self._next = self._next, self._next + pages + 1
        elif at + pages > USER_PAGES and not USER_PAGES <= at <= at + pages <= self._next:
            raise RefusedStepError("maps beyond the 128 TiB of user addresses")
        self._cut(at, at + pages)
        self.ranges = sorted([*self.ranges, (at, at + pages)])
        if self.mapped > USER_PAGES:
            raise RefusedStepError("maps more than the 128 TiB of user addresses")
        return at

    def _covers(self, pages: range) -> bool:
        """Whether all of *pages* are mapped."""
        page = pages.start
        for start, end in self.ranges:
            if start <= page < end:
                page = end
        return page >= pages.stop

    def _touch(self, page: int) -> None:
        self._touches += 1
        if self._touches > MAX_TOUCHES:
            raise TooLongError
        if page not in self.touched:
            if not any(start <= page < end for start, end in reversed(self.ranges)):
                raise RefusedStepError("touches pages that are not mapped")
            self.touched.add(page)

    def _cut(self, start: int, end: int) -> None:
        kept = []
        for low, high in self.ranges:
            kept += [part for part in ((low, min(high, start)), (max(low, end), high)) if part[0] < part[1]]
        self.ranges = kept
        self._forget(start, end)

    def _forget(self, start: int, end: int) -> None:
        if len(self.touched) < end - start:
            self.touched = {page for page in self.touched if not start <= page < end}
        else:
            self.touched.difference_update(range(start, end))


class Rehearsal:
    """*threads* threads of *plan*, one after the other.

    *fault* is the first step that cannot work, its key that of the file; *held* and *mapped* are the pages
    that exist at the end, None where that would take too long to find out, *most* those of one moment.
    """

    def __init__(self, plan: WorkloadPlan, threads: int) -> None:
        self.fault: Fault | None = None
        self.held: int | None = None
        self.mapped = 0
        self.most = 0
        self._plan = plan
        self._ledger = Ledger()
        self._slots = Slots(plan, threads, Random(0))
        self._key = ""
        try:
            self._play(threads)
        except RefusedStepError as refusal:
            self.fault = Fault(f"{refusal}", key=self._key)
        except TooLongError:
            return
        self.held, self.mapped = len(self._ledger.touched), self._ledger.mapped

    @property
    def shared(self) -> bool:
        """Whether threads map or unmap what others use: then their order decides what is left."""
        steps = (*self._plan.thread, *self._plan.refill)
        actions = [(step.mmap or step.munmap) for step in steps]
        return any(action is not None and action.at in ("layout", "every slot") for action in actions)

    def _play(self, threads: int) -> None:
        plan = self._plan
        self._steps("setup", plan.setup, self._worker(0))
        for thread in range(threads):
            self._stack()
            worker = self._worker(thread)
            for round_ in range(2 if plan.window else 1):
                if round_:
                    self._steps("refill", plan.refill, worker)
                    worker.mapped.clear()
                for request in range(plan.requests):
                    worker.request = request
                    self._steps("thread", plan.thread, worker)

    def _worker(self, thread: int) -> Worker:
        space, cpu = cast("AddressSpace", self._ledger), cast("Cpu", _IdleCpu())
        return Worker(space, cpu, self._slots, thread)

    def _steps(self, name: str, steps: Sequence[Step], worker: Worker) -> None:
        def named() -> Iterator[Step]:
            for index, step in enumerate(steps):
                self._key = f"{name}[{index}]"
                yield step
                self.most = max(self.most, len(self._ledger.touched))

        _drive(worker.run(cast(Any, named())))

    def _stack(self) -> None:
        stack, ledger = self._plan.stack, self._ledger
        self._key = "stack.size"
        size = stack.size // PAGE_BYTES
        _drive(ledger.perform(None, Mmap(size)))
        self._key = "stack.touched"
        top = ledger.ranges[-1][1]
        _drive(ledger.perform(None, Touch(range(top - stack.touched // PAGE_BYTES, top))))


@lru_cache(maxsize=256)
def rehearse(plan: WorkloadPlan, threads: int) -> Rehearsal:
    """The rehearsal of *threads* threads; one of the same plan is not repeated."""
    return Rehearsal(plan, threads)


class _IdleCpu:
    """A cpu that is charged for nothing."""

    id = 0

    def work(self, time: int, activity: str) -> None:
        pass


def _drive(steps: Steps[object]) -> None:
    for _ in steps:
        pass
