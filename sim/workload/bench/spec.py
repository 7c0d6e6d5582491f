"""What a bench file says, typed: threads that work on named cache lines, locks, DRAM and the page allocator.

A bench needs no address space. Where an ordinary workload is a list of requests at slots, a bench gives each
*role* of thread a list of steps, which is repeated so many `rounds` or until the `window` is over.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from sim.engine.units import PAGE_BYTES, Bandwidth, Cost, Duration, Size
from sim.hardware import Spec
from sim.mm import (
    FIRST_TOUCH,
    MAX_ORDER,
    AllocatePages,
    FreePages,
    Madvise,
    MemoryPolicy,
    Mmap,
    Operation,
    Shootdown,
    SwitchMm,
    Touch,
)
from sim.sync import READER_WRITER
from sim.workload.bench.lock_spec import LockSpec
from sim.workload.pinning import Pinning
from sim.workload.window import Reported, Window

Who = Literal["alone", "first", "others", "even", "odd", "all"]
"""Threads of a role: the only thread of a run, thread 0, all but thread 0, every second one, all."""


def _name_or_number(value: Any) -> Any:
    if value not in ("local", "remote") and (type(value) is not int or value < 0):
        raise ValueError("must be local, remote or the number of a node, from 0 on")
    return value


Node = Annotated[Literal["local", "remote"] | NonNegativeInt, BeforeValidator(_name_or_number)]
"""A NUMA node of the hardware: the thread's own, the one that lies as its own does in the next socket, or
that of this number."""


class LineSpec(Spec):
    """A word on a cache line in the memory of socket *home*.

    With *each_thread* it is an array with a word for each thread, so many bytes from one to the next: below
    64 several threads' words share a line.
    """

    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    each_thread: Size | None = Field(default=None, gt=0)
    """Bytes from one thread's word to the next. Absent: one word that all share."""


class SpacesSpec(Spec):
    """Address spaces that all threads share. In each, each thread has a region of *pages* pages of its own,
    *apart* from one to the next, which it has touched before the run. Threads begin in the first space."""

    count: PositiveInt = 1
    """Number of address spaces."""
    pages: PositiveInt
    """Pages of each thread's region in each of them."""
    apart: Size = PAGE_BYTES
    """Bytes from one page of a region to the next."""

    @model_validator(mode="after")
    def _whole_pages_apart(self) -> Self:
        if self.apart == 0 or self.apart % PAGE_BYTES:
            raise ValueError("apart must be a whole number of pages")
        return self


class TouchPagesStep(Spec):
    """Access the first *pages* pages (absent: all) of the thread's region, or of thread 0's, one by one."""

    pages: PositiveInt | None = None
    """How many, from the first on. Absent: all."""
    region: Literal["own", "first"] = "own"
    """The thread's own pages, or those of thread 0."""


class ShootdownStep(Spec):
    """Flush the first *pages* pages (absent: all) of the thread's region.

    `all` asks every cpu that runs the address space, as Linux does. `next`, or so many next ones in number,
    asks these cpus only, as a kernel does that knows who has used a page.
    """

    targets: Literal["all", "next"] | PositiveInt
    """`all`: every cpu that runs the address space; `next`, or a number: so many next ones in number."""
    pages: PositiveInt | None = None
    """How many, from the first on. Absent: all."""


class DiscardStep(Spec):
    """Give the first *pages* pages (absent: all) of the thread's region back (MADV_DONTNEED)."""

    pages: PositiveInt | None = None
    """How many, from the first on. Absent: all."""


class PagesStep(Spec):
    """Take so many blocks of 2**order pages from the kernel's allocator, or give back those taken before."""

    count: PositiveInt
    """How many blocks."""
    order: NonNegativeInt = Field(0, le=MAX_ORDER)
    """A block has 2**order pages."""


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
    steps: tuple[BenchStep, ...] = Field(min_length=1)
    """What is read."""


class BenchStep(Spec):
    """One step: exactly one of its keys."""

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
    sleep: Duration | None = None
    """Block for so long, as for a device or a timer: the cpu idles and an interrupt wakes the thread."""
    compute: Cost | None = None
    """Work of the cpu on its own."""
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
    touch: TouchPagesStep | None = None
    """Access pages of a region."""
    shootdown: ShootdownStep | None = None
    """Flush pages from the TLBs of others."""
    discard: DiscardStep | None = None
    """Give pages back (MADV_DONTNEED)."""
    switch_space: Literal["next"] | None = None
    """Load the next address space, after the last one the first."""
    barrier: Duration | None = None
    """Wait for all threads of the run. They go on within this time, each at a random moment of it."""
    timed: tuple[BenchStep, ...] | None = None
    """These steps are what the bench measures; where no role has any, each repetition of a role's steps."""
    per: PositiveInt | None = None
    """With `timed`: so many operations were timed together."""

    @model_validator(mode="after")
    def _one_action(self) -> Self:
        given = self._given()
        if len(given) != 1:
            kinds = ", ".join(self._kinds().values())
            raise ValueError(f"a step is one of {kinds}; this one has {len(given)}")
        if self.per is not None and self.timed is None:
            raise ValueError("`per` belongs to `timed`")
        if self.node is not None and self.read_dram is None:
            raise ValueError("`node` belongs to `read_dram`")
        return self

    @property
    def kind(self) -> str:
        """The one key that says what is done, as files write it."""
        return self._given()[0]

    @classmethod
    def _kinds(cls) -> dict[str, str]:
        """Attribute -> key of a file, for all keys that say what is done."""
        fields = {name: field.alias or name for name, field in cls.model_fields.items()}
        return {name: key for name, key in fields.items() if key not in ("per", "node")}

    def _given(self) -> list[str]:
        return [key for name, key in self._kinds().items() if getattr(self, name) is not None]


