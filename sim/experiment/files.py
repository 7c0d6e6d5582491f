"""Files that are read without being waited for, and written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

_FOREIGN = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NOT_BLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file as `os.open` does, but never a pipe or a device, where a reader could wait for ever.

    Returns the descriptor. Raises `OSError`, whose `strerror` says what is there instead of a file.
    """
    try:
        descriptor = os.open(path, flags | _NOT_BLOCKING, 0o666)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = next((words for test, words in _FOREIGN if test(mode)), "something else")
    raise OSError(errno.EINVAL, f"this is {kind}, not a file", str(path))


def read_regular(path: Path, most: int | None = None) -> bytes:
    """The content of a file. Raises `OSError` as `open_regular` does, or for more than *most* bytes."""
    with os.fdopen(open_regular(path), "rb") as stream:
        data = stream.read() if most is None else stream.read(most + 1)
    if most is not None and len(data) > most:
        raise OSError(errno.EFBIG, f"the file is larger than {most >> 10} KiB", str(path))
    return data


def reason(error: OSError) -> str:
    """What went wrong with a file, in lower-case words that end a sentence."""
    return (error.strerror or str(error)).lower()


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
