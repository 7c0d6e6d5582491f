"""What steps work on, typed: slots, cache lines, calls, pipes, channels, files, objects, regions, stacks."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from sim.errors import RuleError
from sim.mm import MAX_MORSEL, morsel_pages
from sim.quantities import PAGE_BYTES, Cost, CycleCost, Size, Spec, format_size


class Layout(Spec):
    """Where the slots are.

    Thread i owns a window of *stride* bytes from i x stride on; its slot j has *request* bytes at j x request
    in it. There is a slot for each request; with fewer *slots* requests go round them. `order: own` gives
    each thread its own window. `order: shuffled` deals all slots out at random, each once; then *leaves* is
    over how many windows they are spread (absent: one for each thread). *base* is where the layout begins;
    absent, the set-up maps it, *reserve* times as large as the windows. Each process has a layout for the
    threads that run in it.
    """

    request: Size
    """Bytes of one request's slot."""
    stride: Size
    """Bytes from one thread's window to the next."""
    slots: PositiveInt | None = None
    """How many slots each thread has: request j works at slot j modulo this. Absent: one for each request."""
    order: Literal["own", "shuffled"] = "own"
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


class LineSpec(Spec):
    """A word on a cache line in the memory of socket *home*.

    With *each_thread* it is an array with a word for each thread, so many bytes from one to the next: below
    64 several threads' words share a line.
    """

    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    each_thread: Size | None = Field(default=None, gt=0)
    """Bytes from one thread's word to the next. Absent: one word that all share."""
    asleep: bool = False
    """Threads that `meet` there sleep until all have come, as at a pthread barrier. Else they spin."""


PIPE_BUFFERS: Final = 16
"""Buffers of a pipe (PIPE_DEF_BUFFERS)."""


class CallsSpec(Spec):
    """What the system calls on a socket or pipe cost, without what moves between cpus."""

    write: Cost = CycleCost(0, 0)
    """Code of one write of a message, its system call aside."""
    read: Cost = CycleCost(0, 0)
    """Code of one read of a message, its system call aside."""


class PipeSpec(CallsSpec):
    """The same of a pipe."""

    system_calls: bool = True
    """False: neither the system calls nor that code are paid, for benchmarks that subtract them."""


class ChannelSpec(Spec):
    """A counter of tokens on a cache line, as a semaphore has it: threads that find none go to sleep. Or a
    pipe of the kernel, whose tokens are messages."""

    home: NonNegativeInt = 0
    """Socket in whose memory it lies."""
    tokens: NonNegativeInt = 0
    """How many are in it at first."""
    capacity: PositiveInt | None = None
    """How many it holds: who sends into a full one waits. Absent: any number."""
    shared_by: PositiveInt | None = None
    """So many threads, one after the other in number, share a channel of their own: with 2, threads 0 and 1
    have one, 2 and 3 another. Absent: all threads share one."""

    pipe: PipeSpec | None = None
    """The channel is a pipe, whose `capacity` is 16 messages where none is given."""
    socket: CallsSpec | None = None
    """The channel is a stream socket of the same machine (AF_UNIX). Absent, and no pipe: a semaphore."""

    @model_validator(mode="before")
    @classmethod
    def _pipes_have_buffers(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("pipe") is not None:
            return {"capacity": PIPE_BUFFERS} | data
        return data

    def group(self, thread: int) -> int:
        """The number of the channel that *thread* has under this name."""
        return 0 if self.shared_by is None else thread // self.shared_by

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.capacity is not None and self.tokens > self.capacity:
            raise ValueError("`tokens` must fit into `capacity`")
        if self.socket is not None and (self.pipe is not None or self.capacity is not None):
            raise ValueError("a `socket` is no `pipe` and has no `capacity`")
        return self


class FileSpec(Spec):
    """A file in memory (tmpfs), made before the set-up."""

    size: Size
    """How long it is."""
    each: Literal["run", "process", "thread"] = "run"
    """Who has one: the whole `run`, each `process`, or each `thread`, which then makes it."""
    resident: bool = False
    """Whether all its pages are in memory from the beginning, which takes no time. Else they are made when
    they are first touched."""

    @field_validator("size")
    @classmethod
    def _whole_pages(cls, size: int) -> int:
        if size % PAGE_BYTES:
            raise ValueError("must be a whole number of pages of 4 KiB")
        return size


class ObjectSpec(Spec):
    """Memory as an object, made before the set-up: a morsel, shared memory, or whatever the design has."""

    size: Size = Field(gt=0)
    """How long it is; it may be made larger."""
    each: Literal["run", "process", "thread"] = "run"
    """Who has it: the whole `run`, each `process`, or each `thread`, which then makes it."""
    count: PositiveInt = 1
    """How many there are of this name: request j means the one of number j modulo this."""

    @field_validator("size")
    @classmethod
    def _whole_pages(cls, size: int) -> int:
        if size % PAGE_BYTES or size > PAGE_BYTES * morsel_pages(MAX_MORSEL):
            raise ValueError("must be a whole number of pages of 4 KiB, up to 256 TiB")
        return size


class RegionsSpec(Spec):
    """Regions of an index bench: so many of one length, at random places from *base* on."""

    count: PositiveInt
    """How many there are from the beginning."""
    size: Size
    """How long each is, those included that threads insert."""
    space: Size
    """How much of the address space they are spread over."""
    base: Size = 0
    """Where that begins."""

    @property
    def cells(self) -> int:
        """How many fit, each with as much room around it as three of its kind take."""
        return self.space // (4 * self.size)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("size", "base"):
            if getattr(self, name) % PAGE_BYTES:
                raise ValueError(f"{name} must be a whole number of pages of 4 KiB")
        if not self.size:
            raise ValueError("a region has a page at least")
        if self.cells < 2 * self.count:
            message = f"{self.count} regions and as many again, with room between, do not fit"
            raise RuleError(message, {"space": format_size(8 * self.count * self.size) + " or more"})
        return self


class MeasuredRequests(Spec):
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
