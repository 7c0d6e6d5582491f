"""VMAs and their locks (mm/mmap_lock.c and include/linux/mm.h, 6.13)."""

from __future__ import annotations

from sim.hardware import CacheLine
from sim.mm import Rights, rights_text
from sim.sync import RwSem

LOCK_VMA = "lock: vma"


class AnonVma:
    """An anon_vma: the root rwsem and interval tree that the VMAs of a split mapping share (two lines)."""

    __slots__ = ("line",)

    def __init__(self, line: CacheLine) -> None:
        self.line = line


class Vma:
    """A virtual memory area, [start, end) in pages, all of it with the same *rights*.

    *line* is the struct (three cache lines). *lock* is the separately allocated rwsem of 6.4-6.14: faults
    read-lock it with a trylock, writers take it for a moment to set *write_mark* to the mm's sequence number.
    While the two are equal, faults go to mmap_lock instead. *detached*: it has left the tree; a fault that
    has found it before that looks again.
    """

    __slots__ = ("anon_vma", "detached", "end", "line", "lock", "rights", "start", "write_mark")

    def __init__(
        self,
        start: int,
        end: int,
        rights: Rights,
        line: CacheLine,
        lock: RwSem,
        anon_vma: AnonVma | None,
    ) -> None:
        self.start = start
        self.end = end
        self.rights = rights
        self.line = line
        self.lock = lock
        self.anon_vma = anon_vma
        self.write_mark = -1
        self.detached = False

    def __repr__(self) -> str:
        return f"VMA {self.start:#x}-{self.end:#x} {rights_text(self.rights)}"

    @property
    def pages(self) -> int:
        return self.end - self.start
