"""What threads do, typed: one placement of a workload.

*Roles* each have a list of steps that their threads repeat as their requests, and there is what they work on:
processes with a layout of slots, named cache lines, locks and channels.

    program with `stack`     main thread: program, setup | maps stacks, creates threads | start flag
                             thread i:            prepare .................... | request 0 | request 1 | ...
    without                  thread 0: program, setup
                             thread i:          | prepare | request 0 | request 1 | ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from sim.errors import RuleError
from sim.mm import FIRST_TOUCH, MemoryPolicy
from sim.quantities import Size, Spec
from sim.sync import READER_WRITER
from sim.workload.allocator_spec import AllocatorSpec
from sim.workload.buffer_spec import BufferSpec
from sim.workload.lock_spec import LockSpec
from sim.workload.opened import check_opened
from sim.workload.pinning import Pinning
from sim.workload.step_spec import Step, placed_steps
from sim.workload.things_spec import (
    ChannelSpec,
    FileSpec,
    Layout,
    LineSpec,
    MeasuredRequests,
    ObjectSpec,
    RegionsSpec,
    Stack,
)
from sim.workload.window import Reported, Window

Who = Literal["alone", "first", "others", "even", "odd", "all"]
"""Threads of a role: the only thread of a run, thread 0, all but thread 0, every second one, all."""


class Role(Spec):
    """What some of the threads do. A thread takes the first role that fits it.

    A role that is not *measured* (one that only makes load) counts neither operations nor time.
    """

    who: Who | None = None
    """Which threads: `alone` in the run, the `first`, the `others`, `even` or `odd` ones, or `all`."""
    count: PositiveInt | None = None
    """So many threads, of those that no earlier role has taken. Either this, `who` or `last`."""
    last: PositiveInt | None = None
    """The last so many threads of all."""
    process: NonNegativeInt | Literal["own"] = 0
    """In which process they run, by its number, or each in one of its `own`."""
    pinning: tuple[NonNegativeInt, ...] | None = None
    """On which cpus they run, one after the other. Absent: those that the workload's pinning has left."""
    prepare: tuple[Step, ...] = ()
    """What each of them does once before all of them start; in each process, if they go round these."""
    past: tuple[Step, ...] = ()
    """With a window in which threads begin in the middle of their round (`staggered`, `pilot`): what each
    then does once, after `prepare`, to make up for the requests before it. At `earlier slots` it finds
    theirs."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """What they repeat: one request."""
    refill: tuple[Step, ...] = ()
    """With a window: what a thread does after its last slot, before it begins at its first one again."""
    measured: bool = True
    """False: they make load, and neither operations nor time of theirs count."""

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if sum(value is not None for value in (self.who, self.count, self.last)) != 1:
            raise ValueError("give one of `who`, `count` and `last`")
        return self

    @field_validator("pinning")
    @classmethod
    def _each_cpu_once(cls, pinning: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if pinning is not None and (not pinning or len(set(pinning)) < len(pinning)):
            raise ValueError("lists cpu numbers, each once")
        return pinning

    def fits(self, thread: int, threads: int, taken: int) -> bool:
        """Whether *thread*, of so many *threads*, may take the role, which *taken* earlier ones have."""
        if self.count is not None:
            return taken < self.count
        if self.last is not None:
            return thread >= threads - self.last
        match self.who:
            case "all":
                return True
            case "alone":
                return threads == 1
            case "first":
                return thread == 0
            case "others":
                return thread > 0
            case "even":
                return thread % 2 == 0
        return thread % 2 == 1


_NOT_IN_A_PILOT = frozenset(
    {
        *("barrier", "turn", "keep_pace", "meet", "send", "receive", "lock", "read_lock", "seq_read"),
        *("timed", "serve", "fork", "wait"),
    }
)
"""Steps that count on other threads, or on the run's record."""


class Part(NamedTuple):
    """A role and the keys at which its lists of steps stand in the file."""

    role: Role
    key: str
    """Of the role."""
    steps: str
    prepare: str
    past: str
    refill: str

    def lists(self) -> Iterator[tuple[str, tuple[Step, ...]]]:
        """Its lists of steps, each with its key, in the order in which a thread does them."""
        yield self.prepare, self.role.prepare
        yield self.past, self.role.past
        yield self.steps, self.role.steps
        yield self.refill, self.role.refill


