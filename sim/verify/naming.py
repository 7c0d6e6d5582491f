"""Names and descriptors: what plain system calls do to a process of the model, and their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sim.mm import (
    NULL_DEVICE,
    ZERO_DEVICE,
    Close,
    Errno,
    Fstat,
    Kill,
    Open,
    ReadByte,
    Sigaction,
    Stat,
    Unlink,
    WriteByte,
)
from sim.verify.effects import effect
from sim.verify.model import Process

PLAIN_CALLS = (Open, Close, Unlink, Stat, Fstat, ReadByte, WriteByte, Sigaction, Kill)


@dataclass
class Names:
    """What paths name: files that were made, and the directories that a path has led through.

    *opened* has the path of each open descriptor, whatever has become of its name.
    """

    files: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=set)
    opened: dict[int, str] = field(default_factory=dict)

    def kind(self, path: str) -> str | None:
        if path in (ZERO_DEVICE, NULL_DEVICE):
            return "device"
        return "file" if path in self.files else "directory" if path in self.directories else None

    def leads(self, path: str) -> Errno | None:
        """Go along *path* to its last directory."""
        parts = path.split("/")
        for end in range(2, len(parts)):
            above = "/".join(parts[:end])
            if self.kind(above) is None:
                self.directories.add(above)
            if self.kind(above) != "directory":
                return Errno.ENOTDIR
        return None


def _names(process: Process) -> Names:
    if process.names is None:
        process.names = Names()
    names: Names = process.names
    return names


@effect.register
def open_(asked: Open, process: Process, told: Any = None) -> int | Errno:
    names = _names(process)
    if (refused := names.leads(asked.path)) is not None:
        return refused
    if names.kind(asked.path) is None:
        if not asked.create:
            return Errno.ENOENT
        names.files.add(asked.path)
    if asked.create and names.kind(asked.path) == "directory":
        return Errno.EISDIR
    number = min(set(range(len(names.opened) + 1)) - set(names.opened))
    names.opened[number] = asked.path
    return number


@effect.register
def close(asked: Close, process: Process, told: Any = None) -> Errno | None:
    return None if _names(process).opened.pop(asked.descriptor, None) else Errno.EBADF


@effect.register
def unlink(asked: Unlink, process: Process, told: Any = None) -> Errno | None:
    names = _names(process)
    if (refused := names.leads(asked.path)) is not None:
        return refused
    kind = names.kind(asked.path)
    if kind == "file":
        names.files.remove(asked.path)
        return None
    return {None: Errno.ENOENT, "directory": Errno.EISDIR, "device": Errno.EACCES}[kind]


@effect.register
def stat(asked: Stat, process: Process, told: Any = None) -> Errno | None:
    names = _names(process)
    return names.leads(asked.path) or (Errno.ENOENT if names.kind(asked.path) is None else None)


@effect.register
def fstat(asked: Fstat, process: Process, told: Any = None) -> Errno | None:
    return None if asked.descriptor in _names(process).opened else Errno.EBADF


@effect.register
def read_byte(asked: ReadByte, process: Process, told: Any = None) -> int | Errno:
    path = _names(process).opened.get(asked.descriptor)
    return Errno.EBADF if path is None else int(path == ZERO_DEVICE)


@effect.register
def write_byte(asked: WriteByte, process: Process, told: Any = None) -> int | Errno:
    path = _names(process).opened.get(asked.descriptor)
    if path is None:
        return Errno.EBADF
    return 1 if path in (ZERO_DEVICE, NULL_DEVICE) else Errno.EINVAL


@effect.register
def signals(asked: Sigaction | Kill, process: Process, told: Any = None) -> None:
    """Nobody sees them here."""
