"""What can be asked of memory: each operation is one frozen record.

A step of a workload becomes one of these and a design performs it; a design offers exactly the operations
that it has a handler for (`AddressSpace.operations`, `Kernel.operations`). Addresses and lengths are in pages
of 4 KiB. The value of an operation that the kernel refuses is an `Errno`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from sim.mm.entries import READ_WRITE, Rights

if TYPE_CHECKING:
    from sim.hardware import Cpu
    from sim.mm.address_space import AddressSpace
    from sim.mm.file import File


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. *name* is what files, tables and messages call it."""

    name: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Mmap(Operation):
    """mmap(2) of private anonymous memory with *rights*, at page *at* (MAP_FIXED) or anywhere.

    What is mapped there is replaced, or, without *replace* (MAP_FIXED_NOREPLACE), the call is refused
    (`EEXIST`). *populate* (MAP_POPULATE): all pages are faulted in before the call returns. Without *reserve*
    (MAP_NORESERVE) the kernel does not account for what it may come to need. Value: the first page.
    """

    name = "mmap"
    pages: int
    at: int | None = None
    rights: Rights = READ_WRITE
    replace: bool = True
    populate: bool = False
    reserve: bool = True


@dataclass(frozen=True, slots=True)
class MmapShared(Operation):
    """The same of anonymous memory that processes share (MAP_SHARED | MAP_ANONYMOUS)."""

    name = "mmap of shared memory"
    pages: int
    at: int | None = None
    rights: Rights = READ_WRITE
    replace: bool = True
    populate: bool = False
    reserve: bool = True


@dataclass(frozen=True, slots=True)
class MmapHuge(Operation):
    """mmap(2) of private memory in huge pages that were set aside for it (MAP_HUGETLB), of 2 MiB.

    *pages* count as those of 4 KiB and are rounded up; *at* is a multiple of 512 (else `EINVAL`). The call is
    refused where there are too few huge pages that nobody has or may still ask for (`ENOMEM`).
    """

    name = "mmap of huge pages"
    pages: int
    at: int | None = None
    rights: Rights = READ_WRITE
    replace: bool = True
    populate: bool = False


@dataclass(frozen=True, slots=True)
class MmapFile(Operation):
    """The same of *pages* pages of *file* from page *offset* on, *shared* (MAP_SHARED) or as a private copy.

    Pages beyond the end of the file may be mapped; touching one is a signal (SIGBUS).
    """

    name = "mmap of a file"
    file: File
    pages: int
    offset: int = 0
    shared: bool = False
    at: int | None = None
    rights: Rights = READ_WRITE
    replace: bool = True
    populate: bool = False
    reserve: bool = True


@dataclass(frozen=True, slots=True)
class Prepopulate(Operation):
    """The *pages* pages from *at* on have been written before anything is measured.

    The end state is that of `populate_write`, as far as the kernel promises one; how long that takes is
    nobody's concern. Whole tables of private memory are filled in bulk: a few events for 512 pages. The value
    is an `Errno` as there.
    """

    name = "prepopulate"
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class PrepopulateFolios(Operation):
    """The same of private anonymous memory, in folios of *folio* pages each (a power of two, up to 512).

    They are mapped page by page. `EINVAL` where the range is no whole number of them, or they do not begin at
    a multiple of their size.
    """

    name = "prepopulate in folios"
    at: int
    pages: int
    folio: int


@dataclass(frozen=True, slots=True)
class Munmap(Operation):
    """munmap(2) of *pages* pages from *at* on."""

    name = "munmap"
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class Mprotect(Operation):
    """mprotect(2): *pages* pages from *at* on have *rights* from now on.

    Where the range has a hole the call ends there (`ENOMEM`), and what lies before it is changed.
    """

    name = "mprotect"
    at: int
    pages: int
    rights: Rights


Advice: TypeAlias = Literal[
    "dontneed",
    "dontneed_locked",
    "free",
    "cold",
    "pageout",
    "populate_read",
    "populate_write",
    "hugepage",
    "nohugepage",
]
"""MADV_DONTNEED and so on."""


@dataclass(frozen=True, slots=True)
class Madvise(Operation):
    """madvise(2). The range stays mapped.

    `dontneed` gives its pages back; locked memory ends the call (`EINVAL`), but not with `dontneed_locked`.
    `free` lets them be taken away as long as nobody writes to them. `cold` lets them be swapped out before
    others, `pageout` does so at once; locked memory ends both (`EINVAL`). `populate_read` and
    `populate_write` bring them in. `hugepage` and `nohugepage` say what they may be. Where the range has a
    hole the rest is done all the same, and the value is `ENOMEM`; to populate ends there.
    """

    name = "madvise"
    at: int
    pages: int
    advice: Advice = "dontneed"


