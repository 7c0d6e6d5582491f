"""The steps of a workload, typed: what a thread can be told to do.

A step is a mapping with one key, which says what is done: memory operations at a place, work on named cache
lines, locks and channels, time, memory and allocator traffic, and steps that hold other steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

from sim.mm import (
    MAX_ORDER,
    READ_WRITE,
    Advice,
    AllocatePages,
    Brk,
    CreateFile,
    Exec,
    Exit,
    Fallocate,
    File,
    Fork,
    FreePages,
    Ftruncate,
    Madvise,
    Mincore,
    Mlock,
    Mmap,
    MmapFile,
    MmapShared,
    Mprotect,
    Mremap,
    Msync,
    Munlock,
    Munmap,
    Operation,
    Rights,
    Shootdown,
    SwitchMm,
    Touch,
    parse_rights,
    rights_text,
)
from sim.quantities import PAGE_BYTES, Bandwidth, Cost, Duration, Size, Spec
from sim.workload.draws import STREAM, AnyCount, AnySize, AnyTime

At = Literal["anywhere", "slot", "mapped", "layout", "every slot", "own slots", "all mapped", "break", "mark"]
"""Where a step works: wherever the kernel likes; a slot; what this thread's last mmap returned; the whole
layout; each slot of all threads in turn; all slots of this thread, those side by side as one range; each
range that this thread's mmaps have returned since the last `refill`; where the heap of the process ends;
where this thread has seen it end and noted it."""

Prot = Annotated[
    Rights,
    BeforeValidator(parse_rights),
    PlainSerializer(rights_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(none|[rwx]{1,3})$", "examples": ["rw"]}),
]
"""Rights, written `rw`."""


def _name_or_number(value: Any) -> Any:
    if value not in ("local", "remote") and (type(value) is not int or value < 0):
        raise ValueError("must be local, remote or the number of a node, from 0 on")
    return value


Node = Annotated[Literal["local", "remote"] | NonNegativeInt, BeforeValidator(_name_or_number)]
"""A NUMA node of the hardware: the thread's own, the one that lies as its own does in the next socket, or
that of this number."""


# -- memory operations --------------------------------------------------------------------------------------


class PlacedStep(Spec):
    """A step that works somewhere in the address space of the thread's process."""

    asks: ClassVar[type[Operation]]
    """The operation that a design must offer; a step may ask for others (`operations`)."""

    at: At
    """Where it works."""
    of: Literal["own", "next", "first", "any"] = "own"
    """At a slot, whose it is: the thread's `own`, that of the `next` thread (after the last one the first),
    of the `first` thread, or of `any`, drawn at random."""
    which: Literal["this", "first", "any"] = "this"
    """At a slot, which one of that thread's: that of `this` request, always the `first` one, or `any`."""
    size: AnySize | None = None
    """Bytes from there on. Absent: all of the place; for an mmap one request's, at `layout` all windows."""
    stream: str = STREAM
    """Random stream of `any` and of a random order."""
    may_fail: bool = False
    """Whether the kernel may refuse it (munmap of no memory, a full address space). The thread then goes on;
    otherwise the point fails and says why."""

    @property
    def operations(self) -> set[type[Operation]]:
        """The operations that a design must offer for it."""
        return {self.asks}

    @model_validator(mode="after")
    def _fits_the_place(self) -> Self:
        if self.size is not None and self.at in ("own slots", "all mapped"):
            raise ValueError(f"`size` does not go with `{self.at}`, which has ranges of several sizes")
        if self.at != "slot" and (self.of, self.which) != ("own", "this"):
            raise ValueError("`of` and `which` choose a slot: they go with `at: slot`")
        return self


class MmapStep(PlacedStep):
    """mmap memory, private and anonymous unless it says otherwise; at slots it is MAP_FIXED.

    *size* defaults to the place's own.
    """

    asks = Mmap

    at: Literal["anywhere", "slot", "layout", "own slots"]
    """`anywhere` the kernel likes, at a `slot`, all of the thread's `own slots`, or the whole `layout`."""
    prot: Prot = READ_WRITE
    """What may be done with it: `none`, or letters of `rwx`."""
    replace: bool = True
    """Whether what is mapped there already is replaced; else the kernel refuses (MAP_FIXED_NOREPLACE)."""
    populate: bool = False
    """Whether all pages are faulted in before the call returns (MAP_POPULATE)."""
    file: str | None = None
    """Which of the workload's `files` is mapped. Absent: anonymous memory."""
    offset: Size = 0
    """With `file`: where in it the mapping begins."""
    shared: bool = False
    """Whether a write is one to the file, or to the memory that processes share (MAP_SHARED); else to a
    copy."""

    @property
    def operations(self) -> set[type[Operation]]:
        if self.file is not None:
            return {MmapFile, CreateFile}
        return {MmapShared if self.shared else Mmap}

    def operation(self, pages: int, at: int | None, file: File | None = None) -> Mmap | MmapShared | MmapFile:
        """The step as an operation on *pages* pages from *at* on, or anywhere; of *file* if it has one."""
        if file is not None:
            first = self.offset // PAGE_BYTES
            return MmapFile(file, pages, first, self.shared, at, self.prot, self.replace, self.populate)
        kind = MmapShared if self.shared else Mmap
        return kind(pages, at, self.prot, self.replace, self.populate)

    @model_validator(mode="after")
    def _offset_is_in_a_file(self) -> Self:
        if self.offset % PAGE_BYTES:
            raise ValueError("`offset` must be a whole number of pages")
        if self.offset and self.file is None:
            raise ValueError("`offset` belongs to `file`")
        return self


