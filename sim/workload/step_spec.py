"""The steps of a workload, typed: what a thread can be told to do.

A step is a mapping with one key, which says what is done: memory operations at a place, work on named cache
lines, locks and channels, time, memory and allocator traffic, and steps that hold other steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from sim.mm import (
    MAX_ORDER,
    AllocatePages,
    AllocateRegion,
    Close,
    CreateFile,
    Exec,
    Exit,
    Fallocate,
    Fork,
    FreePages,
    Fstat,
    Ftruncate,
    Kill,
    LookUp,
    Mmap,
    Open,
    Operation,
    PlaceRegions,
    ReadByte,
    ReadMaps,
    ReadStatus,
    Sigaction,
    Signal,
    Stat,
    SwitchMm,
    Unlink,
    Vfork,
    WriteByte,
    WriteRegion,
)
from sim.quantities import PAGE_BYTES, Bandwidth, Cost, Duration, Size, Spec
from sim.workload.call_spec import AnyFile, AnyOpen, CallFunctionStep
from sim.workload.draws import STREAM, AnyTime, AnyTimes
from sim.workload.exmap_spec import ExmapAllocStep, ExmapFreeStep, ExmapStep
from sim.workload.heap_spec import MallocStep, MfreeStep, ReallocStep
from sim.workload.place_spec import (
    BrkStep,
    MadviseStep,
    MincoreStep,
    MlockStep,
    MmapStep,
    MprotectStep,
    MremapStep,
    MsyncStep,
    MunlockStep,
    MunmapStep,
    PlacedStep,
    PopulateStep,
    ProcessMadviseStep,
    ServeStep,
    ShootdownStep,
    TouchStep,
    UserfaultStep,
)


def _name_or_number(value: Any) -> Any:
    if value not in ("local", "remote") and (type(value) is not int or value < 0):
        raise ValueError("must be local, remote or the number of a node, from 0 on")
    return value


Node = Annotated[Literal["local", "remote"] | NonNegativeInt, BeforeValidator(_name_or_number)]
"""A NUMA node of the hardware: the thread's own, the one that lies as its own does in the next socket, or
that of this number."""


# -- lines, locks, memory, allocator ------------------------------------------------------------------------


class CasStep(Spec):
    """Load the line, add, compare-and-swap; again until nobody came between."""

    line: str
    """Name of the line."""
    retry: Cost
    """From a compare-and-swap that failed to the next one: a mispredicted branch, and the addition."""


class SeqReadStep(Spec):
    """Do *steps* as a reader of a seqlock: once more from the beginning, as long as writers come between."""

    lock: str
    """Name of the seqlock."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """What is read."""


class StreamStep(Spec):
    """Read lines from DRAM at random, without waiting for one before the next.

    *bandwidth* is that of all threads with such a step together; each has an equal share.
    """

    bandwidth: Bandwidth
    """Of all threads with such a step together."""


class ClearStep(Spec):
    """Zero so many bytes on a node, in huge pages where 2 MiB of them are left."""

    size: Size = PAGE_BYTES
    """How many bytes."""
    node: Node = "local"
    """On which node: `local`, `remote` or a number."""

    @model_validator(mode="after")
    def _whole_pages(self) -> Self:
        if not self.size or self.size % PAGE_BYTES:
            raise ValueError("size must be a whole number of pages of 4 KiB")
        return self


class CopyStep(ClearStep):
    """Copy so many bytes from one node to another, page by page."""

    source: Node = "local"
    """From which node: `local`, `remote` or a number."""


class FallocateStep(Spec):
    """fallocate: bring a part of a file into memory; the file is as long at least."""

    file: str
    """Which of the workload's `files`."""
    size: Size
    """How many bytes."""
    offset: Size | Literal["request"] = 0
    """From where on; `request`: as many parts of `size` from the beginning as the number of the request."""
    may_fail: bool = False
    """Whether the kernel may refuse it; otherwise the point fails."""

    @model_validator(mode="after")
    def _whole_pages(self) -> Self:
        if self.size % PAGE_BYTES or (self.offset != "request" and self.offset % PAGE_BYTES):
            raise ValueError("`size` and `offset` must be whole numbers of pages of 4 KiB")
        return self