class Role(Spec):
    """What some of the threads do. A thread takes the first role that fits it.

    A role that is not *measured* (one that only makes load) counts neither operations nor time.
    """

    who: Who
    """Which threads: `alone` in the run, the `first`, the `others`, `even` or `odd` ones, or `all`."""
    steps: tuple[BenchStep, ...] = Field(min_length=1)
    """What they repeat."""
    measured: bool = True
    """False: they make load, and neither operations nor time of theirs count."""

    def fits(self, thread: int, threads: int) -> bool:
        return {
            "alone": threads == 1,
            "first": thread == 0,
            "others": thread > 0,
            "even": thread % 2 == 0,
            "odd": thread % 2 == 1,
            "all": True,
        }[self.who]


class BenchSpec(Spec):
    """A bench: objects, roles, and how long it runs."""

    name: str
    """The file's name without `.yaml`."""
    title: str
    """One line for lists and figures."""
    family: Literal["bench"]
    """`bench`: what the file is."""
    lines: dict[str, LineSpec] = Field(default_factory=dict)
    """Name -> a cache line that steps work on."""
    locks: dict[str, LockSpec] = Field(default_factory=dict)
    """Name -> a lock that steps take."""
    spaces: SpacesSpec | None = None
    """Address spaces for the steps that need them."""
    placement: str | None = None
    """What published rows call this way to run it, such as will-it-scale's `threads`."""
    roles: tuple[Role, ...] = Field(min_length=1)
    """What which threads do. A thread takes the first role that fits it."""
    pinning: Pinning = "cores-first"
    """On which cpus the threads run."""
    memory: MemoryPolicy = FIRST_TOUCH
    """From which node the kernel's page allocator serves a thread."""
    rounds: PositiveInt | None = None
    """Repetitions of each role's steps. Either this or `window`."""
    window: Window | None = None
    """A time in which operations are counted. Either this or `rounds`."""

    @model_validator(mode="after")
    def _ends_in_one_way(self) -> Self:
        if (self.rounds is None) == (self.window is None):
            raise ValueError("give either `rounds` or `window`")
        return self

    @model_validator(mode="after")
    def _objects_exist(self) -> Self:
        for step in (step for role in self.roles for step in _all_steps(role.steps)):
            read = step.read_lock or step.read_unlock
            seq_read = step.seq_read and step.seq_read.lock
            for known, name in (
                (
                    self.lines,
                    step.load or step.store or step.add or step.turn or (step.cas_add and step.cas_add.line),
                ),
                (self.locks, step.lock or step.unlock or read or seq_read),
            ):
                if name is not None and name not in known:
                    raise ValueError(f"a step uses {name!r}, which is neither under `lines` nor `locks`")
            if step.turn and self.lines[step.turn].each_thread:
                raise ValueError(
                    f"`turn` is for a word that all threads share, {step.turn!r} has one for each"
                )
            if read and self.locks[read].kind not in READER_WRITER:
                raise ValueError(
                    f"only {', '.join(READER_WRITER)} can be locked for reading, {read!r} is none"
                )
            if seq_read and self.locks[seq_read].kind != "seqlock":
                raise ValueError(f"`seq_read` is for `kind: seqlock`, {seq_read!r} is none")
        return self

    @model_validator(mode="after")
    def _spaces_exist(self) -> Self:
        for step in (step for role in self.roles for step in _all_steps(role.steps)):
            action = step.touch or step.shootdown or step.discard
            if self.spaces is None and (action or step.switch_space):
                raise ValueError("touch, shootdown, discard and switch_space need `spaces`")
            if self.spaces and action and (action.pages or 1) > self.spaces.pages:
                raise ValueError(f"a step works on {action.pages} pages, spaces.pages is {self.spaces.pages}")
        return self

    @property
    def placement_names(self) -> list[str]:
        """A bench has one placement at most."""
        return [self.placement] if self.placement else []

    def window_of(self, placement: str) -> Window | None:
        """The window; a bench has one placement at most."""
        return self.window

    def reported(self, placement: str) -> Reported:
        """How the benchmark computes its throughput: a bench counts operations over time."""
        return "over-time"


def nodes_named(step: BenchStep) -> list[Node]:
    """The nodes that *step* itself names."""
    named: list[Node] = [step.node] if step.node is not None else []
    named += [step.clear.node] if step.clear else []
    return named + ([step.copy_.node, step.copy_.source] if step.copy_ else [])


def needs(bench: BenchSpec) -> set[type[Operation]]:
    """What the set-up and the steps of *bench* ask of a design."""
    asked: set[type[Operation]] = {Mmap, Touch} if bench.spaces else set()
    if bench.spaces and bench.spaces.count > 1:
        asked.add(SwitchMm)  # each cpu loads each space in the set-up
    for step in (step for role in bench.roles for step in _all_steps(role.steps)):
        if step.allocate or step.free:
            asked |= {AllocatePages, FreePages}
        if step.discard:
            asked.add(Madvise)
        if step.shootdown:
            asked.add(Shootdown)
        if step.switch_space:
            asked.add(SwitchMm)
    return asked


def _all_steps(steps: tuple[BenchStep, ...]) -> list[BenchStep]:
    return [inner for step in steps for inner in (step, *_all_steps(_inner(step)))]


def _inner(step: BenchStep) -> tuple[BenchStep, ...]:
    return step.timed or (step.seq_read.steps if step.seq_read else ())
