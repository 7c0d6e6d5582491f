"""System calls that concern no memory: files by path and descriptor, signals that a thread sends itself.

They are here as far as benchmarks of plain system calls need them. A file has a name and no contents. The
devices `/dev/zero` and `/dev/null` are there from the beginning, and each directory that a path leads
through. A path that leads through a file is refused with `ENOTDIR`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sim.mm.operations import Operation

ZERO_DEVICE: Final = "/dev/zero"
NULL_DEVICE: Final = "/dev/null"


@dataclass(frozen=True, slots=True)
class Open(Operation):
    """open(2) of *path*. Value: the lowest descriptor that is free.

    Where nothing has that name it is `ENOENT`, or, with *create* (O_CREAT), an empty file is made. A
    directory cannot be made (`EISDIR`).
    """

    name = "open"
    path: str
    create: bool = False


@dataclass(frozen=True, slots=True)
class Close(Operation):
    """close(2); `EBADF` where the descriptor is not open."""

    name = "close"
    descriptor: int


@dataclass(frozen=True, slots=True)
class Unlink(Operation):
    """unlink(2): the file has no name any more; who has it open keeps it. `ENOENT` where there is none,
    `EISDIR` for a directory, `EACCES` for a device."""

    name = "unlink"
    path: str


@dataclass(frozen=True, slots=True)
class Stat(Operation):
    """stat(2); `ENOENT` where nothing has that name."""

    name = "stat"
    path: str


@dataclass(frozen=True, slots=True)
class Fstat(Operation):
    """fstat(2); `EBADF` where the descriptor is not open."""

    name = "fstat"
    descriptor: int


@dataclass(frozen=True, slots=True)
class ReadByte(Operation):
    """read(2) of one byte. Value: how many were read. `EBADF` where the descriptor is not open.

    There is one to read in `/dev/zero` only; other files are empty.
    """

    name = "read"
    descriptor: int


@dataclass(frozen=True, slots=True)
class WriteByte(Operation):
    """write(2) of one byte to `/dev/null` or `/dev/zero`. Value: how many were written.

    `EBADF` where the descriptor is not open, `EINVAL` for another file: files have no contents.
    """

    name = "write"
    descriptor: int


@dataclass(frozen=True, slots=True)
class Sigaction(Operation):
    """rt_sigaction(2): a signal gets a handler, and the caller what was there before."""

    name = "sigaction"


@dataclass(frozen=True, slots=True)
class Kill(Operation):
    """kill(2) of the caller's own process. With *deliver* a signal is pending then, else (signal 0) it is
    only asked whether one might be sent. What follows are `Signal`s."""

    name = "kill"
    deliver: bool = True