class WorkloadPlan(Spec):
    """A workload in one placement: what the threads really do.

    Without *window* each thread does *requests* requests and ends. With it each goes on until the window is
    over: after its last slot it does the *refill* steps, which make the slots what they were, and begins
    at its first slot again. Refilling takes its time but is no operation.
    """

    requests: PositiveInt | None = None
    """How many requests a thread does; with a window, before it refills and begins again."""
    measured: MeasuredRequests | None = None
    """Each thread does `requests` requests; the latency of these is measured. Absent: of all."""
    window: Window | None = None
    """Each thread repeats its requests until the window is over."""
    pooled_threads: PositiveInt | None = None
    """Runs of a point are repeated, with other random draws, until so many threads have been measured."""
    stack: Stack | None = None
    """The stack of each thread, if they belong to a program whose main thread creates them."""
    processes: PositiveInt = 1
    """How many processes there are, those that threads have for their own aside."""
    layout: Layout | None = None
    """Where the slots are."""
    lines: dict[str, LineSpec] = Field(default_factory=dict)
    """Name -> a cache line that steps work on."""
    locks: dict[str, LockSpec] = Field(default_factory=dict)
    """Name -> a lock that steps take."""
    channels: dict[str, ChannelSpec] = Field(default_factory=dict)
    """Name -> a channel that steps send into and receive from."""
    files: dict[str, FileSpec] = Field(default_factory=dict)
    """Name -> a file that steps map, fill and cut off."""
    objects: dict[str, ObjectSpec] = Field(default_factory=dict)
    """Name -> memory that is an object, which steps map."""
    regions: RegionsSpec | None = None
    """What is in the index that `find_region` and `write_region` steps work on."""
    allocator: AllocatorSpec | None = None
    """What `malloc` and `mfree` steps ask, one for each process."""
    buffer: BufferSpec | None = None
    """A buffer manager whose pages `look_up` steps go through. Each process has one."""
    program: tuple[Step, ...] = ()
    """What the program has mapped when it begins, which each process is an instance of: done before
    `setup`."""
    forked: bool = False
    """The program runs once, and each process is forked from it, on the cpu of the thread that sets it up.
    Where the kernel cannot fork each process does `program` itself."""
    setup: tuple[Step, ...] = ()
    """What the first thread of each process does before the others start."""
    thread: tuple[Step, ...] | None = Field(default=None, min_length=1)
    """What each thread does in one request. Either this or `roles`."""
    refill: tuple[Step, ...] = ()
    """With a window: what a thread does after its last slot, before it begins at its first one again."""
    roles: tuple[Role, ...] | None = Field(default=None, min_length=1)
    """What which threads do. A thread takes the first role that fits it."""
    throughput: Reported = "over-time"
    """How the benchmark that this workload replays computes its throughput."""
    threads_per_task: PositiveInt = 1
    """What the benchmark calls a task is so many threads here: a run has whole tasks."""
    threads_beside: NonNegativeInt = 0
    """So many threads of a run belong to no task."""
    pinning: Pinning = "cores-first"
    """On which cpus the threads run."""
    cpus: PositiveInt | Literal["all"] | None = None
    """Threads share so many cpus, or `all` of the machine, in turn: thread i runs on cpu i modulo their
    number, and a run queue decides who runs when. Absent: each thread has a cpu of its own."""
    memory: MemoryPolicy = FIRST_TOUCH
    """From which node pages come."""
    memory_size: Size | None = Field(default=None, gt=0)
    """The kernel has so much memory, evenly from all sockets, as if told at boot. Absent: the machine's."""
    part_latencies: bool | Literal["all"] = False
    """Whether results have the mean latency of each kind of operation, of page faults and of shootdowns;
    `all`: of threads that are not measured, too."""

    def __hash__(self) -> int:
        return hash(
            (self.requests, self.window, self.layout, self.program, self.setup, self.thread, self.roles)
        )

    @cached_property
    def parts(self) -> list[Part]:
        """The roles; a workload without any has one, of all threads."""
        if self.roles is None:
            assert self.thread is not None
            role = Role(who="all", steps=self.thread, refill=self.refill)
            return [Part(role, "thread", "thread", "prepare", "past", "refill")]
        keys = [f"roles[{number}]" for number in range(len(self.roles))]
        return [
            Part(role, key, f"{key}.steps", f"{key}.prepare", f"{key}.past", f"{key}.refill")
            for key, role in zip(keys, self.roles, strict=True)
        ]

    @property
    def round(self) -> int:
        """How many requests a thread does before it refills, or in all where there is no window."""
        return self.requests or (self.layout and self.layout.slots) or 1

    def runs(self, threads: int) -> int:
        """How often a point with so many *threads* is run, until `pooled_threads` have been measured."""
        return -(-(self.pooled_threads or 1) // threads)

    def amount(self, threads: int) -> int:
        """The requests of all *threads* in all runs, roughly: a microsecond of a window is taken for one."""
        window, round_ = self.window, self.round
        once = threads * round_ if window is None else window.amount(threads, round_)
        return self.runs(threads) * once

    @property
    def slots(self) -> int:
        """How many slots each thread has."""
        return (self.layout and self.layout.slots) or self.round

    @property
    def visits(self) -> bool:
        """Whether threads go round all processes (`switch_mm`)."""
        return any(step.switch_mm for _, step in self.all_steps())

    @property
    def numbered(self) -> int:
        """How many processes have a number that roles name: none where each thread has one of its own."""
        own = all(part.role.process == "own" for part in self.parts) and not self.visits
        return 0 if own else self.processes

    @property
    def has_processes(self) -> bool:
        """Whether anything needs an address space: lines, locks and blocks of pages do not."""
        if (
            self.stack is not None
            or self.layout is not None
            or self.processes > 1
            or self.files
            or self.objects
        ):
            return True
        if self.allocator is not None or self.buffer is not None:
            return True
        return any(
            step.placed is not None or step.switch_mm or step.fork is not None or step.calls
            for _, step in self.all_steps()
        )

    @property
    def forks(self) -> bool:
        """Whether any step forks."""
        return any(step.fork is not None for _, step in self.all_steps())

    @property
    def forks_beside(self) -> bool:
        """Whether threads have children that run beside them."""
        return any(step.fork is not None and not step.fork.wait for _, step in self.all_steps())

    def all_steps(self) -> Iterator[tuple[str, Step]]:
        """All steps with the keys at which they stand, each before those inside it."""
        yield from placed_steps(self.program, "program")
        yield from placed_steps(self.setup, "setup")
        for part in self.parts:
            for key, steps in part.lists():
                yield from placed_steps(steps, key)

    @model_validator(mode="after")
    def _says_what_threads_do(self) -> Self:
        if (self.thread is None) == (self.roles is None):
            raise ValueError("give either `thread` or `roles`")
        if self.refill and self.thread is None:
            raise RuleError("a role has a `refill` of its own", {"refill": "under the role"})
        return self

    @model_validator(mode="after")
    def _ends_in_one_way(self) -> Self:
        if self.measured is not None and self.window is not None:
            raise ValueError("give either `measured` or `window`")
        if self.requests is None and self.window is None:
            raise ValueError("give `requests` or `window`")
        for part in self.parts:
            if part.role.refill and self.window is None:
                raise RuleError("`refill` belongs to `window`", {part.refill: "nothing without a window"})
        return self

    @model_validator(mode="after")
    def _populates_before_anything_is_measured(self) -> Self:
        for part in self.parts:
            for key, steps in ((part.steps, part.role.steps), (part.refill, part.role.refill)):
                for place, step in placed_steps(steps, key):
                    if step.mmap is not None and step.mmap.populated:
                        where = f"{place}.mmap.populated"
                        raise RuleError(
                            "`populated` belongs to a set-up", {where: "`populate`, which takes its time"}
                        )
                    if step.populate is not None:
                        message = "`populate` belongs to what is done before anything is measured"
                        raise RuleError(message, {place: "`touch`, which takes its time"})
        return self

    @model_validator(mode="after")
    def _begins_in_the_middle(self) -> Self:
        window, middle = self.window, "a window that is `staggered` or has a `pilot`"
        begins = window is not None and (window.staggered or window.pilot is not None)
        for part in self.parts:
            if part.role.past and not begins:
                raise RuleError("`past` belongs to a run that begins in the middle", {part.past: middle})
        for key, step in self.all_steps():
            if step.placed is not None and step.placed.at == "earlier slots" and ".past" not in key:
                raise RuleError(
                    "`earlier slots` are those of requests before the first", {key: "a step of `past`"}
                )
        if window is None or window.pilot is None:
            return self
        if window.pilot.requests > self.round:
            allowed = {"window.pilot.requests": f"at most {self.round}"}
            raise RuleError("a round of the pilot has no more requests than a round", allowed)
        if self.cpus is not None or self.visits:
            message = "a `pilot` is for threads that each have a cpu and a process"
            raise RuleError(message, {"window.pilot": "no `cpus` and no `switch_mm`"})
        for part in self.parts:
            for key, steps in part.lists():
                for place, step in placed_steps(steps, key):
                    if step.kind in _NOT_IN_A_PILOT:
                        message = f"`{step.kind}` may wait for a thread whose pilot is over"
                        raise RuleError(message, {place: "no such step, or no `window.pilot`"})
        return self

    @model_validator(mode="after")
    def _measured_requests_exist(self) -> Self:
        measured = self.measured
        if measured and not measured.first <= measured.last < self.round:
            raise RuleError(
                f"measured requests must lie within 0..{self.round - 1}, first not after last",
                {
                    "measured.last": f"at most {self.round - 1}, at least measured.first",
                    "requests": f"more than {max(measured.first, measured.last)}",
                },
            )
        return self

    @model_validator(mode="after")
    def _places_exist_when_they_are_used(self) -> Self:
        in_layout = {"slot", "every slot", "own slots", "earlier slots", "layout"}
        mapped = {"mapped", "all mapped"}
        always = {"anywhere", "break", "image", "stack"}
        self._places_after("program", self.program, always)
        always |= in_layout if self.layout is not None and self.layout.base is not None else set()
        known = self._places_after("setup", self.setup, always) - mapped - {"mark"}
        for part in self.parts:
            here = known
            for key, steps in part.lists():
                here = self._places_after(key, steps, here)
        return self

    def _places_after(self, key: str, steps: tuple[Step, ...], known: set[str]) -> set[str]:
        """The places that exist after *steps*. Raises `RuleError` for one that does not when it is used."""
        known = set(known)
        in_layout = {"slot", "every slot", "own slots", "earlier slots", "layout"}
        mapped = {"mapped", "all mapped"}
        for where, step in placed_steps(steps, key):
            action = step.placed
            if action is None:
                continue
            if key == "program" and action.at in in_layout:
                message = f"a program knows no slots, and a step of it works at `{action.at}`"
                raise RuleError(message, {where: "another place, or a step of `setup`"})
            sized = action.size is not None or action.at == "mapped"
            if self.layout is None and step.exmap is not None and step.exmap.interfaces == "threads":
                message = "an exmap has interfaces for `threads` with slots, and there is no `layout`"
                raise RuleError(message, {f"{where}.exmap.interfaces": "a number, or a `layout`"})
            if self.layout is None and (action.at in in_layout or (step.mmap and not sized)):
                what = f"works at `{action.at}`" if action.at in in_layout else "maps memory of no `size`"
                raise RuleError(f"a step {what} without a `layout`", {where: "a `layout` in the workload"})
            if step.exmap is not None or (step.mmap is not None and action.at != "mapped"):
                known |= in_layout if action.at == "layout" else set()
                known |= mapped
            if action.at not in known:
                missing = {
                    "mapped": "an mmap step",
                    "all mapped": "an mmap step",
                    "mark": "a brk step with `mark: true`",
                }.get(action.at, "layout.base or an mmap step at `layout`")
                message = f"a step works at `{action.at}` without {missing} before it"
                raise RuleError(message, {where: f"{missing} before it"})
            if step.mremap is not None:
                known |= mapped
                if step.mremap.to is not None and self.layout is None:
                    raise RuleError("a step moves to a slot without a `layout`", {where: "a `layout`"})
            if step.brk is not None and step.brk.mark:
                known.add("mark")
        return known

    @model_validator(mode="after")
    def _one_thing_a_name(self) -> Self:
        for name in self.objects:
            if name in self.files:
                message = f"{name!r} is a file and an object"
                raise RuleError(message, {f"objects.{name}": "another name"})
        return self

    @model_validator(mode="after")
    def _objects_exist(self) -> Self:
        """Each line, lock, channel and file that a step names is there and can do what the step asks."""
        for key, step in self.all_steps():
            cas = step.cas_add.line if step.cas_add else None
            line = step.load or step.store or step.add or step.turn or cas or step.keep_pace or step.meet
            read = step.read_lock or step.read_unlock
            seq_read = step.seq_read.lock if step.seq_read else None
            lock, channel = step.lock or step.unlock or read or seq_read, step.send or step.receive
            on_file = step.mmap or step.fallocate or step.ftruncate
            tables: tuple[tuple[str, Mapping[str, Any], str | None], ...] = (
                ("lines", self.lines, line),
                ("locks", self.locks, lock),
                ("channels", self.channels, channel),
                ("files", self.files, on_file.file if on_file else None),
                ("objects", self.objects, step.mmap.object_ if step.mmap else None),
            )
            for table, known, name in tables:
                if name is not None and name not in known:
                    there = ", ".join(known) or f"nothing: there are no `{table}`"
                    raise RuleError(f"a step uses {name!r}, which is not under `{table}`", {key: there})
            if step.turn and self.lines[step.turn].each_thread:
                message = f"`turn` is for a word that all threads share, {step.turn!r} has one for each"
                raise RuleError(message, {key: "a line without `each_thread`"})
            if step.keep_pace and not self.lines[step.keep_pace].each_thread:
                message = (
                    f"`keep_pace` counts a word of each thread, {step.keep_pace!r} is one that all share"
                )
                raise RuleError(message, {key: "a line with `each_thread`"})
            if step.meet and self.lines[step.meet].each_thread:
                message = f"all threads `meet` at one word, {step.meet!r} has one for each"
                raise RuleError(message, {key: "a line without `each_thread`"})
            spins = step.keep_pace or (step.meet and not self.lines[step.meet].asleep)
            if spins and self.cpus is not None:
                message = (
                    f"who waits in `{step.kind}` spins, and threads that share cpus would keep others off"
                )
                raise RuleError(message, {key: "no `cpus`, or `barrier`"})
            if read and self.locks[read].kind not in READER_WRITER:
                message = f"only {', '.join(READER_WRITER)} can be locked for reading, {read!r} is none"
                raise RuleError(message, {key: "a lock of these kinds"})
            if seq_read and self.locks[seq_read].kind != "seqlock":
                message = f"`seq_read` is for `kind: seqlock`, {seq_read!r} is none"
                raise RuleError(message, {key: "a seqlock"})
        return self

    @model_validator(mode="after")
    def _regions_are_there(self) -> Self:
        for key, step in self.all_steps():
            if (step.find_region or step.write_region or step.allocate_region) and self.regions is None:
                message = f"a step does `{step.kind}`, and there are no `regions`"
                raise RuleError(message, {key: "`regions` in the workload"})
        return self

    @model_validator(mode="after")
    def _blocks_are_allocated(self) -> Self:
        steps = [step for _, step in self.all_steps()]
        allocated = {(step.malloc.name, step.malloc.shared) for step in steps if step.malloc}
        allocated |= {(step.realloc.name, True) for step in steps if step.realloc and step.realloc.hand_over}
        for key, step in self.all_steps():
            used = step.mfree or step.realloc
            if (step.malloc or used) and self.allocator is None:
                message = f"a step does `{step.kind}` without an `allocator`"
                raise RuleError(message, {key: "an `allocator` in the workload"})
            if (step.malloc or used) and key.startswith("program"):
                raise RuleError(f"a program does not `{step.kind}`", {key: "a step of `setup`"})
            if used and (used.name, used.shared) not in allocated:
                shared = "shared by all threads " if used.shared else ""
                message = f"nothing {shared}is allocated as {used.name!r}"
                raise RuleError(message, {key: "a `malloc` step of that name"})
        return self

    @model_validator(mode="after")
    def _buffer_is_filled(self) -> Self:
        filled = any(step.fill_buffer for _, step in placed_steps(self.setup, "setup"))
        for key, step in self.all_steps():
            if (step.look_up or step.fill_buffer) and self.buffer is None:
                message = f"a step does `{step.kind}` without a `buffer`"
                raise RuleError(message, {key: "a `buffer` in the workload"})
            if step.look_up and not filled:
                raise RuleError("nobody has filled the `buffer`", {"setup": "a step `fill_buffer: true`"})
            if step.fill_buffer and not key.startswith("setup"):
                raise RuleError("the `buffer` is filled once", {key: "a step of `setup`"})
        return self

    @model_validator(mode="after")
    def _files_are_open(self) -> Self:
        check_opened((("program", self.program), ("setup", self.setup)))
        for part in self.parts:
            check_opened(part.lists(), part.prepare)
        return self

    @model_validator(mode="after")
    def _processes_exist(self) -> Self:
        for part in self.parts:
            process = part.role.process
            if process != "own" and process >= self.processes:
                allowed = {f"{part.key}.process": f"0 to {self.processes - 1}, or own", "processes": "more"}
                raise RuleError(f"there is no process {process}", allowed)
        for key, step in self.all_steps():
            if step.switch_mm and self.processes == 1:
                allowed = {f"{key}.switch_mm": "`processes` of 2 or more"}
                raise RuleError("there is one address space", allowed)
            if step.switch_mm and self.forks_beside:
                message = "threads with children that run beside them each stay in their process"
                raise RuleError(message, {f"{key}.switch_mm": "no `fork` with `wait: false`"})
        return self