class RangeStep(PlacedStep):
    """A step over a range of existing memory. *size* defaults to the place's own."""

    at: Literal["slot", "mapped", "layout", "every slot", "own slots", "all mapped"]
    """A `slot`; what this thread's last mmap returned (`mapped`); the whole `layout`; `every slot` of all
    threads in turn; all of this thread's `own slots`; `all mapped` ranges since the refill."""
    every: PositiveInt = 1
    """Only every so many pages of the range, from its first on. System calls are then one for each."""
    pages: AnyCount | None = None
    """How many pages are meant, from the first of them on. Absent: all of the range."""

    def operation(self, place: range) -> Operation:
        """The step as an operation on the pages of *place*."""
        raise NotImplementedError


class MunmapStep(RangeStep):
    """munmap a range."""

    asks = Munmap

    def operation(self, place: range) -> Munmap:
        return Munmap(place.start, len(place))


class TouchStep(RangeStep):
    """Access each page of a range once."""

    asks = Touch

    write: bool = True
    """Whether pages are written; else they are read."""
    order: Literal["in-turn", "random"] = "in-turn"
    """Whether pages are accessed one after the other or at random, each once."""
    bytes: Literal["one", "all"] = "one"
    """How much of each page is accessed: `one` byte, or `all`, at the bandwidth of its memory."""


class MprotectStep(RangeStep):
    """mprotect: what may be done with the range from now on."""

    asks = Mprotect

    prot: Prot
    """`none`, or letters of `rwx`: `r`, `rw`."""

    def operation(self, place: range) -> Mprotect:
        return Mprotect(place.start, len(place), self.prot)


class MadviseStep(RangeStep):
    """madvise: say what becomes of the range's pages; it stays mapped."""

    asks = Madvise

    advice: Advice = "dontneed"
    """Which advice: give them back (`dontneed`, also where they are locked: `dontneed_locked`), let them be
    taken away until they are written again (`free`), bring them in (`populate_read`, `populate_write`), or
    whether they may be huge (`hugepage`, `nohugepage`)."""

    def operation(self, place: range) -> Madvise:
        return Madvise(place.start, len(place), self.advice)


class MlockStep(RangeStep):
    """mlock: bring the range in and keep it in memory."""

    asks = Mlock

    on_fault: bool = False
    """Whether pages are not brought in and stay only once somebody has touched them (MLOCK_ONFAULT)."""

    def operation(self, place: range) -> Mlock:
        return Mlock(place.start, len(place), self.on_fault)


class MunlockStep(RangeStep):
    """munlock: the range need not stay in memory any more."""

    asks = Munlock

    def operation(self, place: range) -> Munlock:
        return Munlock(place.start, len(place))


class MincoreStep(RangeStep):
    """mincore: ask which pages of the range are there."""

    asks = Mincore

    def operation(self, place: range) -> Mincore:
        return Mincore(place.start, len(place))


class MsyncStep(RangeStep):
    """msync: write the range to its files."""

    asks = Msync

    wait: bool = True
    """Whether the call returns when that is done (MS_SYNC), else at once (MS_ASYNC)."""
    invalidate: bool = False
    """Whether other mappings are made to see it (MS_INVALIDATE)."""

    def operation(self, place: range) -> Msync:
        return Msync(place.start, len(place), self.wait, self.invalidate)


class MremapStep(PlacedStep):
    """mremap: a range becomes longer or shorter, or lies elsewhere. What it has become is `mapped` from then
    on."""

    asks = Mremap

    at: Literal["slot", "mapped"]
    """A `slot`, or what this thread's last mmap returned (`mapped`)."""
    new_size: AnySize
    """Bytes that it has afterwards."""
    may_move: bool = True
    """Whether it may move where there is no room for it (MREMAP_MAYMOVE)."""
    to: Literal["slot"] | None = None
    """Where it moves in any case (MREMAP_FIXED): the slot of this request. Absent: where there is room."""

    def operation(self, place: range, new_pages: int, to: int | None) -> Mremap:
        """The step as an operation on the pages of *place*."""
        return Mremap(place.start, len(place), new_pages, self.may_move, to)