class FtruncateStep(Spec):
    """ftruncate: make a file so long. What lies behind leaves memory and all mappings."""

    file: str
    """Which of the workload's `files`."""
    size: Size = 0
    """How long it is then."""

    @model_validator(mode="after")
    def _whole_pages(self) -> Self:
        if self.size % PAGE_BYTES:
            raise ValueError("`size` must be a whole number of pages of 4 KiB")
        return self


class PagesStep(Spec):
    """Take so many blocks of 2**order pages from the kernel's allocator."""

    count: PositiveInt
    """How many blocks."""
    order: NonNegativeInt = Field(0, le=MAX_ORDER)
    """A block has 2**order pages."""


class FreeStep(PagesStep):
    """Give back so many of the blocks taken before."""

    which: Literal["oldest", "newest", "shuffled"] = "oldest"
    """Those that the thread has had longest, or has taken last; or the blocks of all threads are dealt out
    anew at random, to each as many as it had. The first thread to come deals: put a `barrier` before it."""


# -- steps that hold steps ----------------------------------------------------------------------------------


class LookUpStep(Spec):
    """Look one key up: any of those in the tree, each as likely."""

    stream: str = STREAM
    """Name of the random stream."""


class RepeatStep(Spec):
    """Do *steps* so many times."""

    times: AnyTimes
    """How often; it may be 0."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """What is repeated."""


class ForkStep(Spec):
    """Fork the process. The child does *steps* and exits."""

    exec: bool = False
    """Whether the child executes a program first: it begins with no memory."""
    steps: tuple[Step, ...] = ()
    """What the child does before it exits."""
    vfork: bool = False
    """With `exec`: whether the child uses its parent's memory until it executes the program, and its parent
    sleeps until then (vfork, posix_spawn)."""
    wait: bool = True
    """Whether the thread waits for it at once, and the child runs on the same cpu. False: the child runs
    beside it, on a cpu that nothing runs on, or in turn with it, until a `wait` step waits for it."""

    @model_validator(mode="after")
    def _vfork_executes(self) -> Self:
        if self.vfork and not self.exec:
            raise ValueError("`vfork` belongs to `exec: true`: its child does nothing else before")
        return self


class SignalsStep(Spec):
    """Do *steps*. Where one of them gets a signal (an access to memory that is not mapped, or not for this),
    the *handler* runs, and *then* says how the thread goes on."""

    steps: tuple[Step, ...] = Field(min_length=1)
    """What may get signals: steps that work on memory, `compute` and `syscall`."""
    handler: tuple[Step, ...] = ()
    """What the handler does: steps of the same kinds."""
    then: Literal["skip", "retry", "end"] = "skip"
    """`skip`: the thread leaves the step that got the signal (siglongjmp). `retry`: it does that step again,
    which the handler must have made possible. `end`: nobody handles the signal, and the thread ends."""

    @model_validator(mode="after")
    def _works_on_memory(self) -> Self:
        for step in (*self.steps, *self.handler):
            if step.placed is None and step.compute is None and step.syscall is None:
                raise ValueError(
                    f"signals holds steps that work on memory, compute and syscall, not {step.kind}"
                )
        if self.then == "end" and self.handler:
            raise ValueError("with `then: end` nobody handles the signal: there is no `handler`")
        if self.then == "retry" and not self.handler:
            raise ValueError("`then: retry` needs a `handler` that makes the access possible")
        return self


class KillStep(Spec):
    """kill of the thread's own process. With *deliver* it gets the signal at once: the *handler* runs."""

    deliver: bool = True
    """False: signal 0, which only asks."""
    handler: tuple[Step, ...] = ()
    """What the handler does: steps that work on memory, `compute` and `syscall`."""

    @model_validator(mode="after")
    def _is_handled(self) -> Self:
        for step in self.handler:
            if step.placed is None and step.compute is None and step.syscall is None:
                raise ValueError(
                    f"a handler holds steps that work on memory, compute and syscall, not {step.kind}"
                )
        if self.handler and not self.deliver:
            raise ValueError("with `deliver: false` no handler runs")
        return self