@dataclass(frozen=True, slots=True)
class ProcessMadvise(Operation):
    """process_madvise(2) on the caller's own process: each of *parts* in turn, up to the first that is
    refused. Value: how many pages lie before that one; where there are none it is the refusal."""

    name = "process_madvise"
    parts: Sequence[range]
    advice: Advice = "dontneed"

    @property
    def at(self) -> int:
        """The first page of all."""
        return min((part.start for part in self.parts), default=0)

    @property
    def pages(self) -> int:
        """From there to the end of the last one."""
        return max((part.stop for part in self.parts), default=0) - self.at


@dataclass(frozen=True, slots=True)
class Mremap(Operation):
    """mremap(2): the *pages* pages from *at* on, a part of one mapping, become *new_pages*.

    They stay where they are if there is room. Else they move if they *may_move* (MREMAP_MAYMOVE), with all
    that is in them; with *to* they move there, whatever is mapped there (MREMAP_FIXED). With *keep* they move
    in any case, are as many as before, and where they were stays mapped, without its pages
    (MREMAP_DONTUNMAP). Value: the first page.
    """

    name = "mremap"
    at: int
    pages: int
    new_pages: int
    may_move: bool = True
    to: int | None = None
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Brk(Operation):
    """brk(2): the heap ends before page *at* from now on. All threads of a process have one heap.

    Value: the break after the call, which is the old one where the kernel refuses, as it does for page 0.
    """

    name = "brk"
    at: int


@dataclass(frozen=True, slots=True)
class Mlock(Operation):
    """mlock2(2): the *pages* pages from *at* on are brought in and stay in memory.

    *on_fault* (MLOCK_ONFAULT): they are not brought in, and stay once they are. Where the range has a hole
    the call ends there (`ENOMEM`), and what lies before it is locked.
    """

    name = "mlock"
    at: int
    pages: int
    on_fault: bool = False


@dataclass(frozen=True, slots=True)
class Munlock(Operation):
    """munlock(2): they need not stay any more."""

    name = "munlock"
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class Mincore(Operation):
    """mincore(2). Value: for each of the *pages* pages from *at* on whether it is there.

    Where the range has a hole it is `ENOMEM`.
    """

    name = "mincore"
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class Msync(Operation):
    """msync(2): what has been written to the range is written to its files.

    *wait* (MS_SYNC, else MS_ASYNC): the call returns when that is done. *invalidate* (MS_INVALIDATE): other
    mappings see it, and locked memory ends the call (`EBUSY`). Where the range has a hole the value is
    `ENOMEM`, and the rest is done if anything is waited for.
    """

    name = "msync"
    at: int
    pages: int
    wait: bool = True
    invalidate: bool = False


@dataclass(frozen=True, slots=True)
class ReadMaps(Operation):
    """read(2) of /proc/PID/maps from its beginning to its end, as monitors do. Value: its lines, each a
    `Mapped`. What changes meanwhile may be in them or not."""

    name = "read maps"


class ProcessStatus(NamedTuple):
    """What a kernel says of a process's memory, in bytes: pages that are present, and the tables that are
    counted as its own, the root aside."""

    resident: int
    page_tables: int


@dataclass(frozen=True, slots=True)
class ReadStatus(Operation):
    """read(2) of /proc/PID/status. Value: a `ProcessStatus`."""

    name = "read status"


@dataclass(frozen=True, slots=True)
class Signal(Operation):
    """The kernel's part in a signal to the calling thread: from the fault to the handler or, if it *returns*,
    the way back from there (rt_sigreturn). *sent*: no fault has brought it but `Kill`."""

    returns: bool = False
    sent: bool = False

    name = "signal"


@dataclass(frozen=True, slots=True)
class Touch(Operation):
    """User code accesses each of *pages* once, in their order: a byte of it, or the *whole* page."""

    name = "touch"
    pages: Sequence[int]
    write: bool = True
    whole: bool = False


@dataclass(frozen=True, slots=True)
class CreateFile(Operation):
    """open(2) of a new file in memory (tmpfs), *pages* long. Value: the `File`.

    It is sparse, or *resident*: its pages are in the page cache from the beginning, which takes no time.
    """

    name = "create a file"
    title: str
    pages: int
    resident: bool = False


@dataclass(frozen=True, slots=True)
class Fallocate(Operation):
    """fallocate(2): the pages [*at*, *at* + *pages*) of *file* are in memory, and it is so long at least.

    `ENOSPC` where there is no room for all of them; those that were made go again.
    """

    name = "fallocate"
    file: File
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class Ftruncate(Operation):
    """ftruncate(2): *file* is *pages* long. What lies behind leaves the page cache and all mappings."""

    name = "ftruncate"
    file: File
    pages: int