class BrkStep(PlacedStep):
    """brk: let the heap of the process end *size* behind a place; `may_fail` where it may be in the way."""

    asks = Brk

    at: Literal["break", "mark"]
    """Where the heap ends now, which is asked for first (`break`, as sbrk does), or this thread's `mark`."""
    size: AnySize = 0
    """Bytes from there on. Absent: none."""
    mark: bool = False
    """Whether the thread notes where the heap ends then: its `mark` from now on."""


class ShootdownStep(RangeStep):
    """Flush the pages of a range from TLBs.

    `all` asks every cpu that runs the address space, as Linux does. `next`, or so many next ones in number,
    asks these cpus only, as a kernel does that knows who has used a page.
    """

    asks = Shootdown

    targets: Literal["all", "next"] | PositiveInt
    """`all`: every cpu that runs the address space; `next`, or a number: so many next ones in number."""


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
    """Take so many blocks of 2**order pages from the kernel's allocator, or give back those taken before."""

    count: PositiveInt
    """How many blocks."""
    order: NonNegativeInt = Field(0, le=MAX_ORDER)
    """A block has 2**order pages."""


# -- steps that hold steps ----------------------------------------------------------------------------------


class RepeatStep(Spec):
    """Do *steps* so many times."""

    times: AnyCount
    """How often; a count that is drawn may be 0."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """What is repeated."""


class ForkStep(Spec):
    """Fork the process. The child does *steps* on the same cpu and exits, while the thread waits for it."""

    exec: bool = False
    """Whether the child executes a program first: it begins with no memory."""
    steps: tuple[Step, ...] = ()
    """What the child does before it exits."""


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
    touch: TouchStep | None = None
    """Access each page of a range once."""
    mprotect: MprotectStep | None = None
    """Change what may be done with a range."""
    madvise: MadviseStep | None = None
    """Give the pages of a range back, or bring them in."""
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
    brk: BrkStep | None = None
    """Move the end of the heap."""
    shootdown: ShootdownStep | None = None
    """Flush a range from the TLBs of others."""
    fallocate: FallocateStep | None = None
    """Bring a part of a file into memory."""
    ftruncate: FtruncateStep | None = None
    """Cut a file off, or make it longer."""
    switch_mm: Literal["next"] | None = None
    """Load the address space of the next process, after the last one the first."""
    compute: Annotated[AnyTime, BeforeValidator(_written_in_full)] | None = None
    """Work of the cpu in user mode."""
    sleep: Duration | None = None
    """Block for so long, as for a device or a timer: the cpu idles and an interrupt wakes the thread."""
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
    free: PagesStep | None = None
    """Give back blocks taken before."""
    fork: ForkStep | None = None
    """Fork, let the child do steps and exit, and wait for it."""
    repeat: RepeatStep | None = None
    """Do steps several times."""
    maybe: MaybeStep | None = None
    """Do steps with a probability."""
    timed: tuple[Step, ...] | None = Field(default=None, min_length=1)
    """These steps are what is measured; where no role has any, each request is."""
    per: PositiveInt | None = None
    """With `timed`: so many operations were timed together."""

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        given = [key for name, key in _KINDS.items() if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a step is one of {', '.join(_KINDS.values())}; this one has {len(given)}")
        if self.per is not None and self.timed is None:
            raise ValueError("`per` belongs to `timed`")
        if self.node is not None and self.read_dram is None:
            raise ValueError("`node` belongs to `read_dram`")
        return self

    @property
    def kind(self) -> str:
        """The one key that says what is done, as files write it."""
        return next(key for name, key in _KINDS.items() if getattr(self, name) is not None)

    @property
    def placed(self) -> PlacedStep | None:
        """The step as one that works somewhere in an address space, if it is one."""
        kinds = (self.mmap, self.munmap, self.touch, self.mprotect, self.madvise, self.mremap, self.brk)
        others = (self.mlock, self.munlock, self.mincore, self.msync, self.shootdown)
        return next((step for step in (*kinds, *others) if step is not None), None)

    @property
    def parts(self) -> dict[str, tuple[Step, ...]]:
        """The lists of steps inside it, by where they stand."""
        if self.timed is not None:
            return {"timed": self.timed}
        if self.seq_read is not None:
            return {"seq_read.steps": self.seq_read.steps}
        if self.fork is not None:
            return {"fork.steps": self.fork.steps}
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
        if self.fork:
            return {Fork, Exit, SwitchMm} | ({Exec} if self.fork.exec else set())
        if self.fallocate or self.ftruncate:
            return {CreateFile, Fallocate if self.fallocate else Ftruncate}
        return {AllocatePages, FreePages} if self.allocate or self.free else set()


_KINDS = {
    name: field.alias or name for name, field in Step.model_fields.items() if name not in ("per", "node")
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
