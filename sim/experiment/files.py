"""Files: read only if they are files at all, and written so that they are either whole or not there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from sim.errors import Fault

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_input(path: Path, shown: str, limit: int) -> bytes | Fault:
    """What is in the file at *path*, which messages call *shown*.

    A fault where it cannot be read, is larger than *limit* bytes, or is no file: a pipe or a device may never
    end, and opening one may wait for ever or do something.
    """
    try:
        if (other := _other_kind(os.stat(path))) is not None:
            return Fault(f"this is {other}, not a file", shown)
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:
            if (other := _other_kind(os.fstat(stream.fileno()))) is not None:  # changed meanwhile
                return Fault(f"this is {other}, not a file", shown)
            data = stream.read(limit + 1)
    except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
        reason = getattr(error, "strerror", None) or str(error)
        return Fault(f"cannot read the file: {reason.lower()}", shown)
    if len(data) > limit:
        return Fault(f"the file is larger than {limit >> 10} KiB", shown)
    return data


def _other_kind(status: os.stat_result) -> str | None:
    """What is there, where that is no regular file."""
    if stat.S_ISREG(status.st_mode):
        return None
    return _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")


def real(path: Path) -> Path:
    """*path* without links, as far as they lead anywhere: unlike `Path.resolve`, never an error."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let *write* fill a temporary file beside *path*, make it durable and move it into place."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
