"""A lock of a VMA that tells those who listen who is in the VMA, and who may change it.

It stands before one of any kind, and only in runs in which somebody listens (`Probe.mapping_entered`). That a
writer gives all its VMAs up at once is told where mmap_lock is let go.
"""

from __future__ import annotations

from sim.designs.linux.vma_locks.base import VmaLock
from sim.engine import Steps
from sim.hardware import Cpu


class HeardVmaLock(VmaLock):
    """*inner* does all the work; the VMA, which begins at *start*, belongs to the process *space*."""

    __slots__ = ("inner", "name", "space")

    def __init__(self, inner: VmaLock, space: object, start: int) -> None:
        self.inner = inner
        self.belongs(space, start)

    def belongs(self, space: object, start: int) -> None:
        """The VMA is given out, to *space*: not for the first time, where VMAs are used again."""
        self.space = space
        self.name = f"the VMA from {start:#x} on"

    def start_read(self, cpu: Cpu) -> Steps[bool]:
        locked = yield from self.inner.start_read(cpu)
        if locked:
            cpu.probe.mapping_entered(self, cpu)
        return locked

    def end_read(self, cpu: Cpu) -> Steps[None]:
        cpu.probe.mapping_left(self, cpu)
        return self.inner.end_read(cpu)

    def start_write(self, cpu: Cpu) -> Steps[None]:
        yield from self.inner.start_write(cpu)
        cpu.probe.mapping_marked(self.space, self, cpu)

    def mark_attached(self, cpu: Cpu) -> Steps[None]:
        return self.inner.mark_attached(cpu)

    def mark_detached(self, cpu: Cpu) -> Steps[None]:
        return self.inner.mark_detached(cpu)

    @property
    def is_detached(self) -> bool:
        return self.inner.is_detached

    @property
    def is_attached(self) -> bool:
        return self.inner.is_attached

    @property
    def is_write_locked(self) -> bool:
        return self.inner.is_write_locked

    def contradiction(self) -> str | None:
        return self.inner.contradiction()
