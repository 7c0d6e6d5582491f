"""A thread of a workload as its steps see it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from sim.engine import Call, Steps
from sim.errors import ModelError
from sim.mm import (
    Brk,
    Errno,
    File,
    MapObject,
    Mmap,
    MmapExmap,
    MmapFile,
    MmapHuge,
    MmapShared,
    Mremap,
    Operation,
    Performer,
)

if TYPE_CHECKING:
    from sim.designs import Kernel
    from sim.engine import Engine
    from sim.hardware import Cpu
    from sim.mm import AddressSpace
    from sim.sync import Sleeper
    from sim.workload.layout import Slots


class Refused(ModelError):
    """The kernel has refused what a step asks, and the step does not say that it may."""


class ThreadEnds(Exception):
    """A signal that nobody handles ends the thread."""


class Worker:
    """Who a thread is, which request it is at, what it has mapped, taken and locked.

    *role* is the key of its role in the workload.

    *number* counts the threads of a run, *index* those that have slots in the process which the thread is in.
    *mapped* holds the ranges of pages that its mmap steps returned, the last one last. *mark* is the page at
    which the heap ended when the thread noted it. *space*, *slots* and *file* are missing where the workload
    has no processes, no layout or no files.
    """

    __slots__ = (
        "_engine",
        "_forks",
        "_kept",
        "_streams",
        "blocks",
        "children",
        "cpu",
        "descriptors",
        "done",
        "file",
        "index",
        "locks",
        "mapped",
        "mark",
        "noted",
        "number",
        "process",
        "request",
        "role",
        "slots",
        "space",
        "spans",
        "title",
        "touched",
    )

    space: AddressSpace
    slots: Slots
    mark: int
    file: Callable[[str], File]
    """The file, or the object, that it means by a name."""

    def __init__(self, number: int, cpu: Cpu, engine: Engine, title: str = "") -> None:
        self.number = number
        self.title = title or f"thread {number}"
        self.cpu = cpu
        self.request = 0
        self.role = ""
        self.process = 0
        self.index = number
        self.mapped: list[range] = []
        self.spans: dict[int, int] = {}
        """Of mappings of objects, by their first page: how many pages they take in all."""
        self.blocks: list[int] = []
        """First frames of the blocks that it has taken from the page allocator, oldest first."""
        self.descriptors: list[int] = []
        """Of the files that it has open, the last one last."""
        self.noted: int | None = None
        """When what it does has ended for whoever times it, if not now."""
        self.locks = 0
        """How many locks of the workload it holds."""
        self.children: list[Child] = []
        """Those that run beside it and have not been waited for, the oldest first."""
        self._forks = 0
        self.touched = 0
        """How many pages its touch steps have accessed."""
        self.done = False
        """With `serve` steps: nobody is left to be served."""
        self._kept = 0
        self._engine = engine
        self._streams: dict[str, Random] = {}

    def stream(self, name: str) -> Random:
        """This thread's random stream *name*."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = self._engine.stream(f"{name} of {self.title}")
        return stream

    def forked(self, cpu: Cpu, space: AddressSpace, *, keeps_ranges: bool) -> Worker:
        """A child of it, on *cpu* and in its own *space*: it means what its parent means by all places.

        One that executes a program does not keep the ranges that its parent has mapped.
        """
        self._forks += 1
        child = Worker(self.number, cpu, self._engine, f"child {self._forks} of {self.title}")
        child.request, child.process, child.index = self.request, self.process, self.index
        child.role = self.role
        child.space = space
        child.descriptors = list(self.descriptors)
        child.mapped = list(self.mapped) if keeps_ranges else []
        for name in ("slots", "mark", "file"):
            if hasattr(self, name):
                setattr(child, name, getattr(self, name))
        return child

    def perform(self, operation: Operation, *, may_fail: bool = False) -> Steps[Any]:
        """Let the process do *operation*. Raises `Refused` where the kernel refuses, unless it *may_fail*."""
        return self._granted(operation, self.space, may_fail=may_fail)

    def ask_kernel(self, kernel: Kernel, operation: Operation, *, may_fail: bool = False) -> Steps[Any]:
        """The same of what concerns no single process."""
        return self._granted(operation, kernel, may_fail=may_fail)

    def _granted(self, operation: Operation, performer: Performer, *, may_fail: bool) -> Steps[Any]:
        value = yield Call(performer.perform(self.cpu, operation))
        if value.__class__ is Errno and not may_fail:
            why = performer.refusal(operation)
            what = f"{self.title}: {operation.name} is refused: {value}; it was {operation}"
            raise Refused(f"{what}. {why}" if why else what)
        return value

    def map(
        self,
        operation: Mmap | MmapShared | MmapFile | MmapHuge | MmapExmap | MapObject,
        *,
        may_fail: bool = False,
    ) -> Steps[int | None]:
        """Perform *operation* and remember what it returned; None if it failed."""
        start = yield from self.perform(operation, may_fail=may_fail)
        if start.__class__ is Errno:
            return None
        if isinstance(operation, MapObject):
            self.spans[start] = operation.file.span(operation.pages)
        self.mapped.append(range(start, start + operation.pages))
        return int(start)

    def whole(self, place: range) -> range:
        """*place*, or all of the object that is mapped there: no less of it can be unmapped."""
        pages = self.spans.pop(place.start, None)
        return place if pages is None else range(place.start, place.start + pages)

    def remap(self, operation: Mremap, *, may_fail: bool = False) -> Steps[int | None]:
        """Perform *operation*; where its range was in *mapped* there is what it has become, the last one."""
        start = yield from self.perform(operation, may_fail=may_fail)
        if start.__class__ is Errno:
            return None
        old = range(operation.at, operation.at + operation.pages)
        if old in self.mapped:
            self.mapped.remove(old)
        self.mapped.append(range(start, start + operation.new_pages))
        return int(start)

    def ask_break(self) -> Steps[int]:
        """Where the heap ends: brk(0), as the C library asks for it."""
        return self.space.perform(self.cpu, Brk(0))

    def set_break(self, at: int, *, mark: bool, may_fail: bool) -> Steps[None]:
        """Let the heap end before page *at*. Raises `Refused` where it does not, unless it *may_fail*.

        With *mark* the thread notes where it ends then.
        """
        end = yield from self.space.perform(self.cpu, Brk(at))
        if end != at and not may_fail:
            raise Refused(f"{self.title}: the heap cannot end at page {at:#x}; it ends at {end:#x}")
        if mark:
            self.mark = end

    def keep_mapped(self) -> None:
        """What is mapped now stays in *mapped* for good: the thread has prepared it."""
        self._kept = len(self.mapped)

    def forget_mapped(self) -> None:
        """The slots are what they were: what the requests have mapped is gone."""
        del self.mapped[self._kept :]


class Event:
    """Something that a parent may wait for: whether it has happened, and who sleeps until then."""

    __slots__ = ("awaited", "over")

    def __init__(self) -> None:
        self.over = False
        self.awaited: Sleeper | None = None


class Child:
    """A thread's child that runs beside it: it *executes* a program, and *ends*. A run queue's `process`."""

    __slots__ = ("ends", "executes", "worker")

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.executes = Event()
        self.ends = Event()

    @property
    def space(self) -> AddressSpace:
        return self.worker.space
