"""What can be asked of exmap, a device that a program manages its own memory by (Leis et al., SIGMOD'23).

Records as in `operations`; what happens is in docs/exmap.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from sim.mm.entries import READ_WRITE, Rights
from sim.mm.operations import Operation


@dataclass(frozen=True, slots=True)
class ExmapSetup(Operation):
    """open(2) of /dev/exmap and its ioctl SETUP: a pool of *frames* pages, which come from the kernel zeroed,
    and so many *interfaces*.

    How long that takes is nobody's concern. `EBUSY` where the process has one, `EINVAL` for more interfaces
    than there can be, `ENOMEM` where there are not so many pages.
    """

    name = "set an exmap up"
    frames: int
    interfaces: int


@dataclass(frozen=True, slots=True)
class MmapExmap(Operation):
    """mmap(2) of the device: *pages* pages of memory that nobody manages, at page *at* or anywhere.

    No page is there before `ExmapAlloc`; touching one that is not is a signal. An exmap is mapped once
    (`EBUSY`). Value: the first page.
    """

    name = "mmap of an exmap"
    pages: int
    at: int | None = None
    rights: ClassVar[Rights] = READ_WRITE
    replace: ClassVar[bool] = True
    populate: ClassVar[bool] = False
    reserve: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class ExmapCall(Operation):
    """A call by an *interface* (its number), about *parts*: ranges of pages, a request word each.

    `EINVAL` for an interface that there is not or more parts than words, `EPROTO` for an exmap of which a
    part was unmapped, `EBADF` for one that was never set up.
    """

    interface: int
    parts: Sequence[range]

    @property
    def at(self) -> int:
        """The first page of all."""
        return min((part.start for part in self.parts), default=0)

    @property
    def pages(self) -> int:
        """From there to the end of the last one."""
        return max((part.stop for part in self.parts), default=0) - self.at


@dataclass(frozen=True, slots=True)
class ExmapAlloc(ExmapCall):
    """Pages of the pool are in *parts*, with whatever they had in them. Where one is there it stays.

    *by*: the ioctl that takes any number of parts, or pread of the device, one part. Value: how many pages
    came; fewer where the pool has no more.
    """

    name = "exmap alloc"
    by: Literal["ioctl", "pread"] = "ioctl"


@dataclass(frozen=True, slots=True)
class ExmapFree(ExmapCall):
    """The pages of *parts* go back to the pool, and out of all TLBs. Value: how many there were."""

    name = "exmap free"


@dataclass(frozen=True, slots=True)
class ExmapRead(ExmapCall):
    """pread(2) of the device: `ExmapAlloc`, and the drive behind it is read into the pages of the one part.

    Value: how many pages were read: none where not all of them came.
    """

    name = "exmap read"
