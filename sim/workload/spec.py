"""What a workload file says, typed.

A workload is a list of set-up steps for the main thread and a list of steps that each thread repeats as its
requests. Where a request works is its *slot*: the layout gives every (thread, request) one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    WithJsonSchema,
    model_validator,
)

from sim.errors import RuleError
from sim.mm import (
    FIRST_TOUCH,
    READ_WRITE,
    Madvise,
    MemoryPolicy,
    Mmap,
    Mprotect,
    Munmap,
    Operation,
    Rights,
    Touch,
    parse_rights,
    rights_text,
)
from sim.quantities import PAGE_BYTES, Duration, Size, Spec
from sim.workload.pinning import Pinning
from sim.workload.window import Reported, Window

Place = Literal["anywhere", "slot", "mapped", "layout", "every slot", "own slots", "all mapped"]
"""Where a step works: wherever the kernel likes; the request's slot; what this thread's last mmap returned;
the whole layout; each slot of all threads in turn; all slots of this thread, those side by side as one range;
each range that this thread's mmaps have returned since the last `refill`."""


Prot = Annotated[
    Rights,
    BeforeValidator(parse_rights),
    PlainSerializer(rights_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(none|[rwx]{1,3})$", "examples": ["rw"]}),
]
"""Rights, written `rw`."""


class _Sized(Spec):
    """A step at a place, of which it may take another *size* than the place's own."""

    at: Place
    """Where it works."""
    size: Size | None = None
    """Bytes from there on. Absent: all of the place; for an mmap one request's, at `layout` all windows."""

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.size is not None and self.at in ("own slots", "all mapped"):
            raise ValueError(f"`size` does not go with `{self.at}`, which has ranges of several sizes")
        return self


class MmapStep(_Sized):
    """mmap private anonymous memory; at slots it is MAP_FIXED. *size* defaults to the place's own."""

    asks: ClassVar = Mmap

    at: Literal["anywhere", "slot", "layout", "own slots"]
    """`anywhere` the kernel likes, at the request's `slot`, all of the thread's `own slots`, or the whole
    `layout`."""
    prot: Prot = READ_WRITE
    """What may be done with it: `none`, or letters of `rwx`."""

    def operation(self, pages: int, at: int | None) -> Mmap:
        """The step as an operation on *pages* pages from *at* on, or anywhere."""
        return Mmap(pages, at, self.prot)


class RangeStep(_Sized):
    """A step over a range of existing memory. *size* defaults to the place's own."""

    at: Literal["slot", "mapped", "layout", "every slot", "own slots", "all mapped"]
    """The request's `slot`; what this thread's last mmap returned (`mapped`); the whole `layout`; `every
    slot` of all threads in turn; all of this thread's `own slots`; `all mapped` ranges since the refill."""

    asks: ClassVar[type[Operation]]

    def operation(self, place: range) -> Operation:
        """The step as an operation on the pages of *place*."""
        raise NotImplementedError


class MunmapStep(RangeStep):
    """munmap a range."""

    asks: ClassVar = Munmap

    def operation(self, place: range) -> Munmap:
        return Munmap(place.start, len(place))


class TouchStep(RangeStep):
    """Access each page of a range once."""

    asks: ClassVar = Touch

    write: bool = True
    """Whether pages are written; else they are read."""

    def operation(self, place: range) -> Touch:
        return Touch(place, self.write)


class MprotectStep(RangeStep):
    """mprotect: what may be done with the range from now on."""

    asks: ClassVar = Mprotect

    prot: Prot
    """`none`, or letters of `rwx`: `r`, `rw`."""

    def operation(self, place: range) -> Mprotect:
        return Mprotect(place.start, len(place), self.prot)


class MadviseStep(RangeStep):
    """madvise: give the range's pages back; it stays mapped."""

    asks: ClassVar = Madvise

    advice: Literal["dontneed"] = "dontneed"
    """Which advice: MADV_DONTNEED."""

    def operation(self, place: range) -> Madvise:
        return Madvise(place.start, len(place), self.advice)


class ComputeStep(Spec):
    """User time without memory management."""

    time: Duration
    """How long the thread computes in user space."""


class Step(Spec):
    """One step: exactly one of its keys."""

    mmap: MmapStep | None = None
    """Map private anonymous memory."""
    munmap: MunmapStep | None = None
    """Unmap a range."""
    touch: TouchStep | None = None
    """Access each page of a range once."""
    mprotect: MprotectStep | None = None
    """Change what may be done with a range."""
    madvise: MadviseStep | None = None
    """Give the pages of a range back."""
    compute: ComputeStep | None = None
    """User time without memory management."""

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        actions = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(actions) != 1:
            raise ValueError(
                f"a step is one of {', '.join(type(self).model_fields)}; this one has {len(actions)}"
            )
        return self

    @property
    def action(self) -> MmapStep | RangeStep | ComputeStep:
        (action,) = [step for name in type(self).model_fields if (step := getattr(self, name)) is not None]
        assert isinstance(action, MmapStep | RangeStep | ComputeStep)
        return action


class Layout(Spec):
    """Where the slots are.

    Thread i owns a window of *stride* bytes from i x stride on; its request j has *request* bytes at
    j x request in it. `order: own` gives each thread its own window. `order: shuffled` deals all slots out at
    random, each once; then *leaves* is over how many windows they are spread (absent: one for each thread).
    *base* is where the layout begins; absent, the set-up maps it, *reserve* times as large as the windows.
    """

    request: Size
    """Bytes of one request's slot."""
    stride: Size
    """Bytes from one thread's window to the next."""
    order: Literal["own", "shuffled"]
    """`own`: each thread has a window of its own; `shuffled`: all slots are dealt out at random, each
    once."""
    leaves: PositiveInt | None = None
    """With `shuffled`: windows over which the slots are spread. Absent: one for each thread."""
    base: Size | None = None
    """Address at which the layout begins. Absent: where the set-up maps it."""
    reserve: PositiveInt = 1
    """How many times as large as the windows the set-up maps the layout."""

    @model_validator(mode="after")
    def _whole_pages(self) -> Self:
        for name in ("request", "stride", "base"):
            value = getattr(self, name)
            if value is not None and value % PAGE_BYTES:
                raise ValueError(f"{name} must be a whole number of pages")
        if self.request > self.stride:
            raise ValueError("request must fit into stride")
        return self


class Measured(Spec):
    """The requests of each thread, from 0, whose latency is measured."""

    first: NonNegativeInt
    """Number of the first request that counts, from 0."""
    last: NonNegativeInt
    """Number of the last request that counts."""


class Stack(Spec):
    """Each thread's stack: mapped by its creator; the thread touches the top of it before it waits to
    start."""

    size: Size
    """Bytes that the creator maps."""
    touched: Size
    """Bytes at its top that the thread touches before it waits to start."""


class WorkloadPlan(Spec):
    """A workload in one placement: what the threads really do.

    With *measured* each thread does *requests* requests and ends. With *window* it goes on until the window
    is over: after its last slot it does the *refill* steps, which make the slots what they were, and begins
    at its first slot again. Refilling takes its time but is no operation.
    """

    requests: PositiveInt
    """How many slots each thread has; without a window, how many requests it does."""
    measured: Measured | None = None
    """Each thread does `requests` requests; the latency of these is measured."""
    window: Window | None = None
    """Each thread repeats its requests until the window is over."""
    pooled_threads: PositiveInt
    """Runs of a point are repeated, with other random draws, until so many threads have been measured."""
    stack: Stack
    """The stack of each thread."""
    layout: Layout
    """Where the slots are."""
    setup: tuple[Step, ...] = ()
    """What the main thread does before the others start."""
    thread: tuple[Step, ...] = Field(min_length=1)
    """What each thread does in one request."""
    refill: tuple[Step, ...] = ()
    """With a window: what a thread does after its last slot, before it begins at its first one again."""
    throughput: Reported = "over-time"
    """How the benchmark that this workload replays computes its throughput."""
    pinning: Pinning = "cores-first"
    """On which cpus the threads run."""
    memory: MemoryPolicy = FIRST_TOUCH
    """From which node a thread's pages come."""

    @model_validator(mode="after")
    def _ends_in_one_way(self) -> Self:
        if (self.measured is None) == (self.window is None):
            raise ValueError("give either `measured` or `window`")
        if self.refill and self.window is None:
            raise ValueError("`refill` belongs to `window`")
        return self

    @model_validator(mode="after")
    def _measured_requests_exist(self) -> Self:
        measured = self.measured
        if measured and not measured.first <= measured.last < self.requests:
            raise RuleError(
                f"measured requests must lie within 0..{self.requests - 1}, first not after last",
                {
                    "measured.last": f"at most {self.requests - 1}, at least measured.first",
                    "requests": f"more than {max(measured.first, measured.last)}",
                },
            )
        return self

    @model_validator(mode="after")
    def _places_exist_when_they_are_used(self) -> Self:
        in_layout = {"slot", "every slot", "own slots", "layout"}
        mapped = {"mapped", "all mapped"}
        known = {"anywhere"} if self.layout.base is None else {"anywhere"} | in_layout
        parts = {"setup": self.setup, "thread": self.thread, "refill": self.refill}
        for name, steps in parts.items():
            if name != "refill":
                known -= mapped
            for index, step in enumerate(steps):
                at = getattr(step.action, "at", "anywhere")
                if step.mmap is not None:
                    known |= in_layout if at == "layout" else set()
                    known |= mapped
                if at not in known:
                    missing = "an mmap step" if at in mapped else "layout.base or an mmap step at `layout`"
                    raise RuleError(
                        f"a step works at `{at}` without {missing} before it",
                        {f"{name}[{index}]": f"{missing} before it"},
                    )
        return self


class WorkloadSpec(Spec):
    """A workload and its placements. A placement overlays the common part, key by key."""

    name: str
    """The file's name without `.yaml`."""
    title: str
    """One line for lists and figures."""
    requests: PositiveInt
    """How many slots each thread has; without a window, how many requests it does."""
    measured: Measured | None = None
    """Each thread does `requests` requests; the latency of these is measured."""
    window: Window | None = None
    """Each thread repeats its requests until the window is over. It replaces an inherited `measured`."""
    pooled_threads: PositiveInt = 1
    """Runs of a point are repeated, with other random draws, until so many threads have been measured."""
    stack: Stack
    """The stack of each thread."""
    layout: dict[str, Any]
    """Where the slots are."""
    setup: tuple[dict[str, Any], ...] = ()
    """What the main thread does before the threads are created."""
    thread: tuple[dict[str, Any], ...] = ()
    """The steps of one request."""
    refill: tuple[dict[str, Any], ...] = ()
    """With a window: what a thread does after its last slot, before it begins at its first one again."""
    throughput: Reported = "over-time"
    """How the benchmark that this workload replays computes its throughput; published rows are compared with
    that. Results have both."""
    pinning: Pinning = "cores-first"
    """On which cpus the threads run."""
    memory: MemoryPolicy = FIRST_TOUCH
    """From which node a thread's pages come."""
    placements: dict[str, dict[str, Any]] = Field(min_length=1)
    """Name -> what is overlaid on the file, key by key. There must be one at least."""

    @model_validator(mode="after")
    def _every_placement_is_a_plan(self) -> Self:
        for placement in self.placements:
            self.plan(placement)
        return self

    @property
    def placement_names(self) -> list[str]:
        return list(self.placements)

    @property
    def operations(self) -> set[type[Operation]]:
        """What a design must offer: threads map, use and unmap their stacks, whatever the steps say."""
        asked: set[type[Operation]] = {Mmap, Munmap, Touch}
        for plan in map(self.plan, self.placements):
            for step in (*plan.setup, *plan.thread, *plan.refill):
                if not isinstance(step.action, ComputeStep):
                    asked.add(step.action.asks)
        return asked

    def window_of(self, placement: str) -> Window | None:
        """The window in *placement*, if it has one."""
        return self.plan(placement).window

    def reported(self, placement: str) -> Reported:
        """How the benchmark computes its throughput in *placement*."""
        return self.plan(placement).throughput

    def plan(self, placement: str) -> WorkloadPlan:
        """The workload as it is in *placement*. Raises `KeyError` for an unknown one."""
        over = self.placements[placement]
        common = {name: getattr(self, name) for name in WorkloadPlan.model_fields}
        for name, other in (("measured", "window"), ("window", "measured")):
            if name in over and other not in over:
                common[other] = None
        return WorkloadPlan.model_validate(_overlay(common, over), strict=False)


def _overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _overlay(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
