"""VMAs (include/linux/mm_types.h, 6.13)."""

from __future__ import annotations

from sim.designs.linux.vma_locks import VmaLock
from sim.hardware import CacheLine
from sim.mm import Rights, rights_text


class AnonVma:
    """An anon_vma: the root rwsem and interval tree that the VMAs of a split mapping share (two lines)."""

    __slots__ = ("line",)

    def __init__(self, line: CacheLine) -> None:
        self.line = line


class Vma:
    """A virtual memory area, [start, end) in pages, all of it with the same *rights*.

    *line* is the struct (three cache lines). *detached*: it has left the tree; a fault that has found it
    before that looks again.
    """

    __slots__ = ("anon_vma", "detached", "end", "line", "lock", "rights", "start")

    def __init__(
        self,
        start: int,
        end: int,
        rights: Rights,
        line: CacheLine,
        lock: VmaLock,
        anon_vma: AnonVma | None,
    ) -> None:
        self.start = start
        self.end = end
        self.rights = rights
        self.line = line
        self.lock = lock
        self.anon_vma = anon_vma
        self.detached = False

    def __repr__(self) -> str:
        return f"VMA {self.start:#x}-{self.end:#x} {rights_text(self.rights)}"

    @property
    def pages(self) -> int:
        return self.end - self.start
