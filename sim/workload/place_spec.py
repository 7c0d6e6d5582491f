"""Steps that work somewhere in an address space, typed: where they work, and what they ask of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal, Self

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
    HUGE_ORDER,
    READ_WRITE,
    Advice,
    Brk,
    CreateFile,
    CreateObject,
    File,
    Madvise,
    MapObject,
    Mincore,
    Mlock,
    Mmap,
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
    Rights,
    Shootdown,
    Touch,
    UffdClose,
    UffdCopy,
    UffdRead,
    UffdRegister,
    UffdWake,
    UffdZeropage,
    parse_rights,
    rights_text,
)
from sim.quantities import PAGE_BYTES, Size, Spec
from sim.workload.draws import STREAM, AnyCount, AnySize

At = Literal[
    "anywhere",
    "slot",
    "mapped",
    "layout",
    "every slot",
    "own slots",
    "earlier slots",
    "all mapped",
    "break",
    "mark",
    "image",
    "stack",
]
"""Where a step works: wherever the kernel likes; a slot; what this thread's last mmap returned; the whole
layout; each slot of all threads in turn; all slots of this thread, those side by side as one range; the same
of the slots of the requests before this one; each range that this thread's mmaps have returned since the last
`refill`; where the heap of the process ends; where this thread has seen it end and noted it; below where the
heap of a program begins, where its image lies; below the end of user memory, where its stack lies."""

HUGE_BYTES: Final = PAGE_BYTES << HUGE_ORDER

Prot = Annotated[
    Rights,
    BeforeValidator(parse_rights),
    PlainSerializer(rights_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^(none|[rwx]{1,3})$", "examples": ["rw"]}),
]
"""Rights, written `rw`."""


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
    back: NonNegativeInt = 0
    """At `mapped`: what the mmap returned that was so many before the last one."""
    skip: Size = 0
    """At `mapped`: so many bytes of it are left out at its beginning. At `image` and `stack`: it ends so far
    below that place."""
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
        if self.size is not None and self.at in ("own slots", "earlier slots", "all mapped"):
            raise ValueError(f"`size` does not go with `{self.at}`, which has ranges of several sizes")
        if self.at != "slot" and (self.of, self.which) != ("own", "this"):
            raise ValueError("`of` and `which` choose a slot: they go with `at: slot`")
        if self.back and self.at != "mapped":
            raise ValueError("`back` chooses an earlier mmap: it goes with `at: mapped`")
        if self.skip and self.at not in ("mapped", "image", "stack"):
            raise ValueError("`skip` goes with `mapped`, `image` and `stack`")
        if self.skip % PAGE_BYTES:
            raise ValueError("`skip` must be a whole number of pages")
        return self


class MmapStep(PlacedStep):
    """mmap memory, private and anonymous unless it says otherwise; MAP_FIXED anywhere but `anywhere`.

    *size* defaults to the place's own.
    """

    asks = Mmap

    at: Literal["anywhere", "slot", "layout", "own slots", "mapped", "image", "stack"]
    """`anywhere` the kernel likes, at a `slot`, all of the thread's `own slots`, the whole `layout`, over a
    part of what an mmap has returned (`mapped`, which stays what it was), or where the `image` or the `stack`
    of a program lies."""
    prot: Prot = READ_WRITE
    """What may be done with it: `none`, or letters of `rwx`."""
    replace: bool = True
    """Whether what is mapped there already is replaced; else the kernel refuses (MAP_FIXED_NOREPLACE)."""
    populate: bool = False
    """Whether all pages are faulted in before the call returns (MAP_POPULATE)."""
    reserve: bool = True
    """Whether the kernel accounts for the memory that it may come to need; else MAP_NORESERVE."""
    populated: bool = False
    """Whether all pages have been written before anything is measured. Belongs to a set-up: how long that
    takes is not the question, so it is done in bulk."""
    folio: Size | None = None
    """With `populated`: the pages belong to folios of this size, up to 2 MiB, each of which is mapped page by
    page. Absent: to folios of one page."""
    file: str | None = None
    """Which of the workload's `files` is mapped. Absent: anonymous memory."""
    offset: Size = 0
    """With `file`: where in it the mapping begins."""
    object_: str | None = Field(default=None, alias="object")
    """Which of the workload's `objects` is mapped, from its beginning on: a morsel, shared memory, or
    whatever the design has. Absent: none."""
    huge: Size | None = None
    """`2 MiB`: in huge pages of that size, from the kernel's pool of them (MAP_HUGETLB). A mapping has whole
    ones. Absent: in what pages the kernel likes."""
    shared: bool = False
    """Whether a write is one to the file, or to the memory that processes share (MAP_SHARED); else to a
    copy."""

    @property
    def operations(self) -> set[type[Operation]]:
        needed: set[type[Operation]] = set()
        if self.populated:
            needed = {Prepopulate if self.folio is None else PrepopulateFolios}
        if self.at not in ("anywhere", "layout"):  # MAP_FIXED unmaps what is there
            needed |= {Munmap}
        if self.object_ is not None:
            return {MapObject, CreateObject} | needed
        if self.file is not None:
            return {MmapFile, CreateFile} | needed
        if self.huge is not None:
            return {MmapHuge} | needed
        return {MmapShared if self.shared else Mmap} | needed

    def operation(
        self, pages: int, at: int | None, file: File | None = None
    ) -> Mmap | MmapShared | MmapFile | MmapHuge | MapObject:
        """The step as an operation on *pages* pages from *at* on, or anywhere; of *file*, perhaps an object,
        if it has one."""
        if self.object_ is not None:
            assert file is not None
            return MapObject(file, pages, at, self.prot)
        if self.huge is not None:
            whole = -(-pages * PAGE_BYTES // self.huge) * self.huge // PAGE_BYTES
            return MmapHuge(whole, at, self.prot, self.replace, self.populate)
        if file is not None:
            first = self.offset // PAGE_BYTES
            how = (at, self.prot, self.replace, self.populate, self.reserve)
            return MmapFile(file, pages, first, self.shared, *how)
        kind = MmapShared if self.shared else Mmap
        return kind(pages, at, self.prot, self.replace, self.populate, self.reserve)

    @model_validator(mode="after")
    def _huge_pages_are_private_memory(self) -> Self:
        if self.huge is not None and self.huge != HUGE_BYTES:
            raise ValueError("`huge` must be 2 MiB: no other huge pages are modelled")
        if self.huge is not None and (self.file is not None or self.shared):
            raise ValueError("`huge` does not go with `file` or `shared`: such pages are private memory here")
        return self

    @model_validator(mode="after")
    def _objects_are_shared(self) -> Self:
        if self.object_ is None:
            return self
        others = (self.file is not None, self.huge is not None, self.shared, self.populate, self.offset > 0)
        if any(others) or not self.replace or not self.reserve:
            raise ValueError(
                "`object` goes with `at`, `size`, `prot` and `populated` alone: how it is mapped beside that "
                "is the design's choice"
            )
        if self.at not in ("anywhere", "layout"):
            raise ValueError("`object` goes with `at: anywhere` and `at: layout`: it may have to be aligned")
        return self

    @model_validator(mode="after")
    def _folios_are_blocks(self) -> Self:
        if self.folio is None:
            return self
        pages, rest = divmod(self.folio, PAGE_BYTES)
        if rest or not 1 < pages <= HUGE_BYTES // PAGE_BYTES or pages & (pages - 1):
            raise ValueError("`folio` must be 8 KiB, 16 KiB and so on up to 2 MiB")
        if not self.populated or self.huge is not None or self.file is not None or self.shared:
            raise ValueError("`folio` belongs to `populated: true`, of private anonymous memory")
        return self

    @model_validator(mode="after")
    def _offset_is_in_a_file(self) -> Self:
        if self.offset % PAGE_BYTES:
            raise ValueError("`offset` must be a whole number of pages")
        if self.offset and self.file is None:
            raise ValueError("`offset` belongs to `file`")
        return self


class RangeStep(PlacedStep):
    """A step over a range of existing memory. *size* defaults to the place's own."""

    at: Literal["slot", "mapped", "layout", "every slot", "own slots", "earlier slots", "all mapped"]
    """A `slot`; what this thread's last mmap returned (`mapped`); the whole `layout`; `every slot` of all
    threads in turn; all of this thread's `own slots`; those of requests before this one (`earlier slots`, in
    `past`); `all mapped` ranges since the refill."""
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


class PopulateStep(RangeStep):
    """All pages of a range have been written, before anything is measured: in bulk."""

    asks = Prepopulate

    def operation(self, place: range) -> Prepopulate:
        return Prepopulate(place.start, len(place))


class TouchStep(RangeStep):
    """Access each page of a range once, or those that are drawn."""

    asks = Touch

    write: bool = True
    """Whether pages are written; else they are read."""
    order: Literal["in-turn", "random", "drawn"] = "in-turn"
    """Whether pages are accessed one after the other; at random, each once; or as they are `drawn` at random,
    as often as there are pages, each when it is drawn first: so about 63 % of many pages are accessed."""
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
    taken away until they are written again (`free`), swap them out before others (`cold`) or at once
    (`pageout`), bring them in (`populate_read`, `populate_write`), or
    whether they may be huge (`hugepage`, `nohugepage`)."""

    def operation(self, place: range) -> Madvise:
        return Madvise(place.start, len(place), self.advice)


class UserfaultStep(RangeStep):
    """userfaultfd: pages of the range that are missing are brought in by threads that `serve`."""

    asks = UffdRegister

    def operation(self, place: range) -> UffdRegister:
        return UffdRegister(place.start, len(place))


class ServeStep(RangeStep):
    """Wait until a thread of the process misses a page (`userfault`), and bring that in.

    The range, its first page, is what it gets a copy of. A thread with such a step repeats its steps until
    all threads of the process without one have ended.
    """

    asks = UffdRead

    with_: Literal["copy", "zeros"] = Field(default="copy", alias="with")
    """A `copy` of the range's first page (UFFDIO_COPY), or `zeros` (UFFDIO_ZEROPAGE)."""

    @property
    def operations(self) -> set[type[Operation]]:
        answer = UffdCopy if self.with_ == "copy" else UffdZeropage
        return {UffdRead, answer, UffdWake, UffdClose}

    def answer(self, page: int, place: range) -> UffdCopy | UffdZeropage:
        """What brings *page* in."""
        return UffdCopy(page, place.start) if self.with_ == "copy" else UffdZeropage(page)


class ProcessMadviseStep(RangeStep):
    """process_madvise: the same of several ranges in one call; with `every`, each page is a range."""

    asks = ProcessMadvise

    advice: Advice = "dontneed"
    """Which advice, as in madvise."""

    def operation_on(self, places: Sequence[range]) -> ProcessMadvise:
        """The step as an operation on all of *places*."""
        return ProcessMadvise(tuple(places), self.advice)


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
