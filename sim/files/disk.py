"""Files: read only if they are files at all, and written so that they are either whole or not there."""

from __future__ import annotations

import errno
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
_NOT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class NotAFile(OSError):
    """What is at a path is no regular file, or one that is too large; `strerror` says so in a sentence."""


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file as `os.open` does, but no pipe or device, which may never end, wait, or do something.

    Returns the descriptor. Raises `NotAFile`, or `OSError` as `os.open` does.
    """
    try:
        if not flags & os.O_CREAT or path.exists():
            _refuse_other_kinds(os.stat(path), path)
        descriptor = os.open(path, flags | _NOT_WAITING, 0o666)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    try:
        _refuse_other_kinds(os.fstat(descriptor), path)  # it may have changed meanwhile
    except NotAFile:
        os.close(descriptor)
        raise
    return descriptor


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The content of a file. Raises as `open_regular` does, and `NotAFile` for more than *most* bytes."""
    with os.fdopen(open_regular(path), "rb") as stream:
        data = stream.read() if most is None else stream.read(most + 1)
    if most is not None and len(data) > most:
        raise NotAFile(errno.EFBIG, f"the file is larger than {most >> 10} KiB", str(path))
    return data


def read_input(path: Path, shown: str, limit: int) -> bytes | Fault:
    """What is in the file at *path*, which messages call *shown*.

    A fault where it cannot be read, is larger than *limit* bytes, or is no file.
    """
    try:
        return read_regular(path, limit)
    except NotAFile as error:
        return Fault(error.strerror or "", shown)
    except OSError as error:
        return Fault(f"cannot read the file: {reason(error)}", shown)


def reason(error: OSError) -> str:
    """What went wrong with a file, in lower-case words that end a sentence."""
    return (error.strerror or str(error)).lower()


def _refuse_other_kinds(status: os.stat_result, path: Path) -> None:
    """Raise `NotAFile` if that is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise NotAFile(errno.EINVAL, f"this is {kind}, not a file", str(path))


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
    """Wait until a file, or the entries of a folder, are on the disk.

    Windows keeps the entries of folders itself and lets nobody open one.
    """
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def display(path: Path) -> str:
    """A path as messages show it: relative to the current directory if it lies below it."""
    try:
        return str(real(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)