class MaybeStep(Spec):
    """Do *steps* with a probability, else the steps of *otherwise*."""

    probability: float = Field(ge=0, le=1)
    """How likely *steps* are done."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """What is done then."""
    otherwise: tuple[Step, ...] = ()
    """What is done if not."""
    stream: str = STREAM
    """Name of the random stream."""


def _written_in_full(value: Any) -> Any:
    """`compute: {time: 1 us}` is `compute: 1 us`."""
    return value["time"] if isinstance(value, dict) and set(value) == {"time"} else value


class Step(Spec):
    """One step: exactly one of its keys."""

    mmap: MmapStep | None = None
    """Map memory: private and anonymous, shared, or a file."""
    munmap: MunmapStep | None = None
    """Unmap a range."""
    populate: PopulateStep | None = None
    """All pages of a range have been written, before anything is measured."""
    touch: TouchStep | None = None
    """Access each page of a range once."""
    mprotect: MprotectStep | None = None
    """Change what may be done with a range."""
    madvise: MadviseStep | None = None
    """Give the pages of a range back, or bring them in."""
    process_madvise: ProcessMadviseStep | None = None
    """The same of several ranges in one call."""
    mlock: MlockStep | None = None
    """Bring a range in and keep it in memory."""
    munlock: MunlockStep | None = None
    """Let a range be evicted again."""
    mincore: MincoreStep | None = None
    """Ask which pages of a range are there."""
    msync: MsyncStep | None = None
    """Write a range to its files."""
    mremap: MremapStep | None = None
    """Make a range longer or shorter, or move it."""
    read_maps: Literal[True] | None = None
    """Read /proc/PID/maps of the thread's own process from beginning to end."""
    read_status: Literal[True] | None = None
    """Read of /proc/PID/status how much memory the thread's own process has; `points.csv` says it."""
    brk: BrkStep | None = None
    """Move the end of the heap."""
    vvar_vclock: Size | None = None
    """In a `program`: where the kernel maps the pages of virtual clocks apart ([vvar_vclock]), so many bytes
    of them, below what it has mapped last."""
    userfault: UserfaultStep | None = None
    """Let threads that `serve` bring in the missing pages of a range (userfaultfd)."""
    serve: ServeStep | None = None
    """Wait for a thread that misses a page, and bring it in."""
    shootdown: ShootdownStep | None = None
    """Flush a range from the TLBs of others."""
    exmap: ExmapStep | None = None
    """Set up and map memory that the program manages itself (exmap)."""
    exmap_alloc: ExmapAllocStep | None = None
    """Allocate pages of an exmap."""
    exmap_free: ExmapFreeStep | None = None
    """Free pages of an exmap."""
    fallocate: FallocateStep | None = None
    """Bring a part of a file into memory."""
    ftruncate: FtruncateStep | None = None
    """Cut a file off, or make it longer."""
    switch_mm: Literal["next"] | None = None
    """Load the address space of the next process, after the last one the first."""
    compute: Annotated[AnyTime, BeforeValidator(_written_in_full)] | None = None
    """Work of the cpu in user mode."""
    syscall: Annotated[AnyTime, BeforeValidator(_written_in_full)] | None = None
    """A system call that only computes: so long, beside entering the kernel and leaving it."""
    sleep: Duration | None = None
    """Block for so long, as for a device or a timer: the cpu idles and an interrupt wakes the thread."""
    sched_yield: Cost | None = None
    """Let others of the same cpu run first: what the call's code takes, beside entering the kernel, where
    nobody else is there."""
    load: str | None = None
    """Load from a line, by its name."""
    store: str | None = None
    """Store to a line."""
    add: str | None = None
    """An atomic add to a line."""
    cas_add: CasStep | None = None
    """Add by compare-and-swap in a loop."""
    turn: str | None = None
    """Compare-and-swap on a line until it is this thread's turn, which makes it the next thread's: a ball
    that two threads, or a ring of them, pass on."""
    keep_pace: str | None = None
    """Count this thread's word on a line one up and spin until the next thread's is as high, that of the last
    thread until the first one's is."""
    meet: str | None = None
    """Meet all threads of the run at a barrier whose count is on this line: one atomic subtraction each, and
    spinning until the last one has come."""
    lock: str | None = None
    """Take a lock, by its name; of a reader-writer lock, for writing."""
    unlock: str | None = None
    """Release it."""
    read_lock: str | None = None
    """Take a reader-writer lock for reading."""
    read_unlock: str | None = None
    """Release it."""
    seq_read: SeqReadStep | None = None
    """Read under a seqlock, again while writers come between."""
    send: str | None = None
    """Put a token into a channel, by its name; wait while it is full."""
    receive: str | None = None
    """Take a token out of a channel; wait until there is one."""
    barrier: Duration | None = None
    """Wait for all threads of the run. They go on within this time, each at a random moment of it."""
    read_dram: PositiveInt | None = None
    """So many dependent loads that miss all caches."""
    node: Node | None = None
    """With `read_dram`: whose memory; absent, that of the thread's own node."""
    stream_dram: StreamStep | None = None
    """Read lines from DRAM at random at a given rate."""
    clear: ClearStep | None = None
    """Zero memory."""
    copy_: CopyStep | None = Field(default=None, alias="copy")
    """Copy memory."""
    allocate: PagesStep | None = None
    """Take blocks of pages from the design's page allocator."""
    free: FreeStep | None = None
    """Give back blocks taken before."""
    find_region: Literal[True] | None = None
    """Search the design's index for a random page of a random one of the workload's `regions`."""
    write_region: Literal[True] | None = None
    """Insert a region at a random place where none is, and delete it again."""
    allocate_region: Literal[True] | None = None
    """Find room for a region anywhere, and insert it."""
    malloc: MallocStep | None = None
    """Allocate memory in user space and write it: what the workload's `allocator` asks of the kernel."""
    mfree: MfreeStep | None = None
    """Give allocated memory back to the allocator (free)."""
    realloc: ReallocStep | None = None
    """Make allocated memory longer or shorter."""
    fill_buffer: Literal[True] | None = None
    """In a set-up: map the workload's `buffer` and bring pages in until it is full."""
    look_up: LookUpStep | None = None
    """Look one key up in the tree of the workload's `buffer`."""
    fork: ForkStep | None = None
    """Fork, and let the child do steps and exit."""
    wait: Literal["child", "all"] | None = None
    """Wait until the oldest `child` has exited that runs beside the thread, or `all` of them."""
    signals: SignalsStep | None = None
    """Do steps, and handle the signals that their accesses get."""
    kill: KillStep | None = None
    """Send the own process a signal, and handle it."""
    sigaction: Literal[True] | None = None
    """Set the handler of a signal."""
    open: AnyOpen | None = None
    """Open a file."""
    close: Literal[True] | None = None
    """Close the file that the thread has opened last."""
    unlink: AnyFile | None = None
    """Take a file's name away."""
    stat: AnyFile | None = None
    """Ask what a file is, by its path."""
    fstat: Literal[True] | None = None
    """Ask what the file is that the thread has opened last."""
    read: Literal["byte"] | None = None
    """Read a byte of it."""
    write: Literal["byte"] | None = None
    """Write a byte to it."""
    call_function: CallFunctionStep | None = None
    """Call a function on other cpus, by interrupts."""
    repeat: RepeatStep | None = None
    """Do steps several times."""
    maybe: MaybeStep | None = None
    """Do steps with a probability."""
    timed: tuple[Step, ...] | None = Field(default=None, min_length=1)
    """These steps are what is measured; where no role has any, each request is."""
    per: PositiveInt | Literal["touches"] | None = None
    """With `timed`: so many operations were timed together, or as many as pages were touched in it."""
    less: tuple[Step, ...] | None = Field(default=None, min_length=1)
    """With `timed`: steps that are done right before, and whose time is subtracted, as lmbench does with what
    it cannot leave out."""

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        given = [key for name, key in _KINDS.items() if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a step is one of {', '.join(_KINDS.values())}; this one has {len(given)}")
        if self.timed is None and (self.per is not None or self.less is not None):
            raise ValueError(f"`{'less' if self.per is None else 'per'}` belongs to `timed`")
        if self.node is not None and self.read_dram is None:
            raise ValueError("`node` belongs to `read_dram`")
        return self

    @property
    def kind(self) -> str:
        """The one key that says what is done, as files write it."""
        return next(key for name, key in _KINDS.items() if getattr(self, name) is not None)

    @cached_property
    def placed(self) -> PlacedStep | None:
        """The step as one that works somewhere in an address space, if it is one."""
        kinds = (self.mmap, self.munmap, self.touch, self.mprotect, self.madvise, self.mremap, self.brk)
        others = (self.process_madvise, self.mlock, self.munlock, self.mincore, self.msync)
        more = (self.populate, self.userfault, self.serve, self.shootdown)
        exmap = (self.exmap, self.exmap_alloc, self.exmap_free)
        return next((step for step in (*kinds, *others, *more, *exmap) if step is not None), None)

    @property
    def calls(self) -> bool:
        """Whether it is a plain system call of a process."""
        return self.kill is not None or self.kind in _CALLS

    @property
    def parts(self) -> dict[str, tuple[Step, ...]]:
        """The lists of steps inside it, by where they stand."""
        if self.timed is not None:
            return {"timed": self.timed} if self.less is None else {"less": self.less, "timed": self.timed}
        if self.kill is not None:
            return {"kill.handler": self.kill.handler}
        if self.seq_read is not None:
            return {"seq_read.steps": self.seq_read.steps}
        if self.fork is not None:
            return {"fork.steps": self.fork.steps}
        if self.signals is not None:
            return {"signals.steps": self.signals.steps, "signals.handler": self.signals.handler}
        if self.repeat is not None:
            return {"repeat.steps": self.repeat.steps}
        if self.maybe is not None:
            return {"maybe.steps": self.maybe.steps, "maybe.otherwise": self.maybe.otherwise}
        return {}

    @property
    def asks(self) -> set[type[Operation]]:
        """The operations that a design must offer for it, those of the steps inside it aside."""
        if (placed := self.placed) is not None:
            return placed.operations
        if self.switch_mm:
            return {SwitchMm}
        if self.read_maps:
            return {ReadMaps}
        if self.read_status:
            return {ReadStatus}
        if self.vvar_vclock:
            return {Mmap}
        if self.signals:
            return {Signal}
        if self.kill:
            return {Kill, Signal} if self.kill.deliver else {Kill}
        if (call := next((name for name in _CALLS if getattr(self, name)), None)) is not None:
            return {_CALLS[call]}
        if self.fork:
            forks = Vfork if self.fork.vfork else Fork
            return {forks, Exit, SwitchMm} | ({Exec} if self.fork.exec else set())
        if self.fallocate or self.ftruncate:
            return {CreateFile, Fallocate if self.fallocate else Ftruncate}
        if self.find_region:
            return {PlaceRegions, LookUp}
        if self.write_region or self.allocate_region:
            return {PlaceRegions, WriteRegion if self.write_region else AllocateRegion}
        return {AllocatePages, FreePages} if self.allocate or self.free else set()


_CALLS: dict[str, type[Operation]] = {
    "sigaction": Sigaction,
    "open": Open,
    "close": Close,
    "unlink": Unlink,
    "stat": Stat,
    "fstat": Fstat,
    "read": ReadByte,
    "write": WriteByte,
}
"""Key of a step -> the plain system call that it is."""

_KINDS = {
    name: field.alias or name
    for name, field in Step.model_fields.items()
    if name not in ("per", "less", "node")
}
"""Attribute -> key of a file, for all keys that say what is done."""


def placed_steps(steps: Sequence[Step], key: str) -> Iterator[tuple[str, Step]]:
    """All steps with the keys at which they stand, each before those inside it."""
    for index, step in enumerate(steps):
        place = f"{key}[{index}]"
        yield place, step
        for inner, inside in step.parts.items():
            yield from placed_steps(inside, f"{place}.{inner}")


def nodes_named(step: Step) -> list[Node]:
    """The nodes that *step* itself names."""
    named: list[Node] = [step.node] if step.node is not None else []
    named += [step.clear.node] if step.clear else []
    return named + ([step.copy_.node, step.copy_.source] if step.copy_ else [])