@dataclass(frozen=True, slots=True)
class Shootdown(Operation):
    """Flush *pages* from the TLBs of all cpus that run the space, or of this cpu and *holders*, its users."""

    name = "shootdown"
    pages: Sequence[int]
    holders: Sequence[Cpu] | None = None


@dataclass(frozen=True, slots=True)
class Fork(Operation):
    """fork(2), as far as memory goes: a process with the same mappings and contents.

    Value: its `AddressSpace`, which no cpu has loaded. Private memory is shared until one of the two writes.
    """

    name = "fork"


@dataclass(frozen=True, slots=True)
class Vfork(Operation):
    """vfork(2), as far as memory goes: a child that uses the same space until it executes a program.

    Value: that space. The parent sleeps until then; that is not a part of it.
    """

    name = "vfork"


@dataclass(frozen=True, slots=True)
class Exec(Operation):
    """execve(2), as far as memory goes: all that is mapped goes, and the cpu loads an empty space.

    The process has one thread. Value: the new `AddressSpace`; this one is empty and not used any more, unless
    it belongs to the parent of one that has come of a vfork.
    """

    name = "exec"


@dataclass(frozen=True, slots=True)
class Exit(Operation):
    """exit_group(2) of the last thread: nothing is mapped any more. The cpu still has the space loaded."""

    name = "exit"


@dataclass(frozen=True, slots=True)
class UffdRegister(Operation):
    """UFFDIO_REGISTER: of the *pages* pages from *at* on, another thread brings in those that are missing.

    Who touches one sends a message and sleeps until that has been done. The memory is private and anonymous.
    A process has one file for its messages (userfaultfd(2)), which the first of these calls makes.
    """

    name = "register for userfaults"
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class UffdUnregister(Operation):
    """UFFDIO_UNREGISTER: they are the kernel's again, and who sleeps there tries once more."""

    name = "unregister for userfaults"
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class UffdRead(Operation):
    """read(2) of one message; asleep until there is one. Value: the page, or None if the file is closed."""

    name = "read a userfault"


@dataclass(frozen=True, slots=True)
class UffdCopy(Operation):
    """UFFDIO_COPY: what is in the *pages* pages from *source* on is in those from *at* on, which are missing.

    Who waits for them is woken. `EEXIST` where one is there already, `ENOENT` where none may be missing.
    """

    name = "answer a userfault with a copy"
    at: int
    source: int
    pages: int = 1


@dataclass(frozen=True, slots=True)
class UffdZeropage(Operation):
    """UFFDIO_ZEROPAGE: the same with zeros."""

    name = "answer a userfault with zeros"
    at: int
    pages: int = 1


@dataclass(frozen=True, slots=True)
class UffdWake(Operation):
    """UFFDIO_WAKE: who waits for one of these pages tries once more."""

    name = "wake a userfault"
    at: int
    pages: int = 1


@dataclass(frozen=True, slots=True)
class UffdClose(Operation):
    """close(2) of the file, as when its reader exits: no memory is registered any more, nobody waits."""

    name = "close userfaults"


@dataclass(frozen=True, slots=True)
class DirectRead(Operation):
    """pread(2) of *pages* pages of a block device that was opened with O_DIRECT into those from page *at* on.

    The thread sleeps until they are there. Which blocks they are does not matter. Value: how many pages were
    read; `EFAULT` where memory cannot be written.
    """

    name = "direct read"
    at: int
    pages: int = 1


@dataclass(frozen=True, slots=True)
class SwitchMm(Operation):
    """The cpu leaves its address space for *space* (switch_mm)."""

    name = "switch_mm"
    space: AddressSpace


@dataclass(frozen=True, slots=True)
class AllocatePages(Operation):
    """Take a block of 2**order pages from the kernel's page allocator. Value: its first frame."""

    name = "allocate"
    order: int = 0


@dataclass(frozen=True, slots=True)
class FreePages(Operation):
    """Give a block of 2**order pages from *frame* on back."""

    name = "free"
    frame: int
    order: int = 0


# -- an index of regions alone ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlaceRegions(Operation):
    """*regions*, each its first page and the one behind its last, are in the index, and all cpus have looked
    them up since. This is how a bench begins: no time passes."""

    name = "place regions"
    regions: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class LookUp(Operation):
    """Search the index for *page*. Value: whether a region has it."""

    name = "look up"
    page: int


@dataclass(frozen=True, slots=True)
class WriteRegion(Operation):
    """Insert a region of *pages* pages from *at* on, where nothing is, and delete it again."""

    name = "write"
    at: int
    pages: int


@dataclass(frozen=True, slots=True)
class AllocateRegion(Operation):
    """Find room for a region of *pages* pages anywhere, and insert it. Value: its first page."""

    name = "allocate region"
    pages: int
